"""Proposals and queries: waited for, as futures, in sessions, of servers and clients."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from conftest import CALM, PATIENCE, Counter

import oarlock


class Gate(Counter):
    """A counter whose commands wait until they may run."""

    def __init__(self):
        super().__init__()
        self.open = threading.Event()
        self.entered = threading.Event()

    def apply(self, entry):
        self.entered.set()
        self.open.wait(PATIENCE)
        return super().apply(entry)


@pytest.fixture
def gated(serve):
    machine = Gate()
    server = serve(machine)
    yield server, machine
    machine.open.set()


def test_what_is_proposed_is_read(serve):
    server = serve(Counter())
    assert server.propose(b"1") == b"1"
    assert server.propose(bytearray(b"2"), timeout=PATIENCE) == b"3"
    assert server.propose(memoryview(b"3"), timeout=1e12) == b"6"
    assert server.query(b"") == server.query(b"", PATIENCE, oarlock.Consistency.STALE) == b"6"
    server.barrier(timeout=PATIENCE)


def test_arguments_that_cannot_be_are_refused_before_anything_is_proposed(serve):
    server = serve(Counter())
    for timeout in (-1, float("nan"), -0.001):
        for call in (server.propose, server.query, server.propose_future, server.query_future):
            with pytest.raises(oarlock.UsageError, match="a timeout of"):
                call(b"1", timeout=timeout)
    for call in (server.propose, server.query, server.propose_future, server.query_future):
        with pytest.raises(TypeError, match="must be bytes, not str"):
            call("1")
    with pytest.raises(oarlock.TooLarge):
        server.propose(bytes(3 << 20), timeout=PATIENCE)
    with pytest.raises(oarlock.Error):
        server.propose(b"1", PATIENCE, session=12345, sequence=1, floor=1)
    assert server.query(b"") == b"0"


def test_a_proposal_that_times_out_is_unknown_and_a_timeout(gated):
    server, machine = gated
    began = time.monotonic()
    with pytest.raises(oarlock.UnknownOutcome) as caught:
        server.propose(b"1", timeout=0.5)
    assert time.monotonic() - began >= 0.5
    assert isinstance(caught.value, builtins.TimeoutError) and caught.value.cause == oarlock.Status.ERR_TIMEOUT
    future = server.propose_future(b"1", timeout=0.5)
    assert isinstance(future.exception(PATIENCE), oarlock.ProposalTimeout)
    with pytest.raises(oarlock.NotSent) as caught_at_once:
        server.propose(b"1", timeout=0)
    assert isinstance(caught_at_once.value, builtins.TimeoutError) and not caught_at_once.value.maybe_committed
    with pytest.raises(oarlock.TimeoutError) as caught_query:
        server.query(b"", timeout=0.1)
    assert not caught_query.value.maybe_committed
    machine.open.set()
    assert server.propose(b"0", PATIENCE) == b"2"  # both were applied


def test_futures_complete_with_results_and_failures(serve):
    server = serve(Counter())
    futures = [server.propose_future(b"1") for _ in range(1000)] + [server.query_future(b"")]
    assert not futures[0].cancel()
    done, not_done = wait(futures, timeout=PATIENCE)
    assert not not_done and [f.result() for f in futures[:1000]] == [b"%d" % (i + 1) for i in range(1000)]
    server.close()
    with pytest.raises(oarlock.Closed):
        server.propose_future(b"1")


def test_a_callback_that_fails_does_not_end_the_futures_of_others(serve, caplog):
    server = serve(Counter())

    def exits(future):
        raise SystemExit

    with caplog.at_level(logging.ERROR):
        server.propose_future(b"1").add_done_callback(exits)
        assert server.propose_future(b"1").result(PATIENCE) == b"2"
        server.barrier(PATIENCE)


def test_waiting_for_a_future_in_a_futures_callback_is_refused(gated):
    server, machine = gated
    first, heard, done = server.propose_future(b"1"), [], threading.Event()

    def called(future):
        second = server.propose_future(b"1")
        for wait in (second.result, lambda: second.exception(PATIENCE)):
            try:
                heard.append(wait())
            except oarlock.Error as error:
                heard.append(error)
        heard.append(future.result())  # it is done
        done.set()

    first.add_done_callback(called)
    machine.open.set()
    assert done.wait(PATIENCE)
    assert [type(error) for error in heard[:2]] == [oarlock.WouldDeadlock] * 2 and heard[2] == b"1"
    assert "future's callback" in str(heard[0])
    assert server.propose_future(b"1").result(PATIENCE) == b"3"


def test_futures_serve_asyncio(serve):
    server = serve(Counter())

    async def ten():
        return await asyncio.gather(*(asyncio.wrap_future(server.propose_future(b"1")) for _ in range(10)))

    assert asyncio.run(ten())[-1] == b"10"


def test_many_threads_propose_at_once(serve):
    server = serve(Counter())
    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(lambda _: int(server.propose(b"1", PATIENCE)), range(500)))
    assert sorted(results) == list(range(1, 501))


def test_in_a_session_a_retry_is_executed_once(serve):
    server = serve(Counter())
    session = server.open_session(5)
    server.keep_session(session, 5)
    assert server.propose(b"5", PATIENCE, session=session, sequence=1, floor=1) == b"5"
    assert server.propose(b"5", PATIENCE, session=session, sequence=1, floor=1) == b"5"
    assert server.propose_future(b"5", PATIENCE, session=session, sequence=1, floor=1).result(PATIENCE) == b"5"
    assert server.propose(b"1", PATIENCE, session=session, sequence=2, floor=2) == b"6"
    server.close_session(session, PATIENCE)
    with pytest.raises(oarlock.SessionError):
        server.propose(b"1", PATIENCE, session=session, sequence=3, floor=3)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_session_refuses_what_is_no_time(serve, timeout):
    with serve(Counter()).session(PATIENCE) as session:
        with pytest.raises(oarlock.UsageError, match="it must be 0 or more"):
            session.propose(b"1", timeout)
        assert session.propose(b"1", PATIENCE) == b"1"


def test_a_session_that_timed_out_goes_on(gated):
    server, machine = gated
    machine.open.set()
    with server.session(timeout=PATIENCE) as session:
        assert session.propose(b"1", PATIENCE) == b"1"
        session.keep(PATIENCE)
        machine.open.clear()
        with pytest.raises(oarlock.ProposalTimeout):
            session.propose(b"1", 0.5)
        machine.open.set()
        assert session.propose(b"1", PATIENCE) == b"3"


def test_what_the_server_knows_of_itself(serve):
    server = serve(Counter())
    server.propose(b"1")
    info = server.group_info()
    assert (info.role, info.leader, info.commands, info.voters, info.fenced) == (oarlock.Role.LEADER, 1, 1, 1, False)
    assert server.status()["groups"]
    assert "Server 1" in repr(server)


def test_events_tell_what_happens_and_end_with_the_server(make_config):
    server = oarlock.Server(make_config(), 1, Counter())
    events = server.events(log_levels="debug")
    with pytest.raises(oarlock.TimeoutError):
        events.next(timeout=0)
    server.start().wait_ready(PATIENCE)
    server.propose(b"1", PATIENCE)
    server.snapshot(PATIENCE)
    server.close()
    told = list(events)
    kinds = [e.kind for e in told]
    assert oarlock.EventKind.SNAPSHOT in kinds and oarlock.EventKind.LOG in kinds
    assert all(e.level in (10, 20, 30, 40) and e.text for e in told if e.kind == oarlock.EventKind.LOG)
    events.close()
    with pytest.raises(oarlock.Closed):
        events.next()


def test_a_slow_reader_of_events_is_told_how_many_were_dropped(make_config):
    server = oarlock.Server(make_config(), 1, Counter())
    with server.events(log_levels="debug", room=2) as events:
        server.start().wait_ready(PATIENCE)
        server.propose(b"1", PATIENCE)
        assert events.next(timeout=PATIENCE).kind != oarlock.EventKind.DROPPED_EVENTS
        assert events.next(timeout=PATIENCE).kind != oarlock.EventKind.DROPPED_EVENTS
        while True:
            for _ in range(3):
                server.snapshot(PATIENCE)  # more than there is room for
            told = events.next(timeout=PATIENCE)
            if told.kind == oarlock.EventKind.DROPPED_EVENTS:
                break
        assert told.dropped > 0
        server.close()


def test_log_lines_go_to_logging_with_their_level(make_config, caplog):
    with caplog.at_level(logging.DEBUG, logger="oarlock"):
        with oarlock.Server(make_config(), 1, Counter(), log="debug") as server:
            server.wait_ready(PATIENCE)
        told = len(caplog.records)
        assert told and all(r.name.startswith("oarlock") for r in caplog.records)
        with oarlock.Server(make_config(), 1, Counter(), log=None) as server:
            server.wait_ready(PATIENCE)
        assert len(caplog.records) == told
    with pytest.raises(oarlock.Error, match="loud"):
        oarlock.Server(make_config(), 1, Counter(), log="raft=loud")


def test_a_server_that_cannot_start_says_why_and_may_be_started_again(make_config):
    config = make_config()
    with oarlock.Server(config, 1, Counter()) as server:
        second = oarlock.Server(config, 1, Counter())
        with pytest.raises(oarlock.AddressError):
            second.start()
        with pytest.raises(oarlock.Error):
            second.propose(b"1", 1)
        server.close()
        second.start().wait_ready(PATIENCE)
        assert second.propose(b"1", PATIENCE) == b"1"
        second.close()
    with pytest.raises(oarlock.Error, match="9"):
        oarlock.Server(config, 9, Counter())


@pytest.fixture
def three(make_config):
    """Three servers in this process."""
    config = make_config(3, **CALM)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(oarlock.Server(config, member, Counter())) for member in config.members]
        for server in servers:
            server.wait_ready(PATIENCE)
        yield config, servers


def test_a_client_follows_the_leader_and_a_server_names_it(three):
    config, servers = three
    with oarlock.Client(config) as client:
        assert client.propose(b"1", timeout=PATIENCE) == b"1"
        assert client.query(b"", timeout=PATIENCE) == b"1"
        assert client.propose_future(b"1", timeout=PATIENCE).result(PATIENCE) == b"2"
        assert client.query_future(b"").result(PATIENCE) == b"2"
        client.barrier(timeout=PATIENCE)
        assert [m.id for m in client.members(PATIENCE).voters] == [1, 2, 3] and client.status(PATIENCE)
        leader = next(s for s in servers if s.group_info().role == oarlock.Role.LEADER)
        follower = next(s for s in servers if s is not leader)
        with pytest.raises(oarlock.NotLeader) as caught:
            follower.propose(b"1", PATIENCE)
        assert caught.value.leader == leader.server_id and caught.value.retryable and not caught.value.maybe_committed
        assert caught.value.leader_address == config[f"member.{leader.server_id}.address"]
        with pytest.raises(oarlock.NotLeader) as caught_future:
            follower.propose_future(b"1").result(PATIENCE)
        assert caught_future.value.leader_address == caught.value.leader_address
        others = [server.events() for server in servers if server is not leader]
        leader.close()
        assert client.propose(b"1", timeout=PATIENCE) == b"3"
        new = next(s.server_id for s in servers if s is not leader and s.group_info().role == oarlock.Role.LEADER)
        for events in others:
            while (event := events.next(PATIENCE)).kind not in (oarlock.EventKind.ROLE, oarlock.EventKind.LEADER) or event.server != new:
                assert event.role is None or event.kind == oarlock.EventKind.ROLE
            events.close()
        futures = [client.propose_future(b"1") for _ in range(100)]
        assert [f.result(PATIENCE) for f in futures] == [b"%d" % (i + 4) for i in range(100)]


def test_a_client_of_nobody_says_so():
    with pytest.raises(oarlock.UsageError):
        oarlock.Client()
    with oarlock.Client(servers=["127.0.0.1:1", "127.0.0.1:2"], dial_timeout=0.1) as client:
        with pytest.raises(oarlock.NotSentTimeout):
            client.propose(b"1", timeout=0.2)
        future = client.propose_future(b"1")
    assert isinstance(future.exception(PATIENCE), (oarlock.Closed, oarlock.NotSent))
    with pytest.raises(oarlock.Closed):
        client.propose(b"1")
    client.close()
