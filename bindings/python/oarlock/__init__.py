"""A replicated log that applications plug into: write a StateMachine, and a Server keeps every copy of it in step."""

import logging

from ._calls import CallFuture
from ._client import Client
from ._config import Config, format
from ._debug import Counts, debug_counts, runtime_configure, version
from ._errors import (
    AbiError,
    AddressError,
    AlreadyFormatted,
    AnswerTooLarge,
    Busy,
    Cancelled,
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
    UnknownOutcome,
    Unsupported,
    UsageError,
    WouldDeadlock,
)
from ._events import Event, Events
from ._machine import CommandError, Entry, StateMachine
from ._server import GroupInfo, Server
from ._session import Session
from ._status import Consistency, EventKind, Role, Status
from ._version import VERSION as __version__

# A library prints nothing: without a handler of the program's own, what servers log goes nowhere.
logging.getLogger("oarlock").addHandler(logging.NullHandler())

__all__ = [
    "AbiError", "AddressError", "AlreadyFormatted", "AnswerTooLarge", "Busy", "CallFuture", "Cancelled", "Client", "Closed",
    "CommandError", "Config", "ConfigError", "Consistency", "Counts", "Damaged", "Entry", "Error", "Event", "EventKind", "Events",
    "Exists", "Fenced", "ForkedError", "GroupInfo", "IOFailure", "InUse", "Incompatible", "InternalError", "Interrupted", "NoGroup",
    "NoLeader", "NotFormatted", "NotFound", "NotLeader", "NotReady", "NotSent", "NotSentTimeout", "OutOfMemory", "Pending",
    "ProposalTimeout", "QueryError", "Refused", "ResultTooLarge", "Role", "Server", "Session", "SessionError", "SnapshotError", "StateMachine",
    "StateMachineError", "Status", "StorageError", "TimeoutError", "TooLarge", "UnknownOutcome", "Unsupported", "UsageError",
    "WouldDeadlock", "__version__", "debug_counts", "format", "runtime_configure", "version",
]  # fmt: skip
