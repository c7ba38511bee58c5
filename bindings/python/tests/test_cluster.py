"""Clusters in memory."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from conftest import PATIENCE, Counter

import oarlock
import oarlock.testing

STALE = oarlock.Consistency.STALE


@pytest.fixture
def cluster():
    with oarlock.testing.Cluster(Counter) as cluster:
        yield cluster


def values(cluster):
    return [cluster.machine(server).value for server in cluster.servers]


def test_commands_reach_every_machine(cluster):
    assert [cluster.propose(b"1"), cluster.propose(b"2")] == [b"1", b"3"]
    assert cluster.query(b"") == b"3"
    assert [f.result(PATIENCE) for f in [cluster.propose_future(b"1") for _ in range(100)]][-1] == b"103"
    assert cluster.query_future(b"").result(PATIENCE) == b"103"
    cluster.settle()
    assert values(cluster) == [103, 103, 103]
    leader = cluster.leader()
    assert isinstance(leader, oarlock.Server) and leader.group_info().role == oarlock.Role.LEADER
    assert leader.propose(b"-3", PATIENCE) == b"100"
    assert cluster.servers == [1, 2, 3] and repr(cluster.server(2)) == "<oarlock.Server 2>"


def test_nothing_that_was_answered_is_lost_in_power_cuts(cluster):
    value = 0
    for round in range(6):
        leader = cluster.leader()
        if round % 2:
            leader.snapshot(PATIENCE)
        before = cluster.machine(leader)
        cluster.crash(leader) if round < 5 else cluster.crash()
        assert leader.group_info  # the handle is there, and closed
        with pytest.raises(oarlock.Closed):
            leader.propose(b"1", 1)
        if round < 5:
            value += 1
            assert cluster.propose(b"1") == str(value).encode()
        cluster.start()
        cluster.settle()
        assert values(cluster) == [value] * 3
        assert cluster.machine(leader.server_id) is not before  # nothing but the disk is as it was


def test_a_server_that_is_cut_off_hears_nothing(cluster):
    assert cluster.propose(b"1") == b"1"
    cluster.settle()
    cut_off = cluster.leader()
    cluster.split(cut_off)
    while cluster.leader().server_id == cut_off.server_id:
        pass
    assert cluster.propose(b"1") == b"2"
    assert cut_off.query(b"", PATIENCE, STALE) == b"1"
    with pytest.raises(oarlock.TimeoutError, match="has applied"):
        cluster.settle(0.3)
    cluster.heal()
    cluster.settle()
    assert cut_off.query(b"", PATIENCE, STALE) == b"2"
    for sender, receiver in ((2, 1), (3, 1), (3, 2)):
        cluster.cut(sender, receiver)
    with pytest.raises(oarlock.TimeoutError):
        while True:
            cluster.leader(0.5)


def test_servers_are_started_and_stopped_by_the_cluster(cluster):
    server = cluster.server(1)
    with pytest.raises(oarlock.UsageError, match=r"Cluster\.start"):
        server.start()
    server.close()  # is stop
    cluster.stop(1)
    with pytest.raises(oarlock.Closed):
        server.wait_ready(1)
    cluster.start(1)
    cluster.server(1).wait_ready(PATIENCE)
    server.close()  # of a run that is over: the new one goes on
    cluster.server(1).wait_ready(PATIENCE)
    with pytest.raises(oarlock.UsageError, match="was started already"):
        cluster.start(1)
    for call in (cluster.start, cluster.stop, cluster.crash):
        with pytest.raises(oarlock.NotFound, match="1 to 3"):
            call(4)
    for call in (cluster.server, cluster.machine):
        with pytest.raises(oarlock.UsageError, match="1 to 3"):
            call(4)
    with pytest.raises(oarlock.NotFound):
        cluster.split(7)


def test_a_configuration_sets_what_a_file_would():
    config = oarlock.Config()
    config["limits.result_bytes_max"] = "1KiB"
    config["timing.election_timeout_min"], config["timing.election_timeout_max"] = "60ms", "120ms"
    config["timing.heartbeat_interval"] = "10ms"

    class Large(Counter):
        def apply(self, entry):
            return b"x" * 2000

    with oarlock.testing.Cluster(Large, 1, config=config) as cluster, pytest.raises(oarlock.ResultTooLarge):
        cluster.propose(b"")
    with pytest.raises(oarlock.UsageError, match="1 to 9"):
        oarlock.testing.Cluster(Counter, 10)
    with pytest.raises(TypeError, match="lacks apply"):
        oarlock.testing.Cluster(oarlock.StateMachine)


class Faulty(Counter):
    def apply(self, entry):
        if entry.command == b"break":
            raise LookupError("no such thing")
        return super().apply(entry)


def test_an_exception_of_a_machine_is_the_cause_of_what_the_caller_gets():
    with oarlock.testing.Cluster(Faulty) as cluster:
        with pytest.raises(oarlock.Error) as caught:
            cluster.propose(b"break", 4)
        assert isinstance(caught.value.__cause__, LookupError)
        assert caught.value.__cause__.__traceback__.tb_next is not None
        with pytest.raises(oarlock.StateMachineError, match="no such thing") as caught:
            cluster.settle()
        assert isinstance(caught.value.__cause__, LookupError)
        assert all(isinstance(failure, LookupError) for failure in cluster.failures())


def test_an_exception_that_nobody_heard_of_is_raised_at_the_end():
    with pytest.raises(LookupError, match="no such thing") as caught, oarlock.testing.Cluster(Faulty) as cluster:
        cluster.propose_future(b"break", 3).exception()
    assert any("test_cluster.py" in str(entry.path) and entry.name == "apply" for entry in caught.traceback)
    with pytest.raises(ZeroDivisionError), oarlock.testing.Cluster(Faulty) as cluster:  # what the test raises comes first
        cluster.propose_future(b"break", 3).exception()
        raise ZeroDivisionError
    with oarlock.testing.Cluster(Faulty) as cluster:
        cluster.propose_future(b"break", 3).exception()
        assert cluster.failures()


def test_a_factory_that_raises_is_heard_and_may_be_called_again():
    fails = True

    def make():
        if fails and made:
            raise OSError("no room")
        made.append(Counter())
        return made[-1]

    made = []
    cluster = oarlock.testing.Cluster(make)
    with pytest.raises(OSError, match="no room"):
        cluster.start()
    fails = False
    cluster.start()
    assert cluster.propose(b"1") == b"1" and len(made) == 3
    cluster.close()
    cluster.close()
    for call in (cluster.start, cluster.leader, cluster.settle, cluster.heal, lambda: cluster.propose(b"1")):
        with pytest.raises(oarlock.Closed):
            call()


@pytest.mark.parametrize("call", [oarlock.testing.Cluster, oarlock.testing.check_state_machine, oarlock.testing.simulate])
def test_what_makes_no_machines_is_refused_with_the_way_out(call):
    with pytest.raises(TypeError, match="not Counter: give the class Counter itself, or a function"):
        call(Counter())
    for wrong in (None, 7):
        with pytest.raises(TypeError, match=f"at each call, not {type(wrong).__name__}: give a class or a function"):
            call(wrong)
    for wrong in (None, Counter):
        with pytest.raises(TypeError, match=f"returned {type(wrong).__name__}: the machine must be an oarlock.StateMachine"):
            call(lambda wrong=wrong: wrong)


@pytest.mark.parametrize(("servers", "error", "said"), [
    ("3", TypeError, "must be an int, not str"), (None, TypeError, "not NoneType"), (1.5, TypeError, "not float"),
    (0, oarlock.UsageError, "it must be from 1 to 9"), (10, oarlock.UsageError, "it must be from 1 to 9"),
])  # fmt: skip
def test_a_number_of_servers_that_is_none_is_refused_by_name(servers, error, said):
    with pytest.raises(error, match=f"servers .*{said}"):
        oarlock.testing.Cluster(Counter, servers)


def test_one_machine_for_two_servers_is_refused():
    shared = Counter()
    cluster = oarlock.testing.Cluster(lambda: shared)
    with pytest.raises(oarlock.UsageError, match="gave the machine of server 1 to server 2: make a new one each time"):
        cluster.start()
    cluster.stop()  # of what was before, a server has only its disk
    with pytest.raises(oarlock.UsageError, match="gave its machine of before to server 1"):
        cluster.start(1)
    cluster.close()
    with pytest.raises(oarlock.UsageError, match="make a new one"), oarlock.testing.Cluster(lambda: shared):
        pass


def test_machines_must_not_steer_their_cluster():
    class Steering(Counter):
        tried = []

        def apply(self, entry):
            for call in (cluster.start, cluster.stop, cluster.leader, cluster.settle, cluster.close, lambda: cluster.propose(b"1")):
                with pytest.raises(oarlock.WouldDeadlock):
                    call()
            cluster.heal()
            self.tried.append(entry)
            return super().apply(entry)

    with oarlock.testing.Cluster(Steering) as cluster:
        cluster.propose(b"1")
    assert Steering.tried


def test_what_is_not_closed_says_so_and_is_closed(recwarn):
    before = oarlock.debug_counts()
    cluster = oarlock.testing.Cluster(Counter)
    cluster.start()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del cluster
    deadline = time.monotonic() + PATIENCE
    while oarlock.debug_counts().clusters > before.clusters:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_threads_wait_until_it_is_closed():
    cluster = oarlock.testing.Cluster(Counter)
    cluster.start(1)
    ended = []

    def wait(call):
        with pytest.raises(oarlock.Closed):
            call(None)
        ended.append(call)

    def wait_stopped():
        cluster_server.wait_stopped()  # what was closed has stopped, and that is all
        ended.append(cluster_server)

    cluster_server = cluster.server(1)
    threads = [threading.Thread(target=wait, args=(call,)) for call in (cluster.leader, cluster.settle)]
    threads.append(threading.Thread(target=wait_stopped))
    for thread in threads:
        thread.start()
    cluster.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(ended) == 3


LEFT_OPEN = """
import oarlock.testing, sys
sys.path.insert(0, sys.argv[2])
from conftest import Counter
cluster = oarlock.testing.Cluster(Counter)
cluster.start()
print(cluster.propose(b"1").decode(), flush=True)
if sys.argv[3] == "waits":
    cluster.stop()
    print("waits", flush=True)
    cluster.leader(None)
