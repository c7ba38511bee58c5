"""The numbers of oarlock.h that mean something: statuses with their class bits, events, roles, log levels."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """Every status, as ``Error.code`` and ``Error.cause`` have them."""

    OK = 0
    ERR_ARGUMENT = 1
    ERR_HANDLE = 2
    ERR_STRUCT_SIZE = 3
    ERR_FLAGS = 4
    ERR_CONFIG = 5
    ERR_ORDER = 6
    ERR_WOULD_DEADLOCK = 7
    ERR_FORKED = 8
    ERR_ABI = 9
    ERR_NO_MEMORY = 10
    ERR_TOO_LARGE = 11
    ERR_MALFORMED = 12
    ERR_UNSUPPORTED = 13
    ERR_NOT_FOUND = 14
    ERR_EXISTS = 15
    ERR_TIMEOUT = 100
    ERR_UNKNOWN = 101
    ERR_NOT_SENT = 102
    ERR_BUSY = 103
    ERR_CLOSED = 104
    ERR_INTERRUPTED = 105
    ERR_PENDING = 106
    ERR_CANCELLED = 107
    ERR_NOT_LEADER = 200
    ERR_NO_LEADER = 201
    ERR_NOT_READY = 202
    ERR_NO_GROUP = 203
    ERR_SESSION_EXPIRED = 204
    ERR_SEQUENCE = 205
    ERR_CLUSTER = 206
    ERR_VERSION = 207
    ERR_REFUSED = 208
    ERR_ADDRESS = 209
    ERR_BEHIND = 210
    ERR_CHANGE_IMPOSSIBLE = 211
    ERR_CHANGE_OPEN = 212
    ERR_CHANGE_MOVED = 213
    ERR_CHANGE_UNSAFE = 214
    ERR_CHANGE_GIVEN_UP = 215
    ERR_TRANSFER_TARGET = 216
    ERR_TRANSFER_OPEN = 217
    ERR_TRANSFER_FAILED = 218
    ERR_STORAGE = 300
    ERR_NOT_FORMATTED = 301
    ERR_FORMATTED = 302
    ERR_IN_USE = 303
    ERR_DAMAGED = 304
    ERR_FORMAT_VERSION = 305
    ERR_IO = 306
    ERR_STATE_MACHINE = 400
    ERR_FENCED = 401
    ERR_RESULT_TOO_LARGE = 402
    ERR_QUERY = 403
    ERR_ANSWER_TOO_LARGE = 404
    ERR_SNAPSHOT = 405
    ERR_CHECK_FAILED = 406
    ERR_INTERNAL = 500


CLASS_RETRYABLE = 1
CLASS_MAYBE_COMMITTED = 2
CLASS_REDIRECT = 4
CLASS_FATAL = 8
CLASS_APPLIED = 16

# Statuses with bits of their own; all others have none.
CLASS_BITS = {
    Status.ERR_FORKED: CLASS_FATAL,
    Status.ERR_NO_MEMORY: CLASS_RETRYABLE,
    Status.ERR_TIMEOUT: CLASS_RETRYABLE,
    Status.ERR_UNKNOWN: CLASS_MAYBE_COMMITTED,
    Status.ERR_NOT_SENT: CLASS_RETRYABLE,
    Status.ERR_BUSY: CLASS_RETRYABLE,
    Status.ERR_INTERRUPTED: CLASS_RETRYABLE,
    Status.ERR_PENDING: CLASS_MAYBE_COMMITTED,
    Status.ERR_NOT_LEADER: CLASS_RETRYABLE | CLASS_REDIRECT,
    Status.ERR_NO_LEADER: CLASS_RETRYABLE,
    Status.ERR_NOT_READY: CLASS_RETRYABLE,
    Status.ERR_REFUSED: CLASS_FATAL,
    Status.ERR_ADDRESS: CLASS_RETRYABLE,
    Status.ERR_BEHIND: CLASS_RETRYABLE | CLASS_REDIRECT,
    Status.ERR_CHANGE_OPEN: CLASS_RETRYABLE,
    Status.ERR_CHANGE_UNSAFE: CLASS_RETRYABLE,
    Status.ERR_CHANGE_GIVEN_UP: CLASS_RETRYABLE,
    Status.ERR_TRANSFER_TARGET: CLASS_RETRYABLE,
    Status.ERR_TRANSFER_OPEN: CLASS_RETRYABLE,
    Status.ERR_TRANSFER_FAILED: CLASS_RETRYABLE,
    Status.ERR_STORAGE: CLASS_FATAL,
    Status.ERR_IN_USE: CLASS_RETRYABLE,
    Status.ERR_DAMAGED: CLASS_FATAL,
    Status.ERR_IO: CLASS_RETRYABLE,
    Status.ERR_STATE_MACHINE: CLASS_FATAL,
    Status.ERR_FENCED: CLASS_FATAL,
    Status.ERR_RESULT_TOO_LARGE: CLASS_APPLIED,
    Status.ERR_SNAPSHOT: CLASS_RETRYABLE,
    Status.ERR_INTERNAL: CLASS_MAYBE_COMMITTED,
}


class EventKind(enum.IntEnum):
    """What an ``Event`` is about."""

    LOG = 1
    ROLE = 2
    LEADER = 3
    MEMBERSHIP = 4
    SNAPSHOT = 5
    SNAPSHOT_FETCH = 6
    INSTALLED = 7
    COMPACTED = 8
    DROPPED_MESSAGE = 9
    TROUBLE = 10
    FENCED = 11
    DROPPED_EVENTS = 12
    SLOW_APPLY = 13
    CHANGE_ENDED = 14
    CHANGE_GIVEN_UP = 15
    TRANSFER_ENDED = 16
    REMOVED = 17


class Role(enum.IntEnum):
    """What a server is in its group."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class Level(enum.IntEnum):
    """The levels of ``Consistency``, which says what they mean."""

    LINEARIZABLE = 0
    STALE = 1
    LEASE = 2
    BOUNDED = 3


class ReadFrom(enum.Enum):
    """Which servers answer a client's queries."""

    LEADER = "leader"
    ANY = "any"
    """One server for many queries, and another one when that fails."""
