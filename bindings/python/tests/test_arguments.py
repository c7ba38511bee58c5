"""Arguments that C would cut to size, or end early, or not look at, are refused by name."""

from __future__ import annotations

import pytest
from conftest import PATIENCE, Counter

import oarlock
import oarlock.testing
from oarlock import Change, Consistency, Member, ReadFrom

NOWHERE = "127.0.0.1:1"


@pytest.mark.parametrize("number", [2**64, 2**64 + 1, -1])
def test_numbers_that_do_not_fit_are_refused_with_their_range(make_config, number):
    config = make_config()
    client = oarlock.Client(servers=NOWHERE)
    cluster = oarlock.testing.Cluster(Counter)
    server = oarlock.Server(config, 1, Counter())
    calls = {
        "server_id": [
            lambda: oarlock.Server(config, number, Counter()), lambda: oarlock.format(config, number),
            lambda: oarlock.format_joining(config, number),
        ],
        "a server's id": [
            lambda: client.remove(number, 1), lambda: client.add_voter(Member(number, NOWHERE, bytes(16)), 1), lambda: cluster.start(number),
            lambda: cluster.stop(number), lambda: cluster.split(1, number), lambda: cluster.cut(number, 1), lambda: cluster.replace(number),
        ],
        "to": [lambda: client.transfer_leadership(number, 1)],
        "expected": [lambda: client.change_membership([Change.remove(1)], 1, expected=number)],
        "session": [
            lambda: server.keep_session(number, 1), lambda: server.close_session(number, 1), lambda: server.propose(b"", 1, session=number),
        ],
        "sequence": [lambda: server.propose_future(b"", 1, session=1, sequence=number)],
        "floor": [lambda: server.propose(b"", 1, session=1, sequence=1, floor=number)],
        "min_index": [lambda: Consistency.bounded(min_index=number)],
        "room": [lambda: server.events(room=number)],
        "outstanding_max": [lambda: oarlock.Client(servers=NOWHERE, outstanding_max=number)],
        "response_bytes_max": [lambda: oarlock.Client(servers=NOWHERE, response_bytes_max=number)],
        "commands": [lambda: oarlock.testing.check_state_machine(Counter, commands=number)],
        "clusters_from": [lambda: oarlock.testing.simulate(Counter, clusters_from=number)],
    }  # fmt: skip
    with client, cluster, server:
        for name, refused in calls.items():
            for call in refused:
                with pytest.raises(oarlock.UsageError, match=f"^{name} is {number}: it must be from [01] to [0-9]+$"):
                    call()
    with pytest.raises(oarlock.UsageError, match="gc_percent is .*: it must be from -2147483648 to 2147483647"):
        oarlock.runtime_configure(gc_percent=2**31)


def test_numbers_that_are_none_are_refused_by_name(make_config):
    with pytest.raises(TypeError, match="server_id must be an int, not str"):
        oarlock.Server(make_config(), "1", Counter())
    with pytest.raises(TypeError, match="outstanding_max must be an int, not float"):
        oarlock.Client(servers=NOWHERE, outstanding_max=1.5)


def test_texts_do_not_end_at_a_zero_byte(make_config):
    config = make_config()
    server = oarlock.Server(config, 1, Counter())
    client = oarlock.Client(servers=NOWHERE)

    def put(key, value):
        config[key] = value

    with server, client:
        for call in (
            lambda: put("timing.heartbeat_interval", "61ms\0x"), lambda: put("timing\0", "60ms"), lambda: config["timing.close_timeout\0x"],
            lambda: oarlock.Client(servers="127.0.0.1:1\0,b:2"), lambda: oarlock.Client(servers=["a:1", "b:2\0"]),
            lambda: server.events(log_levels="info\0"), lambda: oarlock.Server(config, 1, Counter(), log="info\0"),
            lambda: client.set_address(1, "a:1\0b", 1), lambda: oarlock.Config.load("a\0b"),
        ):  # fmt: skip
            with pytest.raises(oarlock.UsageError, match="zero byte"):
                call()
    assert "61" not in config["timing.heartbeat_interval"]


def test_read_from_is_one_of_its_values():
    oarlock.Client(servers=NOWHERE, read_from="any").close()
    assert oarlock._client.flags(False, "any") == oarlock._client.flags(False, ReadFrom.ANY) != oarlock._client.flags(False, ReadFrom.LEADER)
    for wrong in ("ANY", "anywhere", True, None):
        with pytest.raises(oarlock.UsageError, match="read_from is .*: it must be ReadFrom.LEADER or ReadFrom.ANY"):
            oarlock.Client(servers=NOWHERE, read_from=wrong)


def test_consistency_is_a_consistency(serve):
    server = serve(Counter())
    with oarlock.Client(servers=NOWHERE) as client:
        for wrong in ("stale", oarlock.Level.STALE, None):
            for query in (server.query, server.query_future, client.query, client.query_future):
                with pytest.raises(oarlock.UsageError, match="it must be a Consistency, such as Consistency.STALE"):
                    query(b"", PATIENCE, wrong)
            with pytest.raises(oarlock.UsageError, match="it must be a Consistency"):
                server.barrier(PATIENCE, wrong)
        with pytest.raises(oarlock.UsageError, match="the level is 'stale': it must be a Level"):
            Consistency("stale")
