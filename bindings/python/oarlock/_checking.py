"""Checks of state machines. The library calls back on the thread that called it."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Optional, Union, cast

from . import _abi, _abi_testing, _lifecycle
from ._errors import Error, StateMachineError
from ._machine import Entry, StateMachine, machine_of, pull_flags
from ._report import CheckFailed, Report, in_python, report_of
from ._status import Status
from ._waiting import as_bytes, machine_threads, refuse_in_machine
from ._work import SnapshotWriter, as_result, due_of, hash_of, last_line, restore_from, whole_traceback

Generator = Union[Callable[[random.Random], bytes], Sequence[bytes]]

# What a machine fails by. SystemExit is one, as on a server: taken for an end of the program it would be a test that passes.
OF_MACHINES = (Exception, SystemExit, GeneratorExit)

MOST = 1000000  # commands, or clusters

KEPT = 200  # exceptions of machines, to find the one that a finding is about


class _Check:
    """One call of the library: its machines, their captures, and how it is to end."""

    def __init__(self, make: Callable[[], StateMachine], command: Optional[Generator], query: Optional[Generator]) -> None:
        self._make = make
        self._flags: Optional[int] = None
        self._machines: dict[int, StateMachine] = {}
        self._captures: dict[int, Any] = {}
        self._ids = itertools.count(1)
        self.raised: deque[tuple[str, BaseException]] = deque(maxlen=KEPT)  # by machines, with what the library was told
        self.end: Optional[BaseException] = None  # what ends the call, and is raised behind it
        self.interrupted = False
        self.inside = False  # of what may be interrupted
        self.lib = _abi.library()
        self._first: Optional[StateMachine] = machine_of(make)
        flags = pull_flags(self._first)
        self._flags = flags
        self.makers: dict[str, Callable[..., Any]] = {"machine_new": self._new}
        self.callbacks: dict[str, Callable[..., Any]] = {
            "apply": self._apply, "query": self._query, "snapshot_prepare": self._prepare,
            "snapshot_write": self._write, "snapshot_release": self._release, "restore": self._restore, "destroy": self._destroy,
        }  # fmt: skip
        if flags & _abi.PULL_NO_SNAPSHOTS:
            raise TypeError(f"{type(self._first).__name__} has no snapshots, and states are compared by them")
        if flags & _abi.PULL_SCHEDULED:
            self.callbacks.update(next_due=self._next_due, expire=self._expire)
        if flags & _abi.PULL_STATE_HASH:
            self.callbacks["state_hash"] = self._state_hash
        if command is not None:
            self.makers["command"] = self._generator(command, "a command")
        if query is not None:
            self.makers["query"] = self._generator(query, "a query")

    # ---- How what is raised becomes a status ----

    def _do(self, call: Callable[[], object], ours: bool = False, asked: bool = False) -> int:
        """Runs what belongs to a machine, or, with ours, to the test. What is raised by the test, or is no failure of a machine
        (Ctrl-C), ends the check. An answer to a query may be an exception."""
        if self.end is not None or self.interrupted:
            return Status.ERR_CANCELLED
        try:
            self.inside = True
            call()
            self.inside = False
            return Status.OK
        except BaseException as error:
            self.inside = False
            if not ours and isinstance(error, OF_MACHINES):
                return self._failed(error, asked)
            self.end = error
            return Status.ERR_CANCELLED

    def _failed(self, error: BaseException, asked: bool) -> int:
        if isinstance(error, Error) and error.code == Status.ERR_IO:
            return int(error.code)  # the library's own: a snapshot that could not be written or read on
        text = last_line(error) if asked else whole_traceback(error)
        if not asked:
            self.raised.append((text, error))
        failed: int = self.lib.fail(text.encode(errors="replace").replace(b"\0", b"?"))
        return failed

    def _generator(self, make: Generator, what: str) -> Callable[[Any, int, int], int]:
        chosen: Callable[[random.Random], bytes] = make if callable(make) else _chooser(make, what)

        def generate(_: Any, number: int, buf: int) -> int:
            def run() -> None:
                made = as_bytes(chosen(random.Random(number)), what)
                _abi.check(self.lib.buf_append(buf, made, len(made)))

            return self._do(run, ours=True)

        return generate

    # ---- The callbacks ----

    def _new(self, _: Any, __: int, machine: Any) -> int:
        def run() -> None:
            fresh, self._first = self._first or machine_of(self._make), None
            if pull_flags(fresh) != self._flags:
                raise TypeError(f"this {type(fresh).__name__} has other methods than the machines before it")
            machine[0] = number = next(self._ids)
            self._machines[number] = fresh

        return self._do(run, ours=True)

    def _destroy(self, machine: int) -> None:
        self._machines.pop(machine, None)

    def _apply(self, machine: int, entries: int, count: int, results: int) -> int:
        def run() -> None:
            array = _abi.ENTRY.iter_unpack(_abi.string_at(entries, count * _abi.ENTRY.size))
            batch = [
                Entry(index, term, time, _abi.string_at(at, length) if length else b"") for index, term, time, at, length, _ in array
            ]
            given = self._machines[machine].apply_batch(batch)
            if len(given) != count:
                raise ValueError(f"apply_batch returned {len(given)} results for {count} entries")
            for result in given:
                data = as_result(result, "apply")
                _abi.check(self.lib.results_add(results, data, len(data)))

        return self._do(run)

    def _query(self, machine: int, request: Optional[int], length: int, answer: int) -> int:
        given: list[Optional[bytes]] = []

        def run() -> None:
            asked = _abi.string_at(request, length) if request and length else b""
            given.append(self._machines[machine].query(asked))

        def take() -> None:
            data = as_result(given[0], "query")
            _abi.check(self.lib.buf_append(answer, data, len(data)))

        status = self._do(run, asked=True)
        if status == Status.OK:
            status = self._do(take)
            if status == Status.ERR_STATE_MACHINE:
                return Status.ERR_ARGUMENT  # what was raised is no error of the query's, but a mistake in it
        return status

    def _prepare(self, machine: int, snapshot: Any) -> int:
        def run() -> None:
            captured = self._machines[machine].prepare_snapshot()
            snapshot[0] = number = next(self._ids)
            self._captures[number] = captured

        return self._do(run)

    def _write(self, machine: int, snapshot: int, writer: int) -> int:
        def run() -> None:
            stream = SnapshotWriter(writer)
            try:
                self._machines[machine].write_snapshot(self._captures[snapshot], cast(BinaryIO, stream))
                stream.flush()
            finally:
                stream.end()

        return self._do(run)

    def _release(self, machine: int, snapshot: int) -> None:
        self._captures.pop(snapshot, None)

    def _restore(self, machine: int, reader: int) -> int:
        return self._do(lambda: restore_from(self._machines[machine], reader))

    def _expire(self, machine: int, index: int, time: int) -> int:
        return self._do(lambda: self._machines[machine].expire(index, time))

    # These two cannot fail; what they raise ends the check.

    @contextlib.contextmanager
    def _of(self, machine: int, method: str) -> Iterator[StateMachine]:
        """A machine, of which a SystemExit is no end of the program here, either."""
        try:
            yield self._machines[machine]
        except SystemExit as error:
            raise StateMachineError(f"{method} raised {error!r}") from error

    def _next_due(self, machine: int, time: Any) -> int:
        due: list[Optional[int]] = [None]

        def run() -> None:
            with self._of(machine, "next_due") as asked:
                due[0] = due_of(asked)
            time[0] = due[0] or 0

        return int(self._do(run, ours=True) == Status.OK and due[0] is not None)

    def _state_hash(self, machine: int) -> int:
        found = [0]

        def run() -> None:
            with self._of(machine, "state_hash") as asked:
                found[0] = hash_of(asked)

        self._do(run, ours=True)
        return found[0]

    # ---- Ctrl-C ----

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """On the main thread, a KeyboardInterrupt that came between two callbacks would be lost: it is noted and raised behind the
        call. In the test's own code it is raised as always."""
        usual = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or usual is not signal.default_int_handler:
            yield
            return

        def note(number: int, frame: Any) -> None:
            self.interrupted = True
            if self.inside:
                raise KeyboardInterrupt

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, usual)


