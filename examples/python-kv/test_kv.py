"""Three servers, one killed: what was stored is there."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

PATIENCE = 120  # seconds, which only a test that fails spends


def ask(port: int, method: str, key: str, body: str | None = None) -> tuple[int, str]:
    url, data = f"http://127.0.0.1:{port}/{key}", None if body is None else body.encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def free_ports(count: int) -> int:
    while True:
        first = random.randrange(30000, 32000)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


@pytest.fixture
def cluster(tmp_path: Path):
    first = free_ports(6)
    source = (HERE / "kv.py").read_text()
    assert "7201" in source and "timeout=5" in source  # people wait for five seconds, and a test longer
    (tmp_path / "kv.py").write_text(source.replace("7201", str(first)).replace("timeout=5", f"timeout={PATIENCE - 10}"))
    subprocess.run([sys.executable, "kv.py", "init", "cluster.toml"], cwd=tmp_path, check=True)
    doors = {}
    for server in (1, 2, 3):
        port = first + 2 + server
        doors[port] = subprocess.Popen([sys.executable, "kv.py", "cluster.toml", str(server), str(port)], cwd=tmp_path)
    for port in doors:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                ask(port, "GET", "nothing")
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.05)
    yield doors
    for process in doors.values():
        process.kill()
        process.wait()


def test_what_was_stored_survives_a_killed_server(cluster):
    one, two, three = cluster
    assert ask(one, "GET", "greeting") == (404, "no such key")
    assert ask(one, "PUT", "greeting", "hello")[0] == 200
    assert ask(two, "GET", "greeting") == (200, "hello")
    cluster[one].kill()
    assert ask(two, "PUT", "greeting", json.dumps("still here"))[0] == 200
    assert ask(three, "GET", "greeting") == (200, '"still here"')
    assert ask(three, "DELETE", "greeting")[0] == 200
    assert ask(three, "DELETE", "greeting") == (404, "no such key")
