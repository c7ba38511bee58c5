"""The threads that a state machine runs on: they fetch its work from the library, do it, and report it done."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import traceback
from array import array
from collections.abc import Callable
from typing import Any, BinaryIO, Optional, cast

from . import _abi
from ._errors import Error, QueryError
from ._machine import Entry, StateMachine
from ._status import Status
from ._waiting import machine_threads

log = logging.getLogger("oarlock.machine")

SNAPSHOTS = _abi.WORK_SNAPSHOT_WRITE | _abi.WORK_SNAPSHOT_RELEASE
THE_REST = _abi.WORK_ALL & ~SNAPSHOTS

PIECE_BYTES = 256 << 10  # of a snapshot, to the library at once


class SnapshotWriter(io.RawIOBase):
    """Takes a snapshot. Small writes are gathered: the library is called once for each piece."""

    def __init__(self, writer: int) -> None:
        self._writer: Optional[int] = writer
        self._gathered = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._writer is None:
            raise ValueError("this snapshot was ended: a writer may be used in write_snapshot only")
        piece = memoryview(data).cast("B")
        if len(self._gathered) + len(piece) < PIECE_BYTES:
            self._gathered += piece
        else:
            self.flush()
            for at in range(0, len(piece), PIECE_BYTES):
                self._put(bytes(piece[at : at + PIECE_BYTES]))
        return len(piece)

    def flush(self) -> None:
        gathered, self._gathered = bytes(self._gathered), bytearray()
        if gathered and self._writer is not None:
            self._put(gathered)

    def _put(self, piece: bytes) -> None:
        _abi.check(_abi.library().writer_write(self._writer, piece, len(piece)))

    def end(self) -> None:
        """The library's writer is gone from now on."""
        self._writer = None


class SnapshotReader(io.RawIOBase):
    """Gives a snapshot."""

    def __init__(self, reader: int) -> None:
        self._reader: Optional[int] = reader
        self._stopped = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._reader is None:
            raise ValueError("this snapshot was ended: a reader may be used in restore only")
        if self._stopped:
            return 0
        with memoryview(buffer) as view, view.cast("B") as room:
            return _abi.read_into(self._reader, room) if len(room) else 0

    def readall(self) -> bytes:
        whole, piece = bytearray(), bytearray(PIECE_BYTES)
        while got := self.readinto(piece):
            whole += memoryview(piece)[:got]
        return bytes(whole)

    def stop(self) -> None:
        """Gives no more from now on."""
        self._stopped = True

    def end(self) -> None:
        """The library's reader is gone from now on."""
        self._reader = None


class _Stream(io.BufferedReader):
    """What a machine restores from. Closing it, as whatever wraps it does when it is collected, does not hide what is left."""

    def close(self) -> None:
        pass


def restore_from(machine: StateMachine, reader: int) -> None:
    """Has a machine restore the library's snapshot, to its end. What the library has not given yet it finds itself."""
    raw = SnapshotReader(reader)
    stream = _Stream(raw, PIECE_BYTES)
    try:
        machine.restore(cast(BinaryIO, stream))
        raw.stop()
        if stream.read():
            raise ValueError("restore has left a part of the snapshot unread: it has to read to the end, or to raise")
    finally:
        raw.end()


def as_result(result: object, whose: str) -> bytes:
    """A result or an answer as bytes. It is what other languages read, so nothing is guessed."""
    if result is None:
        return b""
    if isinstance(result, (bytes, bytearray, memoryview)):
        return bytes(result)
    raise TypeError(f"{whose} returned {type(result).__name__}, it must return bytes or None")


def due_of(machine: StateMachine) -> Optional[int]:
    """When something falls due in a machine."""
    due = machine.next_due()
    if due is None:
        return None
    if isinstance(due, int):
        return _abi.whole(due, "what next_due returned", -(2**63), 2**63 - 1)
    raise TypeError(f"next_due returned {type(due).__name__}, it must return an int, nanoseconds of cluster time, or None")


def hash_of(machine: StateMachine) -> int:
    """The hash of a machine's state, of 64 bits."""
    found = machine.state_hash()
    if not isinstance(found, int):
        raise TypeError(f"state_hash returned {type(found).__name__}, it must return an int")
    return found & (2**64 - 1)


def entries_of(work: _abi.Work) -> list[Entry]:
    """The entries of a batch. The memory that holds them and their commands is copied once."""
    frame = _abi.string_at(work.data, work.data_len)
    base = work.data
    head = memoryview(frame)[: work.entry_count * _abi.ENTRY.size]
    new = tuple.__new__  # what Entry(...) comes to, without its keyword arguments: a third of the time
    return [
        new(Entry, (index, term, time, frame[at - base : at - base + length]))
        for index, term, time, at, length, _ in _abi.ENTRY.iter_unpack(head)
    ]


