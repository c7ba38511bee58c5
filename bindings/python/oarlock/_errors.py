"""The exceptions, one class for what a caller may want to tell apart."""

from __future__ import annotations

import builtins
from typing import Any, ClassVar, NamedTuple, Optional

from ._status import (
    CLASS_APPLIED,
    CLASS_BITS,
    CLASS_FATAL,
    CLASS_MAYBE_COMMITTED,
    CLASS_RETRYABLE,
    Status,
)


class Failure(NamedTuple):
    """A failure as the library tells it."""

    status: int
    cause: int
    class_bits: int
    text: str
    leader: int = 0
    leader_address: str = ""
    system_error: int = 0


def _named(number: int) -> int:
    """The number, with a name if this version knows one: a newer library may have more."""
    try:
        return Status(number)
    except ValueError:
        return number


class Error(Exception):
    """What the library could not do.

    Look at ``maybe_committed`` first: where it is true, a command may have been applied or may yet be, and proposing it
    again outside of a session may apply it twice. Where neither it nor ``applied`` is true, this attempt's command was not
    applied and never will be.
    """

    status: ClassVar[int] = Status.ERR_INTERNAL

    code: int
    """The status, an oarlock.Status."""
    cause: int
    """Why an outcome is not known, or why a wait ended; else the same as code."""
    class_bits: int
    leader: int
    """The id of the server that leads, if this one does not and knows; else 0."""
    leader_address: str
    """Where clients reach it, or empty."""
    system_error: int
    """The errno behind it, or 0."""

    def __init__(self, text: str = "", failure: Optional[Failure] = None) -> None:
        if failure is None:
            failure = Failure(self.status, self.status, CLASS_BITS.get(Status(self.status), 0), text)
        super().__init__(text)
        self.code = _named(failure.status)
        self.cause = _named(failure.cause)
        self.class_bits = failure.class_bits
        self.leader = failure.leader
        self.leader_address = failure.leader_address
        self.system_error = failure.system_error

    @property
    def name(self) -> str:
        """The status' name, as in the C header."""
        return f"OAR_{self.code.name}" if isinstance(self.code, Status) else f"status {self.code}"

    @property
    def retryable(self) -> bool:
        """The same call may succeed after a while, or at another server."""
        return bool(self.class_bits & CLASS_RETRYABLE)

    @property
    def maybe_committed(self) -> bool:
        """The command may have been applied, or may yet be."""
        return bool(self.class_bits & CLASS_MAYBE_COMMITTED)

    @property
    def applied(self) -> bool:
        """The command was applied all the same."""
        return bool(self.class_bits & CLASS_APPLIED)

    @property
    def fatal(self) -> bool:
        """This server will not serve again as it is; read the text."""
        return bool(self.class_bits & CLASS_FATAL)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args and self.args[0] else self.name

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[Error], args: tuple[Any, ...], state: dict[str, Any]) -> Error:
    error = kind(*args)
    error.__dict__.update(state)
    return error


class UsageError(Error, ValueError):
    """A call that cannot be: an argument, or a point in time, that makes no sense."""

    status = Status.ERR_ARGUMENT


class WouldDeadlock(UsageError):
    """A state machine called something that would wait for the state machine, or a future's callback waited for a future."""

    status = Status.ERR_WOULD_DEADLOCK


class ConfigError(Error, ValueError):
    """A configuration that cannot work."""

    status = Status.ERR_CONFIG


class ForkedError(Error):
    """The library does not work in a forked child: start it anew there, with the start method "spawn" for instance."""

    status = Status.ERR_FORKED


class AbiError(Error):
    """liboarlock was not found, or is one that this package cannot speak to."""

    status = Status.ERR_ABI


class OutOfMemory(Error, MemoryError):
    """Out of memory; nothing was begun."""

    status = Status.ERR_NO_MEMORY


class TooLarge(Error):
    """Larger than the limits allow."""

    status = Status.ERR_TOO_LARGE


class ResultTooLarge(TooLarge):
    """The command was applied, but its result is longer than the limit and was dropped."""

    status = Status.ERR_RESULT_TOO_LARGE


