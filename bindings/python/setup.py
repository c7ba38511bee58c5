"""Builds a wheel that has the library inside: liboarlock.so.1, from the Go sources of the repository that this folder is in.

OARLOCK_LIBRARY_PREBUILT names a library that was built already; Go and gcc are then not needed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SCRIPT = ROOT / "scripts" / "lib.sh"
NAME = "liboarlock.so.1"


def missing() -> "list[str]":
    """What a build of the library lacks on this machine, with where to get it."""
    found = []
    if not sys.platform.startswith("linux"):
        found.append(f"Linux with glibc: the library runs nowhere else yet, and this is {sys.platform}")
    if not SCRIPT.exists():
        found.append(f"the repository around this folder: {SCRIPT} is not there. Run pip in a clone: pip install ./bindings/python")
    if shutil.which("go") is None:
        found.append("Go, which compiles the library: https://go.dev/dl")
    if shutil.which(os.environ.get("CC", "gcc")) is None:
        found.append("gcc, which compiles the library's C side: apt install gcc (Debian), dnf install gcc (Fedora)")
    return found


def library() -> Path:
    """The library, built if need be."""
    prebuilt = os.environ.get("OARLOCK_LIBRARY_PREBUILT")
    if prebuilt:
        if not Path(prebuilt).is_file():
            raise SystemExit(f"oarlock: OARLOCK_LIBRARY_PREBUILT is {prebuilt}, and there is no such file")
        return Path(prebuilt)
    lacking = missing()
    if lacking:
        raise SystemExit("oarlock: cannot build liboarlock. Missing:\n" + "".join(f"  - {what}\n" for what in lacking))
    print(f"oarlock: building {NAME} with Go (the first time this compiles a minute or two)", flush=True)
    subprocess.run(["sh", str(SCRIPT), "shared"], cwd=ROOT, check=True)
    return ROOT / "build" / "lib" / NAME


class BuildWithLibrary(build_py):
    """Puts the library beside the package's files."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            into = Path(self.build_lib) / "oarlock"
            into.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(library(), into / NAME)


class PlatformWheel(bdist_wheel):
    """Any Python 3, this platform: the library is called through ctypes and knows no Python."""

    def get_tag(self) -> "tuple[str, str, str]":
        return ("py3", "none", super().get_tag()[2])


class PlatformDistribution(Distribution):
    """Says that it has machine code, so that it is installed where that belongs."""

    def has_ext_modules(self) -> bool:
        return True


setup(distclass=PlatformDistribution, cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel})
