"""What oarlock.h has for tests, for ctypes."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p, cast
from typing import Any

from ._abi_types import HANDLE_OUT, TEXT_OUT, ClientOptions, H, Sized, members

CLUSTER_PULL = 1
CHECK_SNAPSHOTS_VARY = 1
CHECK_SNAPSHOTS_UNCHECKED = 2


class ClusterOptions(Sized):
    _fields_ = members(
        "struct_size u32, flags u32, servers u32, pull_flags u32, machine pointer, machine_new pointer, "
        "machine_new_user_data pointer, config pointer"
    )


class CheckOptions(Sized):
    _fields_ = members(
        "struct_size u32, flags u32, machine pointer, machine_new pointer, command pointer, query pointer, user_data pointer, "
        "seed u64, commands u32, clusters u32, clusters_from u64"
    )


# ---- Callbacks, on the thread that called ----

FACTORY = CFUNCTYPE(c_int32, c_void_p, c_uint64, POINTER(c_void_p))
GENERATOR = CFUNCTYPE(c_int32, c_void_p, c_uint64, c_void_p)
CALLBACKS: dict[str, Any] = {
    "apply": CFUNCTYPE(c_int32, c_void_p, c_void_p, c_size_t, c_void_p),
    "query": CFUNCTYPE(c_int32, c_void_p, c_void_p, c_size_t, c_void_p),
    "snapshot_prepare": CFUNCTYPE(c_int32, c_void_p, POINTER(c_void_p)),
    "snapshot_write": CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p),
    "snapshot_release": CFUNCTYPE(None, c_void_p, c_void_p),
    "restore": CFUNCTYPE(c_int32, c_void_p, c_void_p),
    "next_due": CFUNCTYPE(c_int, c_void_p, POINTER(c_int64)),
    "expire": CFUNCTYPE(c_int32, c_void_p, c_uint64, c_int64),
    "state_hash": CFUNCTYPE(c_uint64, c_void_p),
    "destroy": CFUNCTYPE(None, c_void_p),
}


class Vtable(Sized):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), *CALLBACKS.items()]


def check(
    function: Any, callbacks: dict[str, Callable[..., Any]], makers: dict[str, Callable[..., Any]], settings: dict[str, int]
) -> tuple[int, Any]:
    """Calls what checks a machine: callbacks are members of oar_state_machine, makers of oar_check_options. Returns its status, and
    where the report is."""
    vtable = Vtable(**{name: CALLBACKS[name](call) for name, call in callbacks.items()})
    functions = {name: (FACTORY if name == "machine_new" else GENERATOR)(call) for name, call in makers.items()}
    options = CheckOptions(
        machine=cast(byref(vtable), c_void_p), **{name: cast(made, c_void_p) for name, made in functions.items()}, **settings
    )
    report = c_void_p()
    status: int = function(byref(options), byref(report))
    return status, report


FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "oar_cluster_new": (c_int32, (POINTER(ClusterOptions), HANDLE_OUT)),
    "oar_cluster_start": (c_int32, (H, c_uint64)),
    "oar_cluster_server": (c_int32, (H, c_uint64, HANDLE_OUT)),
    "oar_cluster_leader": (c_int32, (H, c_int64, POINTER(c_uint64))),
    "oar_cluster_settle": (c_int32, (H, c_int64)),
    "oar_cluster_client": (c_int32, (H, POINTER(ClientOptions), HANDLE_OUT)),
    "oar_cluster_stop": (c_int32, (H, c_uint64)),
    "oar_cluster_crash": (c_int32, (H, c_uint64)),
    "oar_cluster_split": (c_int32, (H, POINTER(c_uint64), c_size_t)),
    "oar_cluster_cut": (c_int32, (H, c_uint64, c_uint64)),
    "oar_cluster_heal": (c_int32, (H,)),
    "oar_cluster_free": (c_int32, (H,)),
    "oar_fail": (c_int32, (c_char_p,)),
    "oar_results_add": (c_int32, (c_void_p, c_void_p, c_size_t)),
    "oar_buf_append": (c_int32, (c_void_p, c_void_p, c_size_t)),
    "oar_state_machine_check": (c_int32, (POINTER(CheckOptions), TEXT_OUT)),
    "oar_sim_run": (c_int32, (POINTER(CheckOptions), TEXT_OUT)),
}


def number() -> Any:
    """Where the library puts a number."""
    return c_uint64()


def numbers(of: list[int]) -> Any:
    """An array of numbers."""
    return (c_uint64 * len(of))(*of)