class AnswerTooLarge(TooLarge):
    """A query's answer is longer than the limit."""

    status = Status.ERR_ANSWER_TOO_LARGE


class Unsupported(Error):
    """Not in this version."""

    status = Status.ERR_UNSUPPORTED


class NotFound(Error):
    """There is no such file or member."""

    status = Status.ERR_NOT_FOUND


class Exists(Error):
    """There is such a file already."""

    status = Status.ERR_EXISTS


class TimeoutError(Error, builtins.TimeoutError):
    """The time that was given is over. Of a proposal it is an UnknownOutcome or a NotSent as well."""

    status = Status.ERR_TIMEOUT


class Pending(TimeoutError):
    """The time is over, but what was begun goes on."""

    status = Status.ERR_PENDING


class UnknownOutcome(Error):
    """The command may have been applied, or may yet be; of an order: it may have been carried out. ``cause`` says why nobody knows."""

    status = Status.ERR_UNKNOWN


class ProposalTimeout(UnknownOutcome, TimeoutError):
    """The time is over and the command was under way: it may have been applied, or may yet be."""

    status = Status.ERR_UNKNOWN


class NotSent(Error):
    """Ended before anything was sent."""

    status = Status.ERR_NOT_SENT


class NotSentTimeout(NotSent, TimeoutError):
    """The time was over before anything was sent."""

    status = Status.ERR_NOT_SENT


class Busy(Error):
    """A queue is full: less at once, or later. Of a change of the membership: it cannot begin yet, just after an election for instance;
    the text says what it waits for, which passes by itself."""

    status = Status.ERR_BUSY


class Closed(Error):
    """It was closed."""

    status = Status.ERR_CLOSED


class Cancelled(Error):
    """Given up by the caller."""

    status = Status.ERR_CANCELLED


class Interrupted(Error):
    """A signal came while waiting."""

    status = Status.ERR_INTERRUPTED


class NotLeader(Error):
    """Another server leads: ``leader`` and ``leader_address`` say which, if this one knows."""

    status = Status.ERR_NOT_LEADER


class NoLeader(Error):
    """No server leads at the moment."""

    status = Status.ERR_NO_LEADER


class NotReady(Error):
    """The replica is not ready to answer yet."""

    status = Status.ERR_NOT_READY


class NoGroup(Error):
    """There is no such group on this server."""

    status = Status.ERR_NO_GROUP


class SessionError(Error):
    """There is no such session, or the sequence is none that it can take."""

    status = Status.ERR_SESSION_EXPIRED


class Incompatible(Error):
    """The other side is of another cluster, or speaks another version."""

    status = Status.ERR_VERSION


class Refused(Error):
    """The other servers refuse this one: it is a stranger, was removed, or lost data."""

    status = Status.ERR_REFUSED


class Behind(Error):
    """This server has not applied in time what the answer has to reflect. Another one may have."""

    status = Status.ERR_BEHIND


class ChangeError(Error):
    """A change of the membership that was not made. One class below says why."""

    status = Status.ERR_CHANGE_IMPOSSIBLE


class ChangeImpossible(ChangeError):
    """It makes no sense for the membership that there is."""

    status = Status.ERR_CHANGE_IMPOSSIBLE


class ChangeOpen(ChangeError):
    """Another one is under way: wait for it, or cancel it."""

    status = Status.ERR_CHANGE_OPEN


class ChangeMoved(ChangeError):
    """The membership is not the one that it was to start from: look at the members again."""

    status = Status.ERR_CHANGE_MOVED


class ChangeUnsafe(ChangeError):
    """The group could stand still after it. Start the servers that are missing, or force it."""

    status = Status.ERR_CHANGE_UNSAFE


class ChangeGivenUp(ChangeError):
    """A newcomer did not catch up, or somebody cancelled it: the membership is as it was before."""

    status = Status.ERR_CHANGE_GIVEN_UP


class TransferError(Error):
    """Leadership was not handed over. One class below says why."""

    status = Status.ERR_TRANSFER_FAILED


