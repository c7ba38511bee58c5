"""Members and leadership: who belongs to a group, and who leads it."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import NamedTuple, Optional, Union

from . import _abi, _abi_orders
from ._errors import Error, Failure, UsageError, error_of
from ._status import Status


class Member(NamedTuple):
    """A server in a membership."""

    id: int
    address: str = ""
    """Where other servers reach it."""
    store: bytes = b""
    """Its store's id, 16 bytes; ``store.hex()`` is how people write it. A server that has started says its own:
    ``Server.member``."""


class Membership(NamedTuple):
    """Who belongs to a group. While a change is open, who will when it has ended is *wanted*."""

    index: int  # type: ignore[assignment]  # it hides a method of tuples, which nobody wants here
    """The entry that brought it; 0 of the one that the group was born with. It is what ``expected`` of a change takes."""
    voters: tuple[Member, ...]
    learners: tuple[Member, ...]
    outgoing: tuple[Member, ...]
    """Who votes until the change that is open has ended: a majority of these is needed, too."""
    wanted_voters: tuple[Member, ...]
    wanted_learners: tuple[Member, ...]
    changing: bool
    """A change is open."""


class PlanMember(NamedTuple):
    """A server in a plan."""

    member: Member
    votes: bool
    learns: bool
    will_vote: bool
    will_learn: bool
    heard: bool
    """It has answered within an election timeout."""
    silent: Optional[float]
    """Seconds since it was last heard of; None: never."""
    behind: int
    """Entries that it lacks, as far as is known; 0 where it is not fed yet."""


class MembershipPlan(NamedTuple):
    """What a change would do."""

    current: Membership
    committed: bool
    """The current membership is known to be committed."""
    stages: tuple[Membership, ...]
    """What would be appended, one after the other; empty: it is so already."""
    members: tuple[PlanMember, ...]
    before: int
    """How many more of the voters that are heard of may fail before nothing can be decided any more; negative: so many are missing
    already. Newcomers count as heard of."""
    during: int
    """The same in the stage that bears least."""
    after: int
    """The same at the end."""
    refused: Optional[Error]
    """What the change would be refused with now; None: it would begin, or is done already."""


class ChangeKind(enum.IntEnum):
    """What is to become of a member."""

    ADD_VOTER = 1
    ADD_LEARNER = 2
    PROMOTE = 3
    DEMOTE = 4
    REMOVE = 5
    REPLACE = 6
    ADDRESS = 7


class Change(NamedTuple):
    """One part of a change of the membership; ``Change.add_voter`` and its like make them."""

    kind: ChangeKind
    member: Member

    @staticmethod
    def add_voter(member: Member) -> Change:
        """A server that is no member yet, or a learner, is to vote. It counts once it has caught up."""
        return Change(ChangeKind.ADD_VOTER, member)

    @staticmethod
    def add_learner(member: Member) -> Change:
        """A server that is no member yet receives the log and does not vote."""
        return Change(ChangeKind.ADD_LEARNER, member)

    @staticmethod
    def promote(server_id: int) -> Change:
        """A learner becomes a voter."""
        return Change(ChangeKind.PROMOTE, Member(server_id))

    @staticmethod
    def demote(server_id: int) -> Change:
        """A voter becomes a learner."""
        return Change(ChangeKind.DEMOTE, Member(server_id))

    @staticmethod
    def remove(server_id: int) -> Change:
        """The server is no member any more."""
        return Change(ChangeKind.REMOVE, Member(server_id))

    @staticmethod
    def replace(member: Member) -> Change:
        """The server under that id lost its disk: one with another store takes its place. Without an address it keeps the old one."""
        return Change(ChangeKind.REPLACE, member)

    @staticmethod
    def address(server_id: int, address: str) -> Change:
        """Where the member is reached from now on."""
        return Change(ChangeKind.ADDRESS, Member(server_id, address))


NEEDS_STORE = (ChangeKind.ADD_VOTER, ChangeKind.ADD_LEARNER, ChangeKind.REPLACE)


def _change(change: Change) -> tuple[int, int, bytes, Optional[bytes]]:
    member = change.member
    if len(member.store) not in ((16,) if change.kind in NEEDS_STORE else (0, 16)):
        raise UsageError(f"the store of server {member.id} has {len(member.store)} bytes: a store's id has 16")
    return int(change.kind), _abi.whole(member.id, "a server's id"), member.store or bytes(16), member.address.encode() if member.address else None


class Ordered(NamedTuple):
    """An order as the library takes it, with what it points to."""

    order: _abi_orders.Order
    kept: object


def ordered(
    kind: int, changes: Iterable[Change] = (), *, expected: Optional[int] = None, forced: bool = False, cancel: bool = False, to: int = 0
) -> Ordered:
    """The order for a call."""
    listed = [_change(change) for change in changes]
    array = _abi_orders.changes(listed)
    flags = forced * _abi_orders.ORDER_FORCED | cancel * _abi_orders.ORDER_CANCEL
    start = 0 if expected is None else _abi.whole(expected, "expected") or _abi_orders.FROM_BIRTH  # in C 0 is whichever is there
    order = _abi_orders.Order(kind=kind, change_count=len(listed), flags=flags, to=to, **{"from": start})
    if listed:
        order.changes = array
    return Ordered(order, array)


def membership_of(data: bytes) -> Membership:
    """A membership out of the library's answer."""
    lib, m = _abi.library(), _abi_orders.MembershipStruct()
    _abi.check(lib.membership_read(data, len(data), _abi.byref(m)))
    roles = (
        _abi_orders.MEMBER_VOTER, _abi_orders.MEMBER_LEARNER, _abi_orders.MEMBER_OUTGOING, _abi_orders.MEMBER_WANTED_VOTER,
        _abi_orders.MEMBER_WANTED_LEARNER,
    )  # fmt: skip
    lists: list[list[Member]] = [[] for _ in roles]
    for one in _abi_orders.pieces(lib.member_read, data, m.members, _abi_orders.MemberStruct, _abi.check):
        for role, members in zip(roles, lists):
            if one.roles & role:
                members.append(_member(one))
    voters, learners, outgoing, wanted_voters, wanted_learners = (tuple(members) for members in lists)
    changing = bool(m.flags & _abi_orders.MEMBERSHIP_CHANGING)
    return Membership(m.index, voters, learners, outgoing, wanted_voters, wanted_learners, changing)


