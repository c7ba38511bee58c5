"""What the library asks of a state machine, and what becomes of its failures."""

from __future__ import annotations

import threading
import time

import pytest
from conftest import PATIENCE, Counter

import oarlock
import oarlock.testing

EXCEPTIONS = [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, StopIteration, oarlock.QueryError, oarlock.Closed]


class Scripted(Counter):
    """Does what a test puts in."""

    def __init__(self, **methods):
        super().__init__()
        self.methods = methods

    def apply(self, entry):
        return self.methods.get("apply", super().apply)(entry)

    def query(self, request):
        return self.methods.get("query", super().query)(request)

    def snapshot(self, writer):
        return self.methods.get("snapshot", super().snapshot)(writer)


def raising(exception):
    def method(*_):
        raise exception("it broke here")

    return method


def test_entries_come_with_their_place_term_time_and_bytes(serve):
    seen = []
    server = serve(Scripted(apply=seen.append))
    for command in (b"one", b"", bytes(range(256)) * 1000):
        assert server.propose(command, timeout=PATIENCE) == b""
    assert [e.command for e in seen] == [b"one", b"", bytes(range(256)) * 1000]
    assert all(isinstance(e, oarlock.Entry) and e.term > 0 for e in seen)
    assert [e.index for e in seen] == sorted({e.index for e in seen})
    assert [e.time for e in seen] == sorted(e.time for e in seen)


def test_batches_come_in_order_and_every_result_goes_to_its_proposer(serve):
    class Batched(oarlock.StateMachine):
        sizes: list[int] = []

        def apply_batch(self, entries):
            self.sizes.append(len(entries))
            return [None if e.command == b"nothing" else b"<" + e.command + b">" for e in entries]

        def query(self, request):
            return None

    server = serve(Batched())
    futures = [server.propose_future(str(i).encode()) for i in range(2000)]
    assert [f.result(PATIENCE) for f in futures] == [f"<{i}>".encode() for i in range(2000)]
    assert server.propose(b"nothing") == b"" and server.query(b"") == b""
    assert max(Batched.sizes) > 1


def test_command_error_is_a_result_and_harms_nothing(serve):
    def apply(entry):
        if entry.command == b"no":
            raise oarlock.CommandError("not today")
        return bytearray(b"fine")

    server = serve(Scripted(apply=apply))
    assert server.propose(b"no", PATIENCE) == b"not today"
    assert server.propose(b"yes", PATIENCE) == b"fine"


@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_any_exception_in_apply_stops_the_replica_and_everybody_hears_the_traceback(serve, exception):
    server = serve(Scripted(apply=raising(exception)))
    with pytest.raises(oarlock.UnknownOutcome) as caught:
        server.propose(b"1", timeout=PATIENCE)
    text = str(caught.value)
    assert caught.value.cause == oarlock.Status.ERR_STATE_MACHINE and caught.value.maybe_committed
    assert "Traceback (most recent call last)" in text and "test_machine.py" in text and exception.__name__ in text
    assert "it broke here" in text and "_work.py" not in text
    for call in (lambda: server.wait_stopped(PATIENCE), lambda: server.propose(b"1", PATIENCE), lambda: server.query(b"", PATIENCE)):
        with pytest.raises(oarlock.StateMachineError, match="it broke here") as caught_later:
            call()
        assert caught_later.value.fatal and not caught_later.value.maybe_committed
    assert server.group_info().fenced
    server.close()
    with pytest.raises(oarlock.StateMachineError, match="it broke here"):
        server.wait_stopped()


@pytest.mark.parametrize("result", ["a text", 7, ["a"], object()])
def test_a_result_that_is_no_bytes_is_a_failure(serve, result):
    server = serve(Scripted(apply=lambda entry: result))
    with pytest.raises(oarlock.UnknownOutcome, match=f"apply returned {type(result).__name__}, it must return bytes"):
        server.propose(b"1", timeout=PATIENCE)


def test_a_batch_with_a_result_too_few_is_a_failure(serve):
    class Short(Counter):
        def apply_batch(self, entries):
            return []

    with pytest.raises(oarlock.UnknownOutcome, match="apply_batch returned 0 results for 1 entries"):
        serve(Short()).propose(b"1", timeout=PATIENCE)


@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_any_exception_in_query_goes_to_who_asked_and_nowhere_else(serve, exception):
    server = serve(Scripted(query=raising(exception)))
    with pytest.raises(oarlock.QueryError, match="it broke here") as caught:
        server.query(b"1", timeout=PATIENCE)
    assert "Traceback" not in str(caught.value)
    assert exception is oarlock.QueryError or f"{exception.__name__}: it broke here (test_machine.py, line" in str(caught.value)
    with pytest.raises(oarlock.QueryError, match="query returned str, it must return bytes"):
        server._core._threads[0]._machine.methods["query"] = lambda request: "text"
        server.query(b"1", timeout=PATIENCE)
    assert server.propose(b"3", timeout=PATIENCE) == b"3"


@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_any_exception_in_snapshot_is_told_as_an_event_and_the_server_goes_on(serve, exception):
    server = serve(Scripted(snapshot=raising(exception)))
    server.propose(b"1", PATIENCE)
    with server.events() as events:
        with pytest.raises(oarlock.SnapshotError, match="it broke here"):
            server.snapshot(timeout=PATIENCE)
        while "it broke here" not in events.next(timeout=PATIENCE).text:
            pass
    assert server.propose(b"1", PATIENCE) == b"2"


