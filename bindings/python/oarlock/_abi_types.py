"""What the declarations of oarlock.h for ctypes are made of."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p, sizeof
from typing import Any, ClassVar

from ._errors import UsageError

TYPES = {
    "u32": c_uint32, "i32": c_int32, "u64": c_uint64, "i64": c_int64, "size": c_size_t, "text": c_char_p, "pointer": c_void_p,
}  # fmt: skip


def members(text: str) -> list[tuple[str, Any]]:
    """A struct's members: "name type", with commas between."""
    return [(name, TYPES[kind]) for name, kind in (member.split() for member in text.split(","))]


RANGES = {c_uint32: (0, 2**32 - 1), c_int32: (-(2**31), 2**31 - 1), c_uint64: (0, 2**64 - 1), c_int64: (-(2**63), 2**63 - 1)}


def whole(value: Any, what: str, low: int = 0, high: int = 2**64 - 1) -> int:
    """A number of a caller's, which ctypes would cut to size without a word."""
    if not isinstance(value, int):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise UsageError(f"{what} is {value}: it must be from {low} to {high}")
    return value


def text(value: str, what: str) -> bytes:
    """A text of a caller's, which C would end at its first zero byte."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    if "\0" in value:
        raise UsageError(f"{what} has a zero byte: {value!r}")
    return value.encode()


class Sized(ctypes.Structure):
    """A struct that begins with its own size. Its members are given by their names, and checked by their types."""

    def __init__(self, **members: Any) -> None:
        kinds = self._kinds.get(type(self)) or self._kinds.setdefault(type(self), {field[0]: field[1] for field in self._fields_})
        for name, value in members.items():
            kind = kinds[name]
            if kind in RANGES:
                whole(value, name, *RANGES[kind])
            elif kind is c_char_p and value is not None and b"\0" in value:
                raise UsageError(f"{name} has a zero byte: {value!r}")
        super().__init__(sizeof(type(self)), **members)

    _kinds: ClassVar[dict[type, dict[str, Any]]] = {}


class ClientOptions(Sized):
    _fields_ = members(
        "struct_size u32, flags u32, servers text, group u64, outstanding_max u32, reserved u32, "
        "outstanding_bytes_max u64, response_bytes_max u64, dial_timeout i64, silence_max i64, backoff_min i64, "
        "backoff_max i64, close_timeout i64"
    )


# Handles are numbers that look like addresses. `void **` and `char **` are memory of the library, which a c_char_p would lose.
H, HANDLE_OUT, BYTES_OUT, TEXT_OUT, LENGTH_OUT = c_void_p, POINTER(c_void_p), POINTER(c_void_p), POINTER(c_void_p), POINTER(c_size_t)
