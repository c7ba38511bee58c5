"""What pip makes of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from oarlock import _abi

PACKAGE = Path(__file__).resolve().parents[1]


@pytest.fixture
def build(tmp_path: Path):
    """Builds a wheel, from a copy so that this folder stays as it is."""
    shutil.copytree(PACKAGE, tmp_path / "a" / "b" / "python", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    (tmp_path / "no tools").mkdir()

    def run(**environment: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        return subprocess.run(
            [*command, "-w", str(tmp_path / "wheels"), str(tmp_path / "a" / "b" / "python")],
            env={**os.environ, **environment}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    return run


def test_a_wheel_has_the_library_inside_and_runs_outside_of_the_repository(build, tmp_path):
    done = build(OARLOCK_LIBRARY_PREBUILT=next(_abi.places()))
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheels").iterdir()
    assert wheel.name.startswith("oarlock-") and "-py3-none-linux_" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        assert {"oarlock/liboarlock.so.1", "oarlock/py.typed", "oarlock/_abi.py"} <= set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    environment = {k: v for k, v in os.environ.items() if k != "OARLOCK_LIBRARY"}
    environment["PYTHONPATH"] = str(tmp_path / "installed")
    program = "import oarlock; print(oarlock.version(), oarlock.__file__)"
    said = subprocess.run([sys.executable, "-c", program], env=environment, cwd="/", capture_output=True, text=True, check=True)
    assert str(tmp_path) in said.stdout


def test_what_a_build_lacks_is_named_with_where_to_get_it(build, tmp_path):
    done = build(PATH=str(tmp_path / "no tools"))
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Go, which compiles the library: https://go.dev/dl" in said and "apt install gcc" in said and "Run pip in a clone" in said
    done = build(OARLOCK_LIBRARY_PREBUILT="/no/where.so")
    assert done.returncode != 0 and "/no/where.so, and there is no such file" in done.stdout + done.stderr