class TransferTarget(TransferError):
    """The chosen server cannot lead now, or no other one can; nothing was begun."""

    status = Status.ERR_TRANSFER_TARGET


class TransferOpen(TransferError):
    """Leadership is being handed over to another server already; nothing was begun."""

    status = Status.ERR_TRANSFER_OPEN


class TransferFailed(TransferError):
    """The other server did not take over in time; the leader leads on."""

    status = Status.ERR_TRANSFER_FAILED


class AddressError(Error):
    """An address cannot be listened on."""

    status = Status.ERR_ADDRESS


class IOFailure(Error):
    """The operating system refused a file or a connection; ``system_error`` is its errno."""

    status = Status.ERR_IO


class StorageError(Error):
    """The store failed."""

    status = Status.ERR_STORAGE


class NotFormatted(StorageError):
    """The data directory holds no store: format it first."""

    status = Status.ERR_NOT_FORMATTED


class AlreadyFormatted(StorageError):
    """The data directory holds a store already."""

    status = Status.ERR_FORMATTED


class InUse(StorageError):
    """Another process has the store open."""

    status = Status.ERR_IN_USE


class Damaged(StorageError):
    """The store is damaged."""

    status = Status.ERR_DAMAGED


class Fenced(Error):
    """The replica has stopped itself for good; the text says why."""

    status = Status.ERR_FENCED


class StateMachineError(Fenced):
    """The state machine failed, and its replica stopped; the text has the traceback."""

    status = Status.ERR_STATE_MACHINE


class QueryError(Error):
    """The state machine answered the query with an error. A query may raise it, to answer with just its text."""

    status = Status.ERR_QUERY


class SnapshotError(Error):
    """The state machine did not give its snapshot; the replica goes on without it. The text has the traceback."""

    status = Status.ERR_SNAPSHOT


class InternalError(Error):
    """A fault of the library; please report it with its text."""

    status = Status.ERR_INTERNAL


BY_STATUS: dict[int, type[Error]] = {
    Status.ERR_HANDLE: UsageError,
    Status.ERR_STRUCT_SIZE: UsageError,
    Status.ERR_FLAGS: UsageError,
    Status.ERR_ORDER: UsageError,
    Status.ERR_MALFORMED: UsageError,
    Status.ERR_SEQUENCE: SessionError,
    Status.ERR_CLUSTER: Incompatible,
    Status.ERR_FORMAT_VERSION: StorageError,
    **{
        kind.status: kind
        for kind in (
            UsageError, WouldDeadlock, ConfigError, ForkedError, AbiError, OutOfMemory, TooLarge, ResultTooLarge, AnswerTooLarge,
            Unsupported, NotFound, Exists, TimeoutError, Pending, UnknownOutcome, NotSent, Busy, Closed, Cancelled, Interrupted,
            NotLeader, NoLeader, NotReady, NoGroup, SessionError, Incompatible, Refused, AddressError, IOFailure, StorageError,
            NotFormatted, AlreadyFormatted, InUse, Damaged, Fenced, StateMachineError, QueryError,
            SnapshotError, InternalError, Behind, ChangeImpossible, ChangeOpen, ChangeMoved, ChangeUnsafe, ChangeGivenUp,
            TransferTarget, TransferOpen, TransferFailed,
        )
    },
}  # fmt: skip

# Where the cause is worth a class of its own.
BY_CAUSE: dict[tuple[int, int], type[Error]] = {
    (Status.ERR_UNKNOWN, Status.ERR_TIMEOUT): ProposalTimeout,
    (Status.ERR_NOT_SENT, Status.ERR_TIMEOUT): NotSentTimeout,
    (Status.ERR_FENCED, Status.ERR_STATE_MACHINE): StateMachineError,
}


def error_of(failure: Failure) -> Error:
    """The exception for a failure of the library."""
    kind = BY_CAUSE.get((failure.status, failure.cause)) or BY_STATUS.get(failure.status, Error)
    return kind(failure.text, failure)
