"""What the answers of queries reflect."""

from __future__ import annotations

import pytest
from conftest import PATIENCE, Counter

import oarlock
import oarlock.testing
from oarlock import Consistency


def three(drift="0"):
    config = oarlock.Config()
    config["timing.election_timeout_min"], config["timing.election_timeout_max"] = "1s", "1500ms"
    config["timing.clock_drift_ppm"] = drift
    return oarlock.testing.Cluster(Counter, config=config)


def test_each_level_at_each_server():
    with three("200") as cluster:
        client = cluster.client()
        for n in range(1, 11):
            assert client.propose(b"1", PATIENCE) == str(n).encode()
            for server in map(cluster.server, cluster.servers):
                fresh = (Consistency.LINEARIZABLE, Consistency.LEASE, Consistency.bounded(min_index=client.seen), Consistency.STALE)
                for consistency in fresh:
                    assert server.query(b"", PATIENCE, consistency) == str(n).encode()
                assert server.query(b"", PATIENCE, Consistency.bounded(max_age=60))
                server.barrier(10, Consistency.bounded(min_index=client.seen))
        assert cluster.query(b"", consistency=Consistency.LEASE) == b"10"


def test_clients_that_read_anywhere_see_their_own_commands():
    with three() as cluster:
        client, reader = (cluster.client(read_from=oarlock.ReadFrom.ANY) for _ in range(2))
        assert client.seen == 0
        for n in range(1, 31):
            before = client.seen
            client.propose(b"1", PATIENCE)
            assert client.query(b"", PATIENCE, Consistency.bounded(max_age=60)) == str(n).encode()
            assert client.seen > before
            assert reader.query_future(b"", PATIENCE, Consistency.bounded(min_index=client.seen)).result(PATIENCE) == str(n).encode()


def test_answers_of_servers_say_what_they_reflect():
    with three() as cluster:
        leader = cluster.leader()
        command = leader.propose_future(b"1", PATIENCE)
        assert command.result(PATIENCE) == b"1"
        query = leader.query_future(b"", PATIENCE)
        assert query.result(PATIENCE) == b"1" and query.index >= command.index > 0


def test_a_server_that_is_cut_off_answers_what_it_may():
    with three() as cluster:
        client = cluster.client()
        client.propose(b"1", PATIENCE)
        cluster.settle()
        before = client.seen
        alone = cluster.server(cluster.leader().server_id % 3 + 1)
        cluster.split(alone)
        client.propose(b"1", PATIENCE)
        with pytest.raises((oarlock.NoLeader, oarlock.NotLeader)):
            alone.query(b"", PATIENCE)
        assert alone.query(b"", PATIENCE, Consistency.STALE) == alone.query(b"", PATIENCE, Consistency.bounded(min_index=before)) == b"1"
        with pytest.raises(oarlock.Behind) as caught:
            alone.query(b"", PATIENCE, Consistency.bounded(min_index=client.seen))
        assert caught.value.retryable and not caught.value.maybe_committed
        cluster.heal()
        cluster.settle()
        assert alone.query(b"", PATIENCE, Consistency.bounded(min_index=client.seen)) == b"2"


def test_what_promises_nothing_is_refused():
    for make in (
        lambda: Consistency.bounded(),
        lambda: Consistency.bounded(max_age=0),
        lambda: Consistency.bounded(max_age=-1),
        lambda: Consistency(oarlock.Level.STALE, max_age=1),
        lambda: Consistency(min_index=3),
        lambda: Consistency.bounded(min_index=-3),
    ):
        with pytest.raises(oarlock.UsageError):
            make()
    assert Consistency() == Consistency.LINEARIZABLE and Consistency.bounded(1.5) == Consistency.bounded(max_age=1.5)
    assert Consistency.STALE.level == oarlock.Level.STALE
