"""Proposals and queries, of servers and clients alike: waited for, or as futures."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, Optional

from . import _abi, _lifecycle
from ._consistency import Consistency
from ._errors import Closed, Error, Failure, UsageError, WouldDeadlock, error_of
from ._status import Level, Status
from ._waiting import SLICE, BytesLike, as_bytes, nanoseconds, refuse_in_machine

log = logging.getLogger("oarlock")


class CallFuture(Future):  # type: ignore[type-arg]  # Future[bytes] costs a base class in Python 3.9
    """The result of a proposal, or the answer of a query, that is under way.

    Its callbacks run on the one thread that completes all futures, so they must be quick and must not wait: waiting for another future there raises
    WouldDeadlock.
    """

    index: int = 0
    """Of a server's call that was answered, also by ResultTooLarge or QueryError: the entry that its answer reflects the log up to."""
    read: Optional[Callable[[bytes], Any]] = None  # makes the value of the library's bytes; None: they are it
    caller: Optional[Caller] = None  # while under way: kept from the collector: closing it would end the call

    def cancel(self) -> bool:
        """False: a command that is under way cannot be taken back."""
        return False

    def result(self, timeout: Optional[float] = None) -> bytes:
        """Waits for the result, or raises how the call failed. A timeout here ends the waiting only."""
        self._may_wait()
        result: bytes = super().result(timeout)
        return result

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """Waits, and returns how the call failed, or None."""
        self._may_wait()
        return super().exception(timeout)

    def _may_wait(self) -> None:
        _lifecycle.refuse_forked()
        if not self.done():
            refuse_in_machine("waiting for a future")
            if _completer is not None and _completer.here():
                raise WouldDeadlock("waiting for a future inside of a future's callback would wait for the thread that completes it")


class OrderFuture(CallFuture):
    """The outcome of an order about members or leadership that is under way: a Membership, a MembershipPlan, or None."""

    def cancel(self) -> bool:
        """False: what was ordered goes on. ``Client.cancel_membership_change`` is an order of its own."""
        return False

    def result(self, timeout: Optional[float] = None) -> Any:
        """Waits for the outcome, or raises how the order failed. A timeout here ends the waiting only."""
        return super().result(timeout)


class Completer:
    """The thread that completes futures: one a process, for all servers and clients."""

    def __init__(self) -> None:
        self._queue = _abi.handle_from(_abi.library().queue_new)
        self._futures: dict[int, CallFuture] = {}
        self._tags = itertools.count(1)
        self._thread = threading.Thread(target=self._run, name="oarlock futures", daemon=True)
        self._thread.start()
        _lifecycle.opened(self, last=True)

    def submit(self, function: Any, caller: Caller, arguments: tuple[Any, ...], future: CallFuture) -> CallFuture:
        """Begins a call. What refuses it at the door is raised here."""
        tag = next(self._tags)
        future.caller = caller
        self._futures[tag] = future  # before, because it may complete before the function returns
        try:
            _abi.check(function(caller._handle.number, *arguments, self._queue, tag))
        except BaseException:
            del self._futures[tag]
            raise
        return future

    def here(self) -> bool:
        """Whether this thread is the one that completes futures."""
        return threading.current_thread() is self._thread

    def _run(self) -> None:
        completions, take = _abi.Completions(self._queue), self._futures.pop
        while True:
            try:
                batch = completions.next()
            except Closed:
                return
            for _, status, cause, _, tag, at, length, text, leader, address, errno, bits, index in batch:
                future = take(tag)
                future.caller = None
                future.index = index
                try:
                    if status == Status.OK:
                        result = _abi.string_at(at, length) if length else b""
                        future.set_result(result if future.read is None else future.read(result))
                    else:
                        texts = (_abi.string_at(text) if text else b"", _abi.string_at(address) if address else b"")
                        what, where = (t.decode("utf-8", "replace") for t in texts)
                        future.set_exception(error_of(Failure(status, cause, bits, what, leader, where, errno)))
                except BaseException:  # a callback's; Future itself lets what is no Exception through
                    log.exception("a callback of a future failed")

    def close_at_exit(self) -> None:
        """Ends the thread, once every call that is under way has completed."""
        _abi.library().queue_close(self._queue)
        self._thread.join(5)