"""


def test_a_cluster_that_is_open_at_exit_is_closed(script):
    from conftest import HERE

    process = script(LEFT_OPEN, str(HERE), "ends")
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "1\n"), err


def test_ctrl_c_ends_waiting_for_a_leader(script):
    from conftest import HERE

    process = script(LEFT_OPEN, str(HERE), "waits")
    assert process.stdout.readline() == "1\n" and process.stdout.readline() == "waits\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT and "KeyboardInterrupt" in err


STUCK = """
import sys, threading, time
import oarlock, oarlock.testing
from conftest import PATIENCE, Counter
entered, may = threading.Event(), threading.Event()
class Stuck(Counter):
    def apply(self, entry):
        entered.set()
        may.wait()
        return super().apply(entry)
config = oarlock.Config()
for key, value in {"election_timeout_min": "50ms", "election_timeout_max": "100ms", "heartbeat_interval": "10ms"}.items():
    config["timing." + key] = value
def stuck(close_timeout):
    config["timing.close_timeout"] = close_timeout
    cluster = oarlock.testing.Cluster(Stuck, 1, config=config)
    cluster.start()
    cluster.leader(PATIENCE)
    cluster.propose_future(b"1", None)
    assert entered.wait(PATIENCE)
    return cluster
"""


def test_a_machine_that_is_stuck_delays_the_exit_of_an_open_cluster_by_the_close_timeout_only(script):
    process = script(STUCK + "cluster = stuck('300ms')\nsys.exit(4)\n")
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 4


def test_ctrl_c_ends_the_closing_of_what_is_stuck_and_closing_may_be_tried_again(script):
    process = script(
        STUCK
        + """
cluster = stuck("1h")
for close in (cluster.close, cluster.stop):
    try:
        print("closing", flush=True)
        close()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
may.set()
cluster.close()
print("closed")
"""
    )
    for _ in range(2):
        assert process.stdout.readline() == "closing\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and out == "closed\n", (out, err)


def test_stopping_what_was_closed_is_fine():
    cluster = oarlock.testing.Cluster(Counter)
    cluster.start()
    servers = [cluster.server(server) for server in cluster.servers]
    ends = [cluster.stop, cluster.close, *(server.close for server in servers)] * 3
    failures = []

    def run(end):
        try:
            end()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(end,)) for end in ends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not failures
    for end in [*ends, cluster.crash, lambda: cluster.stop(1)]:
        end()
    with pytest.raises(oarlock.Closed):
        cluster.start()
