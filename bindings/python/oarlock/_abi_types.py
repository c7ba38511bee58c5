"""What the declarations of oarlock.h for ctypes are made of."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p, sizeof
from typing import Any

TYPES = {
    "u32": c_uint32, "i32": c_int32, "u64": c_uint64, "i64": c_int64, "size": c_size_t, "text": c_char_p, "pointer": c_void_p,
}  # fmt: skip


def members(text: str) -> list[tuple[str, Any]]:
    """A struct's members: "name type", with commas between."""
    return [(name, TYPES[kind]) for name, kind in (member.split() for member in text.split(","))]


class Sized(ctypes.Structure):
    """A struct that begins with its own size."""

    def __init__(self, **members: Any) -> None:
        super().__init__(sizeof(type(self)), **members)


class ClientOptions(Sized):
    _fields_ = members(
        "struct_size u32, flags u32, servers text, group u64, outstanding_max u32, reserved u32, "
        "outstanding_bytes_max u64, response_bytes_max u64, dial_timeout i64, silence_max i64, backoff_min i64, "
        "backoff_max i64, close_timeout i64"
    )


# Handles are numbers that look like addresses. `void **` and `char **` are memory of the library, which a c_char_p would lose.
H, HANDLE_OUT, BYTES_OUT, TEXT_OUT, LENGTH_OUT = c_void_p, POINTER(c_void_p), POINTER(c_void_p), POINTER(c_void_p), POINTER(c_size_t)