def _chooser(examples: Sequence[bytes], what: str) -> Callable[[random.Random], bytes]:
    if isinstance(examples, (bytes, bytearray, memoryview, str)) or len(examples) == 0:
        raise TypeError(f"examples of {what} are a list of bytes that is not empty, or give a function of a random.Random")
    return lambda chance: chance.choice(examples)


def run(
    function: str, make: Callable[[], StateMachine], command: Optional[Generator], query: Optional[Generator], settings: dict[str, int]
) -> Report:
    """Calls the library, and raises what came of it unless the machine has passed."""
    refuse_in_machine("checking a state machine")
    _lifecycle.refuse_forked()
    for name, value in settings.items():
        if name != "flags":  # in C a 0 is the default; here that would be a seed that is tried twice, or clusters that nobody asked for
            _abi.whole(value, name, 1, 2**64 - 1 if name in ("seed", "clusters_from") else MOST)
    check = _Check(make, command, query)
    lib, thread = _abi.library(), threading.get_ident()
    machine_threads.add(thread)
    try:
        with check.interruptible():
            status, at = _abi_testing.check(getattr(lib, function), check.callbacks, check.makers, settings)
    finally:
        machine_threads.discard(thread)
    if check.end is not None:
        _abi.text_at(at)
        raise check.end
    if check.interrupted:
        _abi.text_at(at)
        raise KeyboardInterrupt
    failed = None if status == Status.OK else _abi.last_failure(status, lib)
    if failed is not None and status != Status.ERR_CHECK_FAILED:
        raise failed
    report = report_of(json.loads(_abi.text_at(at)))
    if failed is None:
        return report
    raise CheckFailed(in_python(str(failed)), report) from _cause(check, report)


def _cause(check: _Check, report: Report) -> Optional[BaseException]:
    """The exception that a finding is about, if it is about one."""
    for finding in report.findings:
        for text, error in reversed(check.raised):
            if text in finding.text:
                return error
    return None