_completer: Optional[Completer] = None
_completer_lock = threading.Lock()


def completer() -> Completer:
    """The one of this process, made at first use."""
    global _completer
    if _completer is None:
        _lifecycle.refuse_forked()
        with _completer_lock:
            if _completer is None:
                _completer = Completer()
    return _completer


class Functions(NamedTuple):
    """The library's functions of servers, or of clients."""

    propose: Any
    propose_start: Any
    propose_queued: Any
    query: Any
    query_start: Any
    query_queued: Any
    order_start: Any
    order_queued: Any


def functions(prefix: str) -> Functions:
    """Those whose names begin with a prefix."""
    return Functions(*(getattr(_abi.library(), prefix + name) for name in Functions._fields))


def query_options(consistency: Consistency, timeout: int) -> Optional[_abi.QueryOptions]:
    """As the library takes them."""
    if not isinstance(consistency, Consistency):
        raise UsageError(f"consistency is {consistency!r}: it must be a Consistency, such as Consistency.STALE or Consistency.bounded(...)")
    if timeout == 0 and consistency.level == Level.LINEARIZABLE:
        return None  # the same, and the usual case
    age = 0 if consistency.max_age is None else nanoseconds(consistency.max_age)
    return _abi.QueryOptions(consistency=consistency.level, timeout=timeout, max_age=age, min_index=consistency.min_index)


class Caller:
    """What servers and clients have in common."""

    _handle: _lifecycle.Handle
    _functions: Functions

    def query(
        self, request: BytesLike, timeout: Optional[float] = None, consistency: Consistency = Consistency.LINEARIZABLE
    ) -> bytes:
        """Reads through the state machine and waits for the answer, which reflects what ``consistency`` asks for. A server that does
        not lead asks the leader how far it has to be, and answers by itself."""
        start = query_options(consistency, max(0, nanoseconds(timeout)))
        return self._call(self._functions.query, self._functions.query_start, start, as_bytes(request, "a request"), timeout)

    def query_future(
        self, request: BytesLike, timeout: Optional[float] = None, consistency: Consistency = Consistency.LINEARIZABLE
    ) -> CallFuture:
        """The same without waiting."""
        options = query_options(consistency, self._bound(timeout))
        return self._submit(self._functions.query_queued, options, as_bytes(request, "a request"))

    def _propose(self, command: BytesLike, timeout: Optional[float], **session: int) -> bytes:
        data, options = as_bytes(command, "a command"), None
        if timeout is not None or session:
            options = _abi.ProposeOptions(timeout=max(0, nanoseconds(timeout)), **session)
        return self._call(self._functions.propose, self._functions.propose_start, options, data, timeout)

    def _propose_future(self, command: BytesLike, timeout: Optional[float], **session: int) -> CallFuture:
        data, options = as_bytes(command, "a command"), None
        if timeout is not None or session:
            options = _abi.ProposeOptions(timeout=self._bound(timeout), **session)
        return self._submit(self._functions.propose_queued, options, data)

    @staticmethod
    def _bound(timeout: Optional[float]) -> int:
        """The time of what is not waited for, where 0 means that it has none: who gives it none at all gets the least."""
        return 0 if timeout is None else max(1, nanoseconds(timeout))

    def _call(self, at_once: Any, start: Any, options: Any, data: bytes, timeout: Optional[float]) -> bytes:
        refuse_in_machine("proposing and querying")
        try:
            if timeout == 0:  # nothing is begun; the library says so in its words
                return _abi.bytes_from(at_once, self._handle.number, options, data, len(data), 0)
            call = _abi.handle_from(start, self._handle.number, options, data, len(data))
            try:
                while True:
                    result = _abi.wait_call(call, SLICE)
                    if result is not None:
                        return result
            finally:
                _abi.library().call_free(call)  # gives it up, if Ctrl-C came
        except Error as error:
            raise self._handle.plain(error)

    def _submit(self, function: Any, options: Any, data: bytes) -> CallFuture:
        try:
            return completer().submit(function, self, (options, data, len(data)), CallFuture())
        except Error as error:
            raise self._handle.plain(error)
