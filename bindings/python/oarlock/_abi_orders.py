"""What oarlock.h has about members and leadership, for ctypes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ctypes import POINTER, byref, c_char_p, c_int32, c_int64, c_size_t, c_ubyte, c_uint32, c_uint64, c_void_p, cast
from typing import Any, Optional

from ._abi_types import BYTES_OUT, HANDLE_OUT, LENGTH_OUT, H, Sized, members

ORDER_CHANGE = 1
ORDER_PLAN = 2
ORDER_MEMBERS = 3
ORDER_TRANSFER = 4
ORDER_STEP_DOWN = 5
ORDER_FORCED = 1
ORDER_CANCEL = 2
FROM_BIRTH = 1
MEMBERSHIP_CHANGING = 1
MEMBERSHIP_JOINT = 2
MEMBER_VOTER = 1
MEMBER_OUTGOING = 2
MEMBER_LEARNER = 4
MEMBER_WANTED_VOTER = 8
MEMBER_WANTED_LEARNER = 16
PLAN_VOTES = 1
PLAN_LEARNS = 2
PLAN_WILL_VOTE = 4
PLAN_WILL_LEARN = 8
PLAN_HEARD = 16

ID = c_ubyte * 16


class IdentityStruct(Sized):
    _fields_ = [*members("struct_size u32, reserved u32, server u64"), ("cluster", ID), ("store", ID)]


class ChangeStruct(Sized):
    _fields_ = [*members("struct_size u32, kind u32, id u64"), ("store", ID), ("address", c_char_p)]


class Order(Sized):
    _fields_ = [
        *members("struct_size u32, kind u32, group u64"),
        ("changes", POINTER(ChangeStruct)),
        *members("change_count size, from u64, to u64, flags u32, reserved u32, timeout i64"),
    ]


class MembershipStruct(Sized):
    _fields_ = members("struct_size u32, flags u32, index u64, members u32, voters u32, learners u32, reserved u32")


class MemberStruct(Sized):
    _fields_ = [*members("struct_size u32, roles u32, id u64"), ("store", ID), ("address", c_char_p)]


class PlanStruct(Sized):
    _fields_ = members(
        "struct_size u32, refused i32, refused_text text, committed u32, stages u32, members u32, before i32, during i32, after i32"
    )


class PlanMemberStruct(Sized):
    _fields_ = [
        *members("struct_size u32, flags u32, id u64"), ("store", ID), ("address", c_char_p), *members("silent i64, behind u64"),
    ]  # fmt: skip


ANSWER = (BYTES_OUT, LENGTH_OUT)
BYTES = (c_void_p, c_size_t)
ORDER = POINTER(Order)

FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "oar_server_identity": (c_int32, (H, POINTER(IdentityStruct))),
    "oar_change_membership": (c_int32, (H, ORDER, c_int64, *ANSWER)),
    "oar_plan_membership": (c_int32, (H, ORDER, c_int64, *ANSWER)),
    "oar_members": (c_int32, (H, c_uint64, c_int64, *ANSWER)),
    "oar_transfer_leadership": (c_int32, (H, c_uint64, c_uint64, c_int64)),
    "oar_step_down": (c_int32, (H, c_uint64, c_int64)),
    "oar_order_queued": (c_int32, (H, ORDER, H, c_uint64)),
    "oar_order_start": (c_int32, (H, ORDER, HANDLE_OUT)),
    "oar_client_change_membership": (c_int32, (H, ORDER, c_int64, *ANSWER)),
    "oar_client_plan_membership": (c_int32, (H, ORDER, c_int64, *ANSWER)),
    "oar_client_members": (c_int32, (H, c_int64, *ANSWER)),
    "oar_client_transfer_leadership": (c_int32, (H, c_uint64, c_int64)),
    "oar_client_step_down": (c_int32, (H, c_int64)),
    "oar_client_order_queued": (c_int32, (H, ORDER, H, c_uint64)),
    "oar_client_order_start": (c_int32, (H, ORDER, HANDLE_OUT)),
    "oar_membership_read": (c_int32, (*BYTES, POINTER(MembershipStruct))),
    "oar_member_read": (c_int32, (*BYTES, c_uint32, POINTER(MemberStruct))),
    "oar_plan_read": (c_int32, (*BYTES, POINTER(PlanStruct))),
    "oar_plan_member_read": (c_int32, (*BYTES, c_uint32, POINTER(PlanMemberStruct))),
    "oar_plan_stage": (c_int32, (*BYTES, c_uint32, POINTER(c_void_p), LENGTH_OUT)),
    "oar_cluster_add": (c_int32, (H, POINTER(ChangeStruct))),
    "oar_cluster_replace": (c_int32, (H, c_uint64, POINTER(ChangeStruct))),
}

QUICK = frozenset({
    "oar_order_queued", "oar_order_start", "oar_client_order_queued", "oar_client_order_start", "oar_membership_read",
    "oar_member_read", "oar_plan_read", "oar_plan_member_read", "oar_plan_stage",
})  # fmt: skip


def changes(of: list[tuple[int, int, bytes, Optional[bytes]]]) -> Any:
    """An array of changes: kind, id, store, address."""
    return (ChangeStruct * len(of))(
        *(ChangeStruct(kind=kind, id=id, store=ID(*store), address=address) for kind, id, store, address in of)
    )


Check = Callable[[int], None]


def pieces(function: Any, data: bytes, count: int, struct: Any, check: Check) -> Iterator[Any]:
    """The structs that a function reads out of an answer, which overwrite each other."""
    one = struct()
    for number in range(count):
        check(function(data, len(data), number, byref(one)))
        yield one


def stages(function: Any, data: bytes, count: int, check: Check) -> Iterator[bytes]:
    """The memberships inside of a plan, as bytes."""
    at, length = c_void_p(), c_size_t()
    base = c_char_p(data)  # the plan's own memory, which `at` points into
    start = cast(base, c_void_p).value or 0
    for number in range(count):
        check(function(base, len(data), number, byref(at), byref(length)))
        offset = (at.value or 0) - start
        yield data[offset : offset + length.value]
