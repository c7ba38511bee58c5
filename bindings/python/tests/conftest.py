"""What tests share: machines, and clusters that are gone when the test is over."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import oarlock

HERE = Path(__file__).resolve().parent

# How many seconds are waited for what should happen soon; they are spent only by a test that fails.
PATIENCE = 120

# Timings with which who leads goes on leading although the machine stands still for a moment.
CALM = {"timing.election_timeout_min": "1500ms", "timing.election_timeout_max": "2s"}

# Whoever runs the tests in the background of a shell has them ignore Ctrl-C, and their child processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Counter(oarlock.StateMachine):
    """Adds numbers up."""

    def __init__(self):
        self.value = 0

    def apply(self, entry):
        self.value += int(entry.command)
        return str(self.value).encode()

    def query(self, request):
        return str(self.value).encode()

    def snapshot(self, writer):
        writer.write(str(self.value).encode())

    def restore(self, reader):
        self.value = int(reader.read())


def free_ports(count: int) -> int:
    """The first of some ports that are free, one behind the other."""
    while True:
        first = random.randrange(20000, 30000)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    s = stack.enter_context(socket.socket())
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


def new_config(directory: Path, members: int = 1, kind: str = "memory", **settings: object) -> oarlock.Config:
    """The configuration of a cluster that is formatted. Settings may have _ for the first dot."""
    config = oarlock.Config.generate(members, directory / "data", free_ports(members))
    config["log.kind"] = kind
    for key, value in settings.items():
        config[key if "." in key else key.replace("_", ".", 1)] = value
    for member in config.members:
        oarlock.format(config, member)
    return config


@pytest.fixture
def make_config(tmp_path: Path):
    return lambda members=1, kind="memory", **settings: new_config(tmp_path, members, kind, **settings)


@pytest.fixture
def serve(make_config):
    """Starts a server that is a cluster of its own, and waits until it is ready."""
    with contextlib.ExitStack() as stack:

        def start(machine: oarlock.StateMachine, **settings: object) -> oarlock.Server:
            server = oarlock.Server(make_config(**settings), 1, machine)
            stack.callback(server.close)
            server.start().wait_ready(timeout=PATIENCE)
            return server

        yield start


@pytest.fixture
def script(tmp_path: Path):
    """Starts a Python program in a process of its own, which finds the package and this folder."""
    running: list[subprocess.Popen[str]] = []

    def start(text: str, *arguments: str) -> subprocess.Popen[str]:
        path = tmp_path / f"script{len(running)}.py"
        path.write_text(text)
        where = os.pathsep.join([str(HERE), str(HERE.parent)])
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", str(path), str(tmp_path), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": where},
        )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
