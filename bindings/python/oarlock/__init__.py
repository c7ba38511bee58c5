"""A replicated log that applications plug into: write a StateMachine, and a Server keeps every copy of it in step."""

import logging

from ._calls import CallFuture, OrderFuture
from ._client import Client
from ._config import Config, format, format_joining
from ._consistency import Consistency
from ._debug import Counts, debug_counts, runtime_configure, version
from ._errors import (
    AbiError,
    AddressError,
    AlreadyFormatted,
    AnswerTooLarge,
    Behind,
    Busy,
    Cancelled,
    ChangeError,
    ChangeGivenUp,
    ChangeImpossible,
    ChangeMoved,
    ChangeOpen,
    ChangeUnsafe,
    Closed,
    ConfigError,
    Damaged,
    Error,
    Exists,
    Fenced,
    ForkedError,
    Incompatible,
    InternalError,
    Interrupted,
    InUse,
    IOFailure,
    NoGroup,
    NoLeader,
    NotFormatted,
    NotFound,
    NotLeader,
    NotReady,
    NotSent,
    NotSentTimeout,
    OutOfMemory,
    Pending,
    ProposalTimeout,
    QueryError,
    Refused,
    ResultTooLarge,
    SessionError,
    SnapshotError,
    StateMachineError,
    StorageError,
    TimeoutError,
    TooLarge,
    TransferError,
    TransferFailed,
    TransferOpen,
    TransferTarget,
    UnknownOutcome,
    Unsupported,
    UsageError,
    WouldDeadlock,
)
from ._events import Event, Events
from ._machine import CommandError, Entry, StateMachine
from ._members import Change, ChangeKind, Member, Membership, MembershipPlan, PlanMember
from ._server import GroupInfo, Server
from ._session import Session
from ._status import EventKind, Level, ReadFrom, Role, Status
from ._version import VERSION as __version__

# A library prints nothing: without a handler of the program's own, what servers log goes nowhere.
logging.getLogger("oarlock").addHandler(logging.NullHandler())

__all__ = [
    "AbiError", "AddressError", "AlreadyFormatted", "AnswerTooLarge", "Behind", "Busy", "CallFuture", "Cancelled", "Change",
    "ChangeError", "ChangeGivenUp", "ChangeImpossible", "ChangeKind", "ChangeMoved", "ChangeOpen", "ChangeUnsafe", "Client",
    "Closed", "CommandError", "Config", "ConfigError", "Consistency", "Counts", "Damaged", "Entry", "Error", "Event",
    "EventKind", "Events", "Exists", "Fenced", "ForkedError", "GroupInfo", "IOFailure", "InUse", "Incompatible",
    "InternalError", "Interrupted", "Level", "Member", "Membership", "MembershipPlan", "NoGroup", "NoLeader", "NotFormatted",
    "NotFound", "NotLeader", "NotReady", "NotSent", "NotSentTimeout", "OrderFuture", "OutOfMemory", "Pending", "PlanMember",
    "ProposalTimeout", "QueryError", "ReadFrom", "Refused", "ResultTooLarge", "Role", "Server", "Session", "SessionError",
    "SnapshotError", "StateMachine", "StateMachineError", "Status", "StorageError", "TimeoutError", "TooLarge", "TransferError",
    "TransferFailed", "TransferOpen", "TransferTarget", "UnknownOutcome", "Unsupported", "UsageError", "WouldDeadlock",
    "__version__", "debug_counts", "format", "format_joining", "runtime_configure", "version",
]  # fmt: skip
