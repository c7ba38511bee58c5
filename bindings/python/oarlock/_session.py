"""Sessions: in one, a command that is tried again is executed once."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Optional

from ._errors import Error, ResultTooLarge, TimeoutError, UnknownOutcome
from ._lifecycle import not_to_be_pickled
from ._waiting import BytesLike, nanoseconds

if TYPE_CHECKING:
    from ._server import Server

PAUSE_SECONDS = 0.01


class Session:
    """A session at a server. Its proposals are made one after another, each tried again until its time is over, and executed
    once. Where another server leads NotLeader is raised: a Client is what follows the leader."""

    def __init__(self, server: Server, timeout: Optional[float]) -> None:
        self._server = server
        self._sequence = 0
        self._turn = threading.Lock()
        self.id = server.open_session(timeout)

    def propose(self, command: BytesLike, timeout: Optional[float] = None) -> bytes:
        """Has a command executed exactly once, and returns its result."""
        nanoseconds(timeout)  # UsageError for what is no time
        with self._turn:
            self._sequence += 1
            end = None if timeout is None else time.monotonic() + timeout
            unknown: Optional[Error] = None
            while True:
                left = None if end is None else max(0.0, end - time.monotonic())
                try:
                    return self._server.propose(
                        command, left, session=self.id, sequence=self._sequence, floor=self._sequence
                    )
                except ResultTooLarge:
                    raise
                except Error as error:
                    if error.maybe_committed:
                        unknown = error
                    over = isinstance(error, TimeoutError) or (end is not None and time.monotonic() >= end)
                    if over or not (error.retryable or error.maybe_committed) or error.leader:
                        # No later attempt's refusal takes back that an earlier one may have been committed.
                        raise error if unknown is None or error.maybe_committed else _still_unknown(unknown) from error
                time.sleep(PAUSE_SECONDS)

    def keep(self, timeout: Optional[float] = None) -> None:
        """Keeps the session from expiring, without a command."""
        self._server.keep_session(self.id, timeout)

    def close(self, timeout: Optional[float] = None) -> None:
        """Ends it."""
        self._server.close_session(self.id, timeout)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.close(timeout=1)
        except Error:
            pass  # it expires by itself

    def __reduce__(self) -> Any:
        raise not_to_be_pickled(self, "its id can, for Server.propose(session=...)")


def _still_unknown(unknown: Error) -> Error:
    return UnknownOutcome(f"{unknown}; and no later attempt could tell")