class Worker(threading.Thread):
    """Fetches and does work of some kinds until the server is closed.

    A daemon, because Python joins other threads before it runs what closes servers at exit; it is joined by the close.
    """

    def __init__(self, server: int, machine: StateMachine, captures: dict[int, Any], kinds: int, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._server, self._machine, self._captures, self._kinds = server, machine, captures, kinds
        self._do: dict[int, Callable[[_abi.Work], bytes]] = {
            _abi.WORK_APPLY: self._apply,
            _abi.WORK_QUERY: self._query,
            _abi.WORK_SNAPSHOT_PREPARE: self._prepare,
            _abi.WORK_SNAPSHOT_WRITE: self._write,
            _abi.WORK_SNAPSHOT_RELEASE: self._release,
            _abi.WORK_RESTORE: self._restore,
            _abi.WORK_STATE_HASH: self._state_hash,
            _abi.WORK_NEXT_DUE: self._next_due,
            _abi.WORK_EXPIRE: self._expire,
        }

    def run(self) -> None:
        machine_threads.add(threading.get_ident())
        try:
            self._work()
        except BaseException:
            log.critical("the thread of a state machine failed; its server does no more work", exc_info=True)
            _abi.library().work_abandon(self._server)
        finally:
            machine_threads.discard(threading.get_ident())

    def _work(self) -> None:
        lib, work = _abi.library(), _abi.Work()
        work_next, work_done, place, server, kinds = lib.work_next, lib.work_done, _abi.byref(work), self._server, self._kinds
        while True:
            status = work_next(server, kinds, _abi.FOREVER, place)
            if status == Status.ERR_TIMEOUT:
                continue
            if status != Status.OK or work.kind == _abi.WORK_CLOSED:
                return
            status, data = self._execute(work)
            if work_done(server, work.id, status, data, len(data)) == Status.ERR_ARGUMENT:
                text = lib.last_error()  # only a fault of this package comes here, and the work is still owed
                work_done(server, work.id, Status.ERR_STATE_MACHINE, text, len(text))

    def _execute(self, work: _abi.Work) -> tuple[int, bytes]:
        """Does a piece of work. Whatever is raised is the machine's failure, SystemExit and KeyboardInterrupt too: taken for
        an end of the program they would leave the entry skipped on this server only."""
        try:
            return Status.OK, self._do[work.kind](work)
        except QueryError as error:
            text = str(error) if work.kind == _abi.WORK_QUERY else whole_traceback(error)
            return Status.ERR_STATE_MACHINE, text.encode(errors="replace")
        except BaseException as error:
            text = last_line(error) if work.kind == _abi.WORK_QUERY else whole_traceback(error)
            status = error.code if isinstance(error, Error) and work.kind == _abi.WORK_SNAPSHOT_WRITE else Status.ERR_STATE_MACHINE
            return status, text.encode(errors="replace")

    def _apply(self, work: _abi.Work) -> bytes:
        entries = entries_of(work)
        count = len(entries)
        results = self._machine.apply_batch(entries)
        if len(results) != count:
            raise ValueError(f"apply_batch returned {len(results)} results for {count} entries")
        checked = [r if type(r) is bytes else as_result(r, "apply") for r in results]
        return array("I", map(len, checked)).tobytes() + b"".join(checked)

    def _query(self, work: _abi.Work) -> bytes:
        request = _abi.string_at(work.data, work.data_len) if work.data_len else b""
        return as_result(self._machine.query(request), "query")

    def _prepare(self, work: _abi.Work) -> bytes:
        self._captures[work.id] = self._machine.prepare_snapshot()
        return b""

    def _write(self, work: _abi.Work) -> bytes:
        writer = SnapshotWriter(work.writer)
        try:
            self._machine.write_snapshot(self._captures[work.snapshot], cast(BinaryIO, writer))
            writer.flush()
        finally:
            writer.end()
        return b""

    def _release(self, work: _abi.Work) -> bytes:
        self._captures.pop(work.snapshot, None)
        return b""

    def _restore(self, work: _abi.Work) -> bytes:
        restore_from(self._machine, work.reader)
        return b""

    def _state_hash(self, work: _abi.Work) -> bytes:
        return hash_of(self._machine).to_bytes(8, sys.byteorder)

    def _next_due(self, work: _abi.Work) -> bytes:
        due = due_of(self._machine)
        return b"" if due is None else due.to_bytes(8, sys.byteorder, signed=True)

    def _expire(self, work: _abi.Work) -> bytes:
        self._machine.expire(work.index, work.time)
        return b""


HERE = os.path.dirname(os.path.abspath(__file__))


def whole_traceback(error: BaseException) -> str:
    """The traceback from the machine's method on: what called it is this package's, and the same every time."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None and os.path.dirname(at.tb_frame.f_code.co_filename) == HERE:
        at = at.tb_next
    return "".join(traceback.format_exception(type(error), error, at)).rstrip()


def last_line(error: BaseException) -> str:
    """What was raised, and where, in a line."""
    what = traceback.format_exception_only(type(error), error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    return f"{what} ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}, in {frames[-1].name})" if frames else what
