"""A key-value store over HTTP, on as many servers as its config names.

    python kv.py init CONFIG        writes a config for three servers on this machine
    python kv.py CONFIG ID PORT     runs one, with its HTTP door at a port: GET, PUT and DELETE of /KEY
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO

import oarlock


class Store(oarlock.StateMachine):
    """The values by their keys. Results and answers are an HTTP status and a body."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def apply(self, entry: oarlock.Entry) -> bytes:
        method, key, value = json.loads(entry.command)
        if method == "DELETE" and key not in self.values:
            raise oarlock.CommandError("404 no such key")
        if method == "DELETE":
            del self.values[key]
        else:
            self.values[key] = value
        return b"200 done at %d" % entry.index

    def query(self, request: bytes) -> bytes:
        value = self.values.get(request.decode())
        return b"404 no such key" if value is None else b"200 " + value.encode()

    def prepare_snapshot(self) -> dict[str, str]:
        return dict(self.values)  # quick; what is slow, encoding and writing, runs beside later commands

    def write_snapshot(self, prepared: dict[str, str], writer: BinaryIO) -> None:
        writer.write(json.dumps(prepared).encode())

    def restore(self, reader: BinaryIO) -> None:
        self.values = json.load(reader)


class Door(BaseHTTPRequestHandler):
    """Hands what changes something to the cluster's leader, wherever it is, and questions to any server."""

    client: oarlock.Client

    def do_GET(self) -> None:
        self.answer(lambda: self.client.query(self.path.encode(), timeout=5))

    def do_PUT(self) -> None:
        value = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.answer(lambda: self.client.propose(json.dumps([self.command, self.path, value]).encode(), timeout=5))

    do_DELETE = do_PUT

    def answer(self, call: Any) -> None:
        try:
            status, _, body = call().partition(b" ")
        except oarlock.Error as error:  # 504: it may have been done
            status, body = (504 if error.maybe_committed else 503), str(error).encode()
        self.send_response(int(status))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    if sys.argv[1] == "init":
        config = oarlock.Config.generate(3, "data", 7201)
        config.write(sys.argv[2])
        for member in config.members:
            oarlock.format(sys.argv[2], member)
        return
    config, server_id, port = oarlock.Config.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with oarlock.Server(config, server_id, Store()), oarlock.Client(config, read_from=oarlock.ReadFrom.ANY) as Door.client:
        ThreadingHTTPServer(("127.0.0.1", port), Door).serve_forever()


if __name__ == "__main__":
    main()
