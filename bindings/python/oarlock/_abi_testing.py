"""What oarlock.h has for tests, for ctypes."""

from __future__ import annotations

from ctypes import POINTER, c_int32, c_int64, c_size_t, c_uint64
from typing import Any

from ._abi_types import HANDLE_OUT, ClientOptions, H, Sized, members

CLUSTER_PULL = 1


class ClusterOptions(Sized):
    _fields_ = members(
        "struct_size u32, flags u32, servers u32, pull_flags u32, machine pointer, machine_new pointer, "
        "machine_new_user_data pointer, config pointer"
    )


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
}


def number() -> Any:
    """Where the library puts a number."""
    return c_uint64()


def numbers(of: list[int]) -> Any:
    """An array of numbers."""
    return (c_uint64 * len(of))(*of)
