"""Orders to a group: what servers and clients have in common of members and leadership."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Optional, TypeVar

from . import _abi, _abi_orders
from ._calls import Caller, OrderFuture, completer
from ._errors import Error, Failure, error_of
from ._members import Change, Member, Membership, MembershipPlan, Ordered, membership_of, ordered, plan_of
from ._status import CLASS_RETRYABLE, Status
from ._waiting import SLICE, nanoseconds, refuse_in_machine

T = TypeVar("T")


def _nothing(_: bytes) -> None:
    return None


class Governor(Caller):
    """Who belongs to a group, and who leads it.

    At a server these are one attempt, which fails with NotLeader elsewhere than at the leader; a client finds the leader and asks
    again where that is safe. When the time is over a change goes on: ``maybe_committed``. Asking for what is so, or is
    under way, is no error, so whoever lost an answer asks again.
    """

    def change_membership(
        self, changes: Iterable[Change], timeout: Optional[float] = None, *, expected: Optional[int] = None, forced: bool = False
    ) -> Membership:
        """Makes all these changes together, or none of them, and returns the membership when it is committed. Who is to vote catches
        up first. ``expected`` is the ``index`` of the membership that the changes start from, 0 of the one that the group was born
        with (ChangeMoved if it is another one; None: whichever is there). ``forced`` does without the checks that keep a group from
        standing still (ChangeUnsafe). ChangeGivenUp: a newcomer did not catch up, and all is as it was before. The leader may have
        to wait for something before it can begin, just after an election for instance: Busy, which passes by itself; a client waits
        for that."""
        return self._order(self._change(changes, expected, forced), membership_of, timeout)

    def change_membership_future(
        self, changes: Iterable[Change], timeout: Optional[float] = None, *, expected: Optional[int] = None, forced: bool = False
    ) -> OrderFuture:
        """The same without waiting: a future of a Membership."""
        return self._order_future(self._change(changes, expected, forced), membership_of, timeout)

    def cancel_membership_change(self, timeout: Optional[float] = None) -> Membership:
        """Gives up the change that is open, while servers only catch up. If none is open there is nothing to do."""
        return self._order(ordered(_abi_orders.ORDER_CHANGE, cancel=True), membership_of, timeout)

    def plan_membership(
        self, changes: Iterable[Change], timeout: Optional[float] = None, *, expected: Optional[int] = None, forced: bool = False
    ) -> MembershipPlan:
        """What ``change_membership`` would do now. Nothing is done. Why it would be refused stands in the plan."""
        return self._order(self._change(changes, expected, forced, _abi_orders.ORDER_PLAN), plan_of, timeout)

    def plan_membership_future(
        self, changes: Iterable[Change], timeout: Optional[float] = None, *, expected: Optional[int] = None, forced: bool = False
    ) -> OrderFuture:
        """The same without waiting: a future of a MembershipPlan."""
        return self._order_future(self._change(changes, expected, forced, _abi_orders.ORDER_PLAN), plan_of, timeout)

    def members(self, timeout: Optional[float] = None) -> Membership:
        """The membership that is committed, as it was at some moment after the call began."""
        return self._order(ordered(_abi_orders.ORDER_MEMBERS), membership_of, timeout)

    def members_future(self, timeout: Optional[float] = None) -> OrderFuture:
        """The same without waiting: a future of a Membership."""
        return self._order_future(ordered(_abi_orders.ORDER_MEMBERS), membership_of, timeout)

    def add_voter(self, member: Member, timeout: Optional[float] = None) -> Membership:
        """Adds a server that votes once it has caught up. It has to run: see ``format_joining``."""
        return self.change_membership([Change.add_voter(member)], timeout)

    def add_learner(self, member: Member, timeout: Optional[float] = None) -> Membership:
        """Adds a server that receives the log and does not vote."""
        return self.change_membership([Change.add_learner(member)], timeout)

    def promote(self, server_id: int, timeout: Optional[float] = None) -> Membership:
        """Makes a learner a voter, once it has caught up."""
        return self.change_membership([Change.promote(server_id)], timeout)

    def demote(self, server_id: int, timeout: Optional[float] = None) -> Membership:
        """Makes a voter a learner."""
        return self.change_membership([Change.demote(server_id)], timeout)

    def remove(self, server_id: int, timeout: Optional[float] = None) -> Membership:
        """Removes a member. It runs on, knows that it was removed, and disturbs nobody."""
        return self.change_membership([Change.remove(server_id)], timeout)

    def replace(self, member: Member, timeout: Optional[float] = None) -> Membership:
        """Has a server with a new store take the place of one with the same id, whose disk was lost."""
        return self.change_membership([Change.replace(member)], timeout)

    def set_address(self, server_id: int, address: str, timeout: Optional[float] = None) -> Membership:
        """Says where a member is reached from now on."""
        return self.change_membership([Change.address(server_id, address)], timeout)

    def transfer_leadership(self, to: int = 0, timeout: Optional[float] = None) -> None:
        """Hands leadership to a voter, or with 0 to the best, and returns when it has gone. What is proposed meanwhile is not lost.
        After TransferFailed the old leader leads on; after TransferTarget and TransferOpen nothing was begun."""
        self._order(ordered(_abi_orders.ORDER_TRANSFER, to=to), _nothing, timeout)

    def transfer_leadership_future(self, to: int = 0, timeout: Optional[float] = None) -> OrderFuture:
        """The same without waiting: a future of None."""
        return self._order_future(ordered(_abi_orders.ORDER_TRANSFER, to=to), _nothing, timeout)

    def step_down(self, timeout: Optional[float] = None) -> None:
        """Has the leader give leadership up: to the best successor, or where there is none to nobody."""
        self._order(ordered(_abi_orders.ORDER_STEP_DOWN), _nothing, timeout)

    def step_down_future(self, timeout: Optional[float] = None) -> OrderFuture:
        """The same without waiting: a future of None."""
        return self._order_future(ordered(_abi_orders.ORDER_STEP_DOWN), _nothing, timeout)

    @staticmethod
    def _change(changes: Iterable[Change], expected: Optional[int], forced: bool, kind: int = _abi_orders.ORDER_CHANGE) -> Ordered:
        return ordered(kind, changes, expected=expected, forced=forced)

    def _order(self, what: Ordered, read: Callable[[bytes], T], timeout: Optional[float]) -> T:
        refuse_in_machine("giving orders to a group")
        what.order.timeout = max(0, nanoseconds(timeout))
        if timeout == 0:
            text = "a timeout of 0 leaves no time to send anything"
            raise error_of(Failure(Status.ERR_NOT_SENT, Status.ERR_TIMEOUT, CLASS_RETRYABLE, text))
        try:
            call = _abi.handle_from(self._functions.order_start, self._handle.number, _abi.byref(what.order))
            try:
                while True:
                    result = _abi.wait_call(call, SLICE)
                    if result is not None:
                        return read(result)
            finally:
                _abi.library().call_free(call)  # ends the waiting, if Ctrl-C came; the order goes on
        except Error as error:
            raise self._handle.plain(error)

    def _order_future(self, what: Ordered, read: Callable[[bytes], object], timeout: Optional[float]) -> OrderFuture:
        what.order.timeout = self._bound(timeout)
        future = OrderFuture()
        future.read = read
        try:
            completer().submit(self._functions.order_queued, self, (_abi.byref(what.order),), future)
        except Error as error:
            raise self._handle.plain(error)
        return future
