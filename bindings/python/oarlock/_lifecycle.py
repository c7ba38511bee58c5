"""What is open, so that it is closed when the interpreter exits and forgotten in a forked child."""

from __future__ import annotations

import atexit
import logging
import os
from typing import Optional, Protocol

from . import _abi
from ._errors import Closed, Error, ForkedError, UsageError
from ._status import Status

log = logging.getLogger("oarlock")


class Closable(Protocol):
    """What is closed at exit."""

    def close_at_exit(self) -> None: ...


_open: dict[int, Closable] = {}
_last: list[Closable] = []  # closed after everything else
_forked = False


def opened(thing: Closable, last: bool = False) -> None:
    """Notes what has to be closed at exit."""
    if last:
        _last.append(thing)
    else:
        _open[id(thing)] = thing


def closed(thing: Closable) -> None:
    """Notes that it was."""
    _open.pop(id(thing), None)


def forked() -> bool:
    """Whether this process is a forked child of the one that loaded the library."""
    return _forked


def refuse_forked() -> None:
    """Raises in a forked child. It comes before any lock is taken: another thread of the parent may have held it."""
    if _forked:
        raise ForkedError("oarlock does not work in a forked child; start it with exec, or with multiprocessing's 'spawn'")


@atexit.register
def close_all() -> None:
    """Closes what was left open. Threads that are no daemons have ended before, by Python's own rule."""
    for thing in [*_open.values(), *_last]:
        try:
            thing.close_at_exit()
        except Exception:  # the others are to be closed all the same
            log.exception("%r could not be closed at exit", thing)


def _after_fork() -> None:
    global _forked
    _forked = _abi.loaded()
    _open.clear()
    _last.clear()


os.register_at_fork(after_in_child=_after_fork)


class Handle:
    """A handle of the library that may be closed while other threads use it."""

    def __init__(self, number: int, what: str) -> None:
        self._number, self._what = number, what
        self.closed = False

    @property
    def number(self) -> int:
        """What the library's functions take."""
        if self.closed:
            raise Closed(f"this {self._what} was closed")
        return self._number

    def plain(self, error: Error) -> Error:
        """The error, unless it only says that the handle was closed by another thread."""
        if isinstance(error, UsageError) and error.code == Status.ERR_HANDLE and self.closed:
            return Closed(f"this {self._what} was closed")
        return error


def not_to_be_pickled(thing: object, why: Optional[str] = None) -> TypeError:
    """For __reduce__."""
    return TypeError(f"an oarlock.{type(thing).__name__} cannot be pickled: {why or 'it lives in this process'}")