def _member(one: Union[_abi_orders.MemberStruct, _abi_orders.PlanMemberStruct]) -> Member:
    return Member(one.id, (one.address or b"").decode("utf-8", "replace"), bytes(one.store))


def plan_of(data: bytes) -> MembershipPlan:
    """A plan out of the library's answer."""
    lib, p = _abi.library(), _abi_orders.PlanStruct()
    _abi.check(lib.plan_read(data, len(data), _abi.byref(p)))
    members = tuple(
        PlanMember(
            _member(one),
            bool(one.flags & _abi_orders.PLAN_VOTES),
            bool(one.flags & _abi_orders.PLAN_LEARNS),
            bool(one.flags & _abi_orders.PLAN_WILL_VOTE),
            bool(one.flags & _abi_orders.PLAN_WILL_LEARN),
            bool(one.flags & _abi_orders.PLAN_HEARD),
            None if one.silent < 0 else one.silent / 1e9,
            one.behind,
        )
        for one in _abi_orders.pieces(lib.plan_member_read, data, p.members, _abi_orders.PlanMemberStruct, _abi.check)
    )
    current, *stages = [membership_of(stage) for stage in _abi_orders.stages(lib.plan_stage, data, p.stages + 1, _abi.check)]
    refused = None
    if p.refused != Status.OK:
        text = (p.refused_text or b"").decode("utf-8", "replace")
        refused = error_of(Failure(p.refused, p.refused, lib.status_class(p.refused), text))
    return MembershipPlan(current, bool(p.committed), tuple(stages), members, p.before, p.during, p.after, refused)
