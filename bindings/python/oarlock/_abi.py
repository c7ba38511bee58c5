"""oarlock.h for ctypes: every struct and prototype, and the few ways in which they are called. Nothing but this and the
other files whose names begin so imports ctypes."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_size_t, c_uint16, c_uint32, c_uint64, c_void_p, sizeof
from ctypes import byref as byref
from ctypes import string_at as string_at
from typing import Any, Optional

from . import _abi_orders, _abi_testing
from ._abi_types import BYTES_OUT, HANDLE_OUT, LENGTH_OUT, TEXT_OUT, H, Sized, members
from ._abi_types import ClientOptions as ClientOptions
from ._abi_types import text as text
from ._abi_types import whole as whole
from ._errors import AbiError, Error, Failure, error_of
from ._status import Status

ABI_MAJOR = 1
ABI_MINOR = 1
FOREVER = -1
SERVER_PULL = 1
CLIENT_SESSIONLESS = 1
CLIENT_READ_ANY = 2

GROUP_CHANGING = 1
GROUP_REMOVED = 2
GROUP_TRANSFERRING = 4
GROUP_LEASE = 8
GROUP_STORAGE_HUNG = 16

WORK_APPLY = 1
WORK_QUERY = 2
WORK_SNAPSHOT_PREPARE = 4
WORK_SNAPSHOT_WRITE = 8
WORK_SNAPSHOT_RELEASE = 16
WORK_RESTORE = 32
WORK_STATE_HASH = 64
WORK_NEXT_DUE = 128
WORK_EXPIRE = 256
WORK_ALL = 511
WORK_CLOSED = 0x80000000

PULL_NO_SNAPSHOTS = 2
PULL_STATE_HASH = 4
PULL_SCHEDULED = 8

# ---- Structs ----


class ErrorDetail(Sized):
    _fields_ = members(
        "struct_size u32, status i32, cause i32, class_bits u32, leader u64, leader_address text, system_error i32, "
        "reserved u32"
    )


class RuntimeOptions(Sized):
    _fields_ = members("struct_size u32, gc_percent i32, memory_bytes_soft i64, processors i32, flags u32")


class Counts(Sized):
    _fields_ = members(
        "struct_size u32, goroutines u32, configs u32, servers u32, clients u32, calls u32, queues u32, events u32, "
        "bytes u64, clusters u32, reserved u32"
    )


class EntryStruct(ctypes.Structure):
    _fields_ = members("index u64, term u64, time i64, command pointer, command_len size, reserved u64")


ENTRY = struct.Struct("=QQqQQQ")  # the same, for iter_unpack: an array of entries is read far faster so


class ServerOptions(Sized):
    _fields_ = members(
        "struct_size u32, flags u32, machine pointer, machine_user_data pointer, pull_flags u32, reserved u32, "
        "log pointer, log_user_data pointer, log_destroy pointer, log_levels text"
    )


class GroupInfoStruct(Sized):
    _fields_ = members(
        "struct_size u32, role u32, group u64, term u64, leader u64, commit_index u64, applied_index u64, "
        "last_index u64, snapshot_index u64, sessions u64, commands u64, fenced u32, voters u32, learners u32, "
        "refused u32, membership_index u64, successor u64, flags u32, priority u32"
    )


class ProposeOptions(Sized):
    _fields_ = members("struct_size u32, flags u32, group u64, session u64, sequence u64, floor u64, timeout i64")


class QueryOptions(Sized):
    _fields_ = members("struct_size u32, flags u32, group u64, consistency u32, reserved u32, timeout i64, max_age i64, min_index u64")


class CompletionStruct(Sized):
    _fields_ = members(
        "struct_size u32, status i32, cause i32, reserved u32, tag u64, result pointer, result_len size, text text, "
        "leader u64, leader_address text, system_error i32, class_bits u32, index u64"
    )


COMPLETION = struct.Struct("=IiiIQQQQQQiIQ")


class Work(Sized):
    _fields_ = members(
        "struct_size u32, kind u32, id u64, group u64, entries pointer, entry_count size, data pointer, "
        "data_len size, snapshot u64, writer pointer, reader pointer, index u64, time i64"
    )


class EventStruct(Sized):
    _fields_ = members(
        "struct_size u32, kind u32, group u64, term u64, index u64, server u64, role u32, reserved u32, dropped u64, "
        "elapsed i64, text text, component text, level i32, reserved2 u32"
    )


class EventsOptions(Sized):
    _fields_ = members("struct_size u32, flags u32, room u32, reserved u32, log_levels text")


# ---- Functions: name, what it returns, what it takes ----

ANSWER = (BYTES_OUT, LENGTH_OUT)
DATA = (c_void_p, c_size_t)
PROPOSAL = (H, POINTER(ProposeOptions), *DATA)
QUESTION = (H, POINTER(QueryOptions), *DATA)

FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "oar_version": (c_char_p, ()),
    "oar_check_abi": (c_int32, (c_uint32, c_uint32)),
    "oar_status_name": (c_char_p, (c_int32,)),
    "oar_status_text": (c_char_p, (c_int32,)),
    "oar_status_class": (c_uint32, (c_int32,)),
    "oar_last_error": (c_char_p, ()),
    "oar_last_error_detail": (c_int32, (POINTER(ErrorDetail),)),
    "oar_free": (None, (c_void_p,)),
    "oar_runtime_configure": (c_int32, (POINTER(RuntimeOptions),)),
    "oar_debug_counts": (c_int32, (POINTER(Counts),)),
    "oar_shutdown": (c_int32, (c_int64,)),
    "oar_config_new": (c_int32, (HANDLE_OUT,)),
    "oar_config_load_file": (c_int32, (c_char_p, HANDLE_OUT)),
    "oar_config_parse": (c_int32, (c_char_p, c_size_t, c_char_p, HANDLE_OUT)),
    "oar_config_generate": (c_int32, (c_uint32, c_char_p, c_uint16, HANDLE_OUT)),
    "oar_config_set": (c_int32, (H, c_char_p, c_char_p)),
    "oar_config_value": (c_int32, (H, c_char_p, TEXT_OUT)),
    "oar_config_validate": (c_int32, (H,)),
    "oar_config_members": (c_int32, (H, POINTER(c_uint64), c_size_t, LENGTH_OUT)),
    "oar_config_dump": (c_int32, (H, TEXT_OUT)),
    "oar_config_write_file": (c_int32, (H, c_char_p)),
    "oar_config_free": (c_int32, (H,)),
    "oar_writer_write": (c_int32, (c_void_p, *DATA)),
    "oar_reader_read": (c_int32, (c_void_p, *DATA, LENGTH_OUT)),
    "oar_server_format": (c_int32, (H, c_uint64)),
    "oar_server_format_joining": (c_int32, (H, c_uint64)),
    "oar_server_open": (c_int32, (H, c_uint64, POINTER(ServerOptions), HANDLE_OUT)),
    "oar_server_start": (c_int32, (H,)),
    "oar_server_wait_ready": (c_int32, (H, c_int64)),
    "oar_server_wait_stopped": (c_int32, (H, c_int64)),
    "oar_server_close": (c_int32, (H,)),
    "oar_server_free": (c_int32, (H,)),
    "oar_server_group_info": (c_int32, (H, c_uint64, POINTER(GroupInfoStruct))),
    "oar_server_status_json": (c_int32, (H, TEXT_OUT)),
    "oar_server_snapshot": (c_int32, (H, c_uint64, c_int64)),
    "oar_propose": (c_int32, (*PROPOSAL, c_int64, *ANSWER)),
    "oar_query": (c_int32, (*QUESTION, c_int64, *ANSWER)),
    "oar_barrier_at": (c_int32, (H, POINTER(QueryOptions), c_int64)),
    "oar_session_open": (c_int32, (H, c_uint64, c_int64, POINTER(c_uint64))),
    "oar_session_keep": (c_int32, (H, c_uint64, c_uint64, c_int64)),
    "oar_session_close": (c_int32, (H, c_uint64, c_uint64, c_int64)),
    "oar_propose_queued": (c_int32, (*PROPOSAL, H, c_uint64)),
    "oar_query_queued": (c_int32, (*QUESTION, H, c_uint64)),
    "oar_propose_start": (c_int32, (*PROPOSAL, HANDLE_OUT)),
    "oar_query_start": (c_int32, (*QUESTION, HANDLE_OUT)),
    "oar_call_wait": (c_int32, (H, c_int64, *ANSWER)),
    "oar_call_cancel": (c_int32, (H,)),
    "oar_call_free": (c_int32, (H,)),
    "oar_queue_new": (c_int32, (HANDLE_OUT,)),
    "oar_queue_next": (c_int32, (H, c_int64, POINTER(CompletionStruct), c_size_t, c_size_t, LENGTH_OUT)),
    "oar_queue_close": (c_int32, (H,)),
    "oar_queue_free": (c_int32, (H,)),
    "oar_work_next": (c_int32, (H, c_uint32, c_int64, POINTER(Work))),
    "oar_work_done": (c_int32, (H, c_uint64, c_int32, *DATA)),
    "oar_work_abandon": (c_int32, (H,)),
    "oar_client_open": (c_int32, (H, POINTER(ClientOptions), HANDLE_OUT)),
    "oar_client_propose": (c_int32, (*PROPOSAL, c_int64, *ANSWER)),
    "oar_client_query": (c_int32, (*QUESTION, c_int64, *ANSWER)),
    "oar_client_barrier": (c_int32, (H, c_int64)),
    "oar_client_propose_queued": (c_int32, (*PROPOSAL, H, c_uint64)),
    "oar_client_query_queued": (c_int32, (*QUESTION, H, c_uint64)),
    "oar_client_propose_start": (c_int32, (*PROPOSAL, HANDLE_OUT)),
    "oar_client_query_start": (c_int32, (*QUESTION, HANDLE_OUT)),
    "oar_client_seen": (c_int32, (H, POINTER(c_uint64))),
    "oar_client_status_json": (c_int32, (H, c_int64, TEXT_OUT)),
    "oar_client_close": (c_int32, (H,)),
    "oar_client_free": (c_int32, (H,)),
    "oar_events_open": (c_int32, (H, POINTER(EventsOptions), HANDLE_OUT)),
    "oar_events_next": (c_int32, (H, c_int64, POINTER(EventStruct))),
    "oar_events_free": (c_int32, (H,)),
    **_abi_orders.FUNCTIONS,
    **_abi_testing.FUNCTIONS,
}

# These never wait, so they keep the interpreter's lock: giving it up in a busy process costs far more than the call.
QUICK = frozenset({
    "oar_last_error", "oar_last_error_detail", "oar_free", "oar_propose_queued", "oar_query_queued", "oar_client_propose_queued",
    "oar_client_query_queued", "oar_propose_start", "oar_query_start", "oar_work_done", "oar_fail",
    "oar_results_add", "oar_buf_append", "oar_client_seen", *_abi_orders.QUICK,
})  # fmt: skip

# ---- Loading ----


class Library:
    """The functions, by their names without `oar_`."""

    def __init__(self, path: str) -> None:
        try:
            waiting, quick = ctypes.CDLL(path), ctypes.PyDLL(path)
        except OSError as error:
            raise AbiError(f"{path} cannot be loaded: {error}") from error
        for name, (result, arguments) in FUNCTIONS.items():
            try:
                function = getattr(quick if name in QUICK else waiting, name)
            except AttributeError:
                raise AbiError(f"{path} has no {name}: it is older than this package, or no liboarlock") from None
            function.restype, function.argtypes = result, arguments
            setattr(self, name[4:], function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


_library: Optional[Library] = None


def places() -> Iterator[str]:
    """Where the library may be, in order."""
    named = os.environ.get("OARLOCK_LIBRARY")
    if named:
        yield named  # who names one wants that one
        return
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "liboarlock.so.1")
    if os.path.exists(beside):
        yield beside
    yield "liboarlock.so.1"


def loaded() -> bool:
    """Whether the library was loaded."""
    return _library is not None


def library() -> Library:
    """The library, loaded at first use."""
    global _library
    if _library is None:
        failures = []
        for place in places():
            try:
                loaded = Library(place)
            except AbiError as error:
                failures.append(str(error))
                continue
            check(loaded.check_abi(ABI_MAJOR, ABI_MINOR), loaded)
            _library = loaded
            return loaded
        raise AbiError(
            "; ".join(failures) + ". Set OARLOCK_LIBRARY to a liboarlock.so.1, or pip install ./bindings/python, which builds one"
        )
    return _library


# ---- Calling ----


def _text(raw: Optional[bytes]) -> str:
    return (raw or b"").decode("utf-8", "replace")


def last_failure(status: int, lib: Library) -> Error:
    """The exception for the failure that was the last on this thread."""
    text, detail = _text(lib.last_error()), ErrorDetail()
    if lib.last_error_detail(byref(detail)) != Status.OK or detail.status != status:
        return error_of(Failure(status, status, lib.status_class(status), text or _text(lib.status_text(status))))
    address = _text(detail.leader_address)
    return error_of(Failure(status, detail.cause, detail.class_bits, text, detail.leader, address, detail.system_error))


def check(status: int, lib: Optional[Library] = None) -> None:
    """Raises what a status says, but for OAR_OK."""
    if status != Status.OK:
        raise last_failure(status, lib or library())


def handle_from(function: Any, *arguments: Any) -> int:
    """Calls what makes a handle."""
    handle = c_void_p()
    check(function(*arguments, byref(handle)))
    return handle.value or 0


def bytes_from(function: Any, *arguments: Any) -> bytes:
    """Calls what hands out bytes."""
    at, length = c_void_p(), c_size_t()
    check(function(*arguments, byref(at), byref(length)))
    return taken(at, length.value)


def text_from(function: Any, *arguments: Any) -> str:
    """Calls what hands out a text."""
    at = c_void_p()
    check(function(*arguments, byref(at)))
    return text_at(at)


def text_at(at: Any) -> str:
    """A text that the library handed out, which is released."""
    try:
        return _text(string_at(at.value)) if at.value else ""
    finally:
        library().free(at)


def number_from(function: Any, *arguments: Any) -> int:
    """Calls what hands out a 64-bit number."""
    number = c_uint64()
    check(function(*arguments, byref(number)))
    return number.value


def taken(at: Any, length: int) -> bytes:
    """Bytes that the library handed out, which are released."""
    if not at.value:
        return b""
    result = string_at(at.value, length)
    library().free(at)
    return result


def wait_call(call: int, timeout: int) -> Optional[bytes]:
    """Waits for the answer of a call; None: there is none yet."""
    at, length, lib = c_void_p(), c_size_t(), library()
    status = lib.call_wait(call, timeout, byref(at), byref(length))
    if status == Status.ERR_PENDING:
        return None
    check(status, lib)
    return taken(at, length.value)


def member_ids(config: int) -> list[int]:
    """The ids of a configuration's members."""
    count = c_size_t()
    check(library().config_members(config, None, 0, byref(count)))
    ids = (c_uint64 * count.value)()
    check(library().config_members(config, ids, count.value, byref(count)))
    return list(ids[: count.value])


def read_into(reader: int, buffer: memoryview) -> int:
    """Reads the next piece of a snapshot; 0 at its end."""
    got = c_size_t()
    into = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    check(library().reader_read(reader, byref(into), len(buffer), byref(got)))
    return got.value


class Completions:
    """Room for what a queue hands out at once."""

    MOST = 256

    def __init__(self, queue: int) -> None:
        self._queue, self._room, self._count = queue, (CompletionStruct * self.MOST)(), c_size_t()

    def next(self) -> Iterator[tuple[Any, ...]]:
        """Waits for completions: tuples in the order of the struct. They are to be read before the next call."""
        size = sizeof(CompletionStruct)
        status = library().queue_next(self._queue, FOREVER, self._room, size, self.MOST, byref(self._count))
        check(status)
        return COMPLETION.iter_unpack(string_at(self._room, self._count.value * size))
