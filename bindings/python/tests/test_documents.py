"""The program in the README does what the README says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PATIENCE, free_ports

import oarlock.testing

PACKAGE = Path(__file__).resolve().parents[1]


@pytest.fixture
def counter(tmp_path: Path):
    """Runs the README's program."""
    blocks = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(), flags=re.S)
    assert "timeout=10" in blocks[0]  # people wait for ten seconds, and a test longer
    (tmp_path / "counter.py").write_text(blocks[0].replace("timeout=10", f"timeout={PATIENCE}"))
    assert len(blocks) == 1 and blocks[0].count("\n") <= 30
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    servers = []

    def run(*arguments: str) -> str:
        command = [sys.executable, "counter.py", *arguments]
        if arguments[0].isdigit():
            servers.append(subprocess.Popen(command, cwd=tmp_path, env=environment))
            return ""
        return subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout

    run.servers = servers
    yield run
    for server in servers:
        server.kill()
        server.wait()


def test_the_readmes_counter_goes_on_when_servers_are_killed(counter):
    counter("init", str(free_ports(3)))
    for server in ("1", "2", "3"):
        counter(server)
    assert counter("add", "1") == "1\n"
    counter.servers[0].kill()
    assert counter.servers[0].wait() == -signal.SIGKILL
    assert counter("add", "1") == "2\n"
    counter("1")  # it comes back, and another one goes
    assert counter("add", "40") == "42\n"
    counter.servers[1].kill()
    assert counter("add", "1") == "43\n"
    counter.servers[2].send_signal(signal.SIGINT)
    assert counter.servers[2].wait(PATIENCE) == -signal.SIGINT


def test_the_readmes_counter_keeps_the_promises_of_a_state_machine():
    blocks = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(), flags=re.S)
    names: dict[str, object] = {}
    exec(blocks[0].split("if sys.argv")[0], names)
    examples = [b"%d" % number for number in range(100)] + [b"9" * 18, b"9" * 5000]  # int() refuses the last one
    oarlock.testing.simulate(names["Counter"], examples, clusters=3, snapshots_unchecked=True)