class Large(Counter):
    """Writes its snapshot beside its commands, and only when it may."""

    def __init__(self):
        super().__init__()
        self.may_write = threading.Event()
        self.restored = None

    def prepare_snapshot(self):
        return self.value

    def write_snapshot(self, prepared, writer):
        self.may_write.wait(PATIENCE)
        for _ in range(300):
            writer.write(b"%08d" % prepared)
            writer.write(memoryview(bytes(10_000)))

    def restore(self, reader):
        self.value = int(reader.read(8))
        self.restored = 8 + len(reader.read())


def test_snapshots_are_written_beside_commands_and_restored(make_config):
    config = make_config(kind="pebble")
    machine = Large()
    with oarlock.Server(config, 1, machine) as server:
        server.wait_ready(PATIENCE)
        server.propose(b"7", PATIENCE)
        with pytest.raises(oarlock.Pending) as caught:
            server.snapshot(timeout=0.5)
        assert isinstance(caught.value, TimeoutError)
        assert server.propose(b"1", PATIENCE) == b"8"  # while the snapshot is written
        machine.may_write.set()
        server.snapshot(timeout=PATIENCE)
        assert server.group_info().snapshot_index > 0
    again = Large()
    with oarlock.Server(config, 1, again) as server:
        server.wait_ready(PATIENCE)
        assert server.query(b"", PATIENCE) == b"8"
        assert again.restored == 300 * 10_008


def test_a_snapshot_is_one_point_in_time_without_more_methods(make_config):
    config = make_config(kind="pebble")
    with oarlock.Server(config, 1, Counter()) as server:
        server.wait_ready(PATIENCE)
        for i in range(20):
            server.propose_future(b"1")
        server.snapshot(PATIENCE)
        server.propose(b"1", PATIENCE)
    with oarlock.Server(config, 1, Counter()) as server:
        server.wait_ready(PATIENCE)
        assert server.query(b"", PATIENCE) == b"21"


@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_any_exception_in_restore_stops_the_replica(make_config, exception):
    config = make_config(kind="pebble")
    with oarlock.Server(config, 1, Counter()) as server:
        server.wait_ready(PATIENCE)
        server.propose(b"1", PATIENCE)
        server.snapshot(PATIENCE)

    class Broken(Counter):
        restore = raising(exception)

    with oarlock.Server(config, 1, Broken()) as server:
        with pytest.raises(oarlock.StateMachineError, match="it broke here") as caught:
            server.wait_ready(PATIENCE)
        assert "Traceback" in str(caught.value)


class Alarm(Counter):
    """Adds a hundred, once, when a second of cluster time is over."""

    due = None

    def apply(self, entry):
        self.due = entry.time + 10**9
        return super().apply(entry)

    def next_due(self):
        return self.due

    def expire(self, index, time):
        self.value += 100
        self.due = None

    def state_hash(self):
        return self.value


def test_what_falls_due_is_executed(serve):
    server = serve(Alarm())
    assert server.propose(b"1", PATIENCE) == b"1"
    end = time.monotonic() + PATIENCE
    while server.query(b"", PATIENCE) != b"101":
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_any_exception_in_expire_stops_the_replica(serve, exception):
    class Broken(Alarm):
        expire = raising(exception)

        def apply(self, entry):
            self.due = entry.time + 1
            return b""

    server = serve(Broken())
    try:
        server.propose(b"1", PATIENCE)
    except oarlock.UnknownOutcome:
        pass  # it broke before the answer was out
    with pytest.raises(oarlock.StateMachineError, match="it broke here"):
        server.wait_stopped(PATIENCE)


@pytest.mark.parametrize(
    ("due", "text"), [(1.5, "next_due returned float, it must return an int"), (2**63, "what next_due returned is 9223372036854775808: it must be")]
)
def test_a_time_that_is_none_is_named(make_config, due, text):
    class Broken(Alarm):
        def next_due(self):
            return due

    with oarlock.Server(make_config(), 1, Broken()) as server, pytest.raises(oarlock.StateMachineError, match=text):
        server.wait_stopped(PATIENCE)
    with pytest.raises(Exception, match=text):
        oarlock.testing.check_state_machine(Broken, [b"1"])


def test_machines_that_cannot_work_are_refused(make_config):
    class NoQuery(oarlock.StateMachine):
        def apply(self, entry):
            return None

    class NoRestore(NoQuery):
        def query(self, request):
            return None

        def snapshot(self, writer):
            pass

    config = make_config()
    with pytest.raises(TypeError, match="NoQuery lacks query"):
        oarlock.Server(config, 1, NoQuery())
    with pytest.raises(TypeError, match="NoRestore lacks restore"):
        oarlock.Server(config, 1, NoRestore())
    with pytest.raises(TypeError, match="must be an oarlock.StateMachine, not object"):
        oarlock.Server(config, 1, object())


def test_a_machine_may_not_wait_for_the_library_but_may_propose_without_waiting(serve):
    said, futures = [], []

    def apply(entry):
        if entry.command != b"ask":
            return entry.command
        future = server.propose_future(b"from inside")
        futures.append(future)
        calls = (
            server.close, server.barrier, server.snapshot, server.status, server.group_info, server.wait_ready,
            lambda: server.propose(b"1"), lambda: server.propose(b"1", timeout=0), lambda: server.query(b""), future.result,
            server.open_session, lambda: server.events().next(), server.start, lambda: oarlock.format(config, 1),
        )  # fmt: skip
        for call in calls:
            try:
                call()
            except oarlock.WouldDeadlock as error:
                said.append(str(error))
            except Exception as error:
                said.append(f"{call}: {error!r}")
        return b"asked"

    config = oarlock.Config()
    server = serve(Scripted(apply=apply))
    assert server.propose(b"ask", PATIENCE) == b"asked"
    assert len(said) == 14 and not [s for s in said if s.startswith("<")], said
    assert futures[0].result(PATIENCE) == b"from inside"
    assert server.propose(b"more", PATIENCE) == b"more"
