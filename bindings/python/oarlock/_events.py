"""What happens on a server, and what it logs."""

from __future__ import annotations

import logging
import threading
from typing import Any, NamedTuple, Optional, Union

from . import _abi
from ._errors import Closed, Error
from ._lifecycle import Handle, not_to_be_pickled
from ._status import EventKind, Role, Status
from ._waiting import in_slices, refuse_in_machine


class Event(NamedTuple):
    """What happened. Members that a kind does not use are 0 or empty."""

    kind: Union[EventKind, int]
    """A number that has no name is of a newer library: ignore it."""
    group: int
    term: int
    index: int  # type: ignore[assignment]  # it hides a method of tuples, which nobody wants here
    """An entry's: of memberships and their changes, snapshots, compactions, slow applies."""
    server: int
    """The leader, 0 for none; the peer, of a dropped message or a snapshot that is fetched; the newcomer that a change failed on; who
    was to take over leadership; this server, of REMOVED."""
    role: Optional[Role]
    """Of ROLE."""
    dropped: int
    """Of DROPPED_EVENTS: how many did not fit."""
    elapsed: float
    """Of SLOW_APPLY: how long it took, in seconds."""
    text: str
    """Of what failed, or of LOG."""
    component: str
    """Of LOG: "server", "raft", "tcp" and so on."""
    level: int
    """Of LOG, as package logging counts: 10 debug, 20 info, 30 warning, 40 error."""


def _kind(number: int) -> Union[EventKind, int]:
    try:
        return EventKind(number)
    except ValueError:
        return number


def event_of(e: Any) -> Event:
    """An event from the library's struct, which the next one overwrites."""
    role = Role(e.role) if e.kind == EventKind.ROLE and e.role <= Role.LEADER else None
    text, component = ((raw or b"").decode("utf-8", "replace") for raw in (e.text, e.component))
    level = 20 + e.level * 10 // 4 if e.kind == EventKind.LOG else 0
    return Event(_kind(e.kind), e.group, e.term, e.index, e.server, role, e.dropped, e.elapsed / 1e9, text, component, level)


def subscribe(server: int, log_levels: Optional[str], room: int = 0) -> int:
    """Opens a subscription."""
    levels = None if log_levels is None else _abi.text(log_levels, "log_levels")
    options = _abi.EventsOptions(room=room, log_levels=levels)
    return _abi.handle_from(_abi.library().events_open, server, _abi.byref(options))


class Events:
    """A subscription: an iterator that waits for what happens next, and ends when the server has closed.

    A slow reader delays nobody: what does not fit is dropped, counted, and told as DROPPED_EVENTS. One thread at a time.
    """

    def __init__(self, server: int, log_levels: Optional[str], room: int) -> None:
        self._handle = Handle(subscribe(server, log_levels, room), "subscription")
        self._struct = _abi.EventStruct()

    def next(self, timeout: Optional[float] = None) -> Event:
        """The next event. TimeoutError when the time is over; Closed at the end."""
        refuse_in_machine("waiting for an event")
        lib, place = _abi.library(), _abi.byref(self._struct)
        try:
            _abi.check(in_slices(lambda slice: int(lib.events_next(self._handle.number, slice, place)), timeout))
        except Error as error:
            raise self._handle.plain(error)
        return event_of(self._struct)

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> Event:
        try:
            return self.next()
        except Closed:
            raise StopIteration from None

    def close(self) -> None:
        """Ends the subscription."""
        if not self._handle.closed:
            number, self._handle.closed = self._handle.number, True
            _abi.library().events_free(number)

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            try:
                self.close()
            except (Error, TypeError):  # TypeError: the interpreter ends and its modules are gone
                pass

    def __reduce__(self) -> Any:
        raise not_to_be_pickled(self)


class LogThread(threading.Thread):
    """Hands what a server logs to package logging, as logger "oarlock" and below. It ends when the server has closed."""

    def __init__(self, server: int, log_levels: str, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._events = subscribe(server, log_levels)

    def run(self) -> None:
        lib, event = _abi.library(), _abi.EventStruct()
        place = _abi.byref(event)
        while (status := lib.events_next(self._events, _abi.FOREVER, place)) in (Status.OK, Status.ERR_TIMEOUT):
            if status == Status.ERR_TIMEOUT:
                continue
            try:
                self._tell(event_of(event))
            except BaseException:  # a handler's: the server's other lines are told all the same
                logging.getLogger("oarlock").exception("a log handler failed")
        self.end()

    def _tell(self, event: Event) -> None:
        if event.kind == EventKind.LOG:
            logging.getLogger(f"oarlock.{event.component}" if event.component else "oarlock").log(event.level, "%s", event.text)
        elif event.kind == EventKind.DROPPED_EVENTS:
            logging.getLogger("oarlock").warning("%d log lines and events were dropped: the log handler is slow", event.dropped)

    def end(self) -> None:
        """Ends the subscription, also of a thread that was never started."""
        _abi.library().events_free(self._events)
