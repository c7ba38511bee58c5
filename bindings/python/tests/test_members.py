"""Members and leadership."""

from __future__ import annotations

import contextlib
import time

import pytest
from conftest import CALM, PATIENCE, Counter, free_ports, new_config

import oarlock
import oarlock.testing
from oarlock import Change, Member


@pytest.fixture
def cluster():
    config = oarlock.Config()
    for key, value in CALM.items():
        config[key] = value
    with oarlock.testing.Cluster(Counter, config=config) as cluster:
        yield cluster


def retried(call):
    """A server that has just come may not have been heard of yet, and one that has just gone may still be."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except oarlock.ChangeUnsafe:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def ids(members):
    return [member.id for member in members]


def test_a_cluster_grows_by_a_learner_that_is_promoted_and_a_voter_and_shrinks():
    with oarlock.testing.Cluster(Counter, 1) as cluster:
        assert cluster.propose(b"7") == b"7"
        client = cluster.client()
        born = client.members(PATIENCE)
        assert ids(born.voters) == [1] and not born.changing and len(born.voters[0].store) == 16
        learner = cluster.add()
        assert learner.id == 2 and cluster.servers == [1, 2]
        now = client.add_learner(learner, PATIENCE)
        assert (now.voters, now.learners) == (born.voters, (learner,))
        assert born.index == 0
        with pytest.raises(oarlock.ChangeMoved, match="born with"):  # somebody else starts from there, too
            client.change_membership([Change.remove(2)], PATIENCE, expected=born.index)
        assert client.plan_membership([Change.remove(2)], PATIENCE, expected=now.index).refused is None
        assert ids(retried(lambda: client.promote(2, PATIENCE)).voters) == [1, 2]
        voter = cluster.add()
        now = client.change_membership_future([Change.add_voter(voter)], PATIENCE).result(PATIENCE)
        assert isinstance(now, oarlock.Membership) and ids(now.voters) == [1, 2, 3] and now.index > born.index
        assert client.members(PATIENCE) == now == client.add_voter(voter, PATIENCE)  # it is so
        cluster.settle()
        assert [cluster.machine(server).value for server in cluster.servers] == [7, 7, 7]
        gone = cluster.leader().server_id % 3 + 1
        assert gone not in ids(retried(lambda: client.remove(gone, PATIENCE)).voters)
        deadline = time.monotonic() + PATIENCE
        while not cluster.server(gone).group_info().removed:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert cluster.propose(b"1") == b"8"
        cluster.settle()


def test_a_server_whose_disk_is_lost_is_replaced(cluster):
    assert cluster.propose(b"5") == b"5"
    lost = cluster.leader()
    with pytest.raises(oarlock.UsageError, match="runs"):
        cluster.replace(lost)
    cluster.crash(lost)
    assert cluster.propose(b"1") == b"6"
    member = cluster.replace(lost)
    client = cluster.client()
    assert member in retried(lambda: client.replace(member, PATIENCE)).voters
    cluster.settle()
    assert cluster.machine(lost.server_id).value == 6
    info = cluster.server(member.id).group_info()
    assert info.voters == 3 and not info.changing and not info.removed and info.membership_index > 0


def test_a_plan_says_what_would_happen_and_nothing_does(cluster):
    client, newcomer = cluster.client(), cluster.add(start=False)
    before = client.members(PATIENCE)
    plan = client.plan_membership([Change.add_voter(newcomer)], PATIENCE)
    assert plan.refused is None and plan.current == before and plan.committed and before.index == 0
    assert client.plan_membership([Change.add_voter(newcomer)], PATIENCE, expected=0).refused is None
    assert [len(stage.voters) for stage in plan.stages] == [3, 4, 4]
    assert [stage.changing for stage in plan.stages] == [True, True, False]
    assert plan.stages[0].wanted_voters == plan.stages[1].voters == plan.stages[2].voters
    assert plan.stages[1].outgoing == before.voters
    *old, new = plan.members
    assert all(m.votes and m.will_vote and m.heard and m.silent is not None for m in old)
    assert new.member == newcomer and new.will_vote and not new.votes and not new.heard and new.silent is None
    assert (plan.before, plan.after) == (1, 1)
    assert client.members(PATIENCE) == before
    nobody = client.plan_membership_future([Change.remove(1), Change.remove(2), Change.remove(3)], PATIENCE).result(PATIENCE)
    assert isinstance(nobody.refused, oarlock.ChangeImpossible) and "voter" in str(nobody.refused)


def test_refusals_have_classes_of_their_own(cluster):
    client, newcomer = cluster.client(), cluster.add(start=False)
    with pytest.raises(oarlock.ChangeImpossible) as caught:
        client.promote(9, PATIENCE)
    assert isinstance(caught.value, oarlock.ChangeError) and not caught.value.maybe_committed
    with pytest.raises(oarlock.ChangeMoved):
        client.change_membership([Change.demote(3)], PATIENCE, expected=999_999)
    waits = client.change_membership_future([Change.add_voter(newcomer)], PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while not client.members(PATIENCE).changing:
        assert time.monotonic() < deadline
    assert client.members(PATIENCE).wanted_voters[-1] == newcomer
    with pytest.raises(oarlock.ChangeOpen) as caught:
        client.remove(3, PATIENCE)
    assert caught.value.retryable
    assert ids(client.cancel_membership_change(PATIENCE).voters) == [1, 2, 3]
    with pytest.raises(oarlock.ChangeGivenUp):
        waits.result(PATIENCE)
    with pytest.raises(oarlock.ProposalTimeout):
        client.add_voter(newcomer, 1)
    client.cancel_membership_change(PATIENCE)
    with pytest.raises(oarlock.NotSentTimeout):
        client.remove(3, 0)
    with pytest.raises(oarlock.UsageError, match="16"):
        client.add_voter(Member(9, "host:1", b"short"), PATIENCE)
    with pytest.raises(oarlock.UsageError, match="without changes"):
        client.change_membership([], PATIENCE)
    client.close()
    with pytest.raises(oarlock.Closed):
        client.members(PATIENCE)


def test_a_newcomer_that_does_not_come_is_given_up():
    config = oarlock.Config()
    config["timing.election_timeout_min"], config["timing.election_timeout_max"] = "100ms", "200ms"
    config["timing.heartbeat_interval"], config["timing.join_timeout"] = "20ms", "300ms"
    with oarlock.testing.Cluster(Counter, 1, config=config) as cluster:
        events = cluster.leader().events()
        with pytest.raises(oarlock.ChangeGivenUp, match="server 2"):
            cluster.client().add_voter(cluster.add(start=False), PATIENCE)
        while (event := events.next(PATIENCE)).kind != oarlock.EventKind.CHANGE_GIVEN_UP:
            pass
        assert event.server == 2 and event.text
        events.close()


def test_leadership_is_handed_over(cluster):
    client = cluster.client()
    cluster.propose(b"1")
    cluster.settle()
    to = cluster.leader().server_id % 3 + 1
    client.transfer_leadership(to, PATIENCE)
    assert cluster.leader().server_id == to
    client.transfer_leadership(to, PATIENCE)  # it leads
    old = cluster.leader()
    old.step_down(PATIENCE)
    with pytest.raises((oarlock.NotLeader, oarlock.NoLeader)):
        old.step_down(PATIENCE)
    assert cluster.leader().server_id != to
    assert client.step_down_future(PATIENCE).result(PATIENCE) is None
    with pytest.raises(oarlock.TransferTarget) as caught:
        client.transfer_leadership_future(9, PATIENCE).result(PATIENCE)
    assert isinstance(caught.value, oarlock.TransferError)
    assert cluster.propose(b"1") == b"2"


def test_a_machine_must_not_wait_for_an_order():
    class Ordering(Counter):
        tried = 0

        def apply(self, entry):
            with pytest.raises(oarlock.WouldDeadlock):
                cluster.server(1).members(1)
            cluster.server(1).members_future(1)  # it does not wait
            Ordering.tried += 1
            return super().apply(entry)

    with oarlock.testing.Cluster(Ordering, 1) as cluster:
        assert cluster.propose(b"1") == b"1" and Ordering.tried


def test_a_configured_server_joins(tmp_path):
    config = new_config(tmp_path, 2, "segments")
    address = f"127.0.0.1:{free_ports(1)}"
    config["member.3.address"], config["member.3.data"] = address, str(tmp_path / "data" / "3")
    config["member.3.founder"], config["member.3.priority"] = "false", "5"
    oarlock.format_joining(config, 3)
    with pytest.raises(oarlock.AlreadyFormatted):
        oarlock.format_joining(config, 3)
    with contextlib.ExitStack() as stack:
        one, two, three = (stack.enter_context(oarlock.Server(config, server_id, Counter(), log=None)) for server_id in (1, 2, 3))
        client = stack.enter_context(oarlock.Client(config))
        assert client.propose(b"4", PATIENCE) == b"4"
        member = three.member(address)
        assert member.id == 3 and member.store != one.member().store and len(member.store) == 16
        assert member in client.add_voter(member, PATIENCE).voters
        three.wait_ready(PATIENCE)
        assert three.query(b"", PATIENCE) == b"4" and three.group_info().priority == 5
        one.close()
        assert client.propose(b"1", PATIENCE) == b"5"
        assert client.members(PATIENCE).voters[-1] == member
        two.barrier(PATIENCE)
