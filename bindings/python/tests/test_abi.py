"""_abi.py against the header: what the two say of functions, structs and numbers is the same."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import header
import pytest

import oarlock
import oarlock.testing
from oarlock import _abi, _abi_orders, _abi_testing, _errors, _status

# What the header has and this package does not, and why.
FUNCTIONS_LEFT_OUT = {
    **dict.fromkeys(
        ("oar_propose_async", "oar_query_async", "oar_client_propose_async", "oar_client_query_async", "oar_order_async",
         "oar_client_order_async"),
        "a callback on a thread that is not Python's costs ten times what the queue does; futures use the queue",
    ),
    **dict.fromkeys(
        ("oar_results_append", "oar_results_end"),
        "a result in pieces; Python's are whole",
    ),
    "oar_barrier": "oar_barrier_at without options is the same",
    "oar_client_members_json": "the members come as a Membership",
}
STRUCTS_LEFT_OUT = {
    "oar_log_record": "for a log callback; Python takes log lines as events",
}
NUMBERS_LEFT_OUT = {
    "OAR_GROUP_DEFAULT": "this package passes 0, which is the same",
    "OAR_SECOND": "Python counts in seconds",
    "OAR_MILLISECOND": "Python counts in seconds",
    "OAR_MACHINE_CONCURRENT_QUERIES": "for pushed machines",
    "OAR_PULL_CONCURRENT_QUERIES": "Python threads would not run beside each other, and a machine's author would need locks",
}

STRUCTS = {
    "oar_error_detail": _abi.ErrorDetail,
    "oar_runtime_options": _abi.RuntimeOptions,
    "oar_counts": _abi.Counts,
    "oar_entry": _abi.EntryStruct,
    "oar_server_options": _abi.ServerOptions,
    "oar_group_info": _abi.GroupInfoStruct,
    "oar_propose_options": _abi.ProposeOptions,
    "oar_query_options": _abi.QueryOptions,
    "oar_completion": _abi.CompletionStruct,
    "oar_work": _abi.Work,
    "oar_client_options": _abi.ClientOptions,
    "oar_event": _abi.EventStruct,
    "oar_events_options": _abi.EventsOptions,
    "oar_cluster_options": _abi_testing.ClusterOptions,
    "oar_check_options": _abi_testing.CheckOptions,
    "oar_state_machine": _abi_testing.Vtable,
    "oar_identity": _abi_orders.IdentityStruct,
    "oar_change": _abi_orders.ChangeStruct,
    "oar_order": _abi_orders.Order,
    "oar_membership": _abi_orders.MembershipStruct,
    "oar_member": _abi_orders.MemberStruct,
    "oar_plan": _abi_orders.PlanStruct,
    "oar_plan_member": _abi_orders.PlanMemberStruct,
}
HANDLES = ("config", "server", "client", "call", "queue", "events", "writer", "reader", "cluster", "results", "buf")
C_TYPES = {
    "void": None,
    "oar_status": ctypes.c_int32,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "uint16_t": ctypes.c_uint16,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "char *": ctypes.c_char_p,
    "void *": ctypes.c_void_p,
    "char **": ctypes.POINTER(ctypes.c_void_p),  # memory to be released, which a c_char_p would lose
    "void **": ctypes.POINTER(ctypes.c_void_p),
    "uint64_t *": ctypes.POINTER(ctypes.c_uint64),
    "size_t *": ctypes.POINTER(ctypes.c_size_t),
    **{f"oar_{h} *": ctypes.c_void_p for h in HANDLES},
    **{f"oar_{h} **": ctypes.POINTER(ctypes.c_void_p) for h in HANDLES},
    **{f"{name} *": ctypes.POINTER(struct) for name, struct in STRUCTS.items()},
}


def test_every_function_is_bound_or_left_out_for_a_reason():
    assert set(header.prototypes()) == set(_abi.FUNCTIONS) | set(FUNCTIONS_LEFT_OUT)
    assert not set(_abi.FUNCTIONS) & set(FUNCTIONS_LEFT_OUT)
    assert set(_abi.FUNCTIONS) >= _abi.QUICK


@pytest.mark.parametrize("name", sorted(_abi.FUNCTIONS))
def test_prototypes_are_the_headers(name):
    prototype = header.prototypes()[name]
    result, arguments = _abi.FUNCTIONS[name]
    assert result is C_TYPES[prototype.result]
    assert list(arguments) == [C_TYPES[argument] for argument in prototype.arguments]


def test_every_struct_is_bound_or_left_out_for_a_reason():
    assert set(header.structs()) == set(STRUCTS) | set(STRUCTS_LEFT_OUT)


def test_offsets_and_sizes_are_what_the_c_compiler_says(tmp_path: Path):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.fail("no C compiler: install gcc, this test compiles a program that prints the header's offsets")
    lines = []
    for name, members in header.structs().items():
        if name in STRUCTS:
            lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
            lines += [f'printf("{name}.{m} %zu %zu\\n", offsetof({name}, {m}), sizeof((({name} *)0)->{m}));' for m in members]
    source = tmp_path / "offsets.c"
    source.write_text("#include <stdio.h>\n#include <oarlock.h>\nint main(void) {\n" + "\n".join(lines) + "\nreturn 0;\n}\n")
    program = tmp_path / "offsets"
    subprocess.run([compiler, "-I", str(header.INCLUDE), str(source), "-o", str(program)], check=True)
    said = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout.split("\n")[:-1]
    here = []
    for name, struct in STRUCTS.items():
        here.append(f"{name} {ctypes.sizeof(struct)}")
        for member, _ in struct._fields_:
            field = getattr(struct, member)
            here.append(f"{name}.{member} {field.offset} {field.size}")
    assert sorted(said) == sorted(here)


def test_structs_that_are_read_by_hand_have_the_same_layout():
    for packed, struct in ((_abi.ENTRY, _abi.EntryStruct), (_abi.COMPLETION, _abi.CompletionStruct)):
        assert packed.size == ctypes.sizeof(struct)
        filled = struct()
        for i, (name, kind) in enumerate(struct._fields_):
            if kind is not ctypes.c_char_p:
                setattr(filled, name, i + 1)
        values = packed.unpack(bytes(filled))
        for i, (name, kind) in enumerate(struct._fields_):
            assert kind is ctypes.c_char_p or values[i] == i + 1, name


def test_statuses_and_their_classes_are_the_headers():
    listed = header.listed("OAR_STATUS_LIST")
    assert {name[4:]: int(number) for name, number, _, _ in listed} == {s.name: s.value for s in oarlock.Status}
    for name, number, bits, _ in listed:
        assert _status.CLASS_BITS.get(oarlock.Status(int(number)), 0) == int(bits.rstrip("u")), name


def test_statuses_are_the_librarys():
    lib = _abi.library()
    for status in oarlock.Status:
        assert lib.status_name(status).decode() == f"OAR_{status.name}"
        assert lib.status_class(status) == _status.CLASS_BITS.get(status, 0)


def test_events_are_the_headers():
    listed = header.listed("OAR_EVENT_LIST")
    assert {name: int(number) for name, number, _ in listed} == {f"OAR_EVENT_{e.name}": e.value for e in oarlock.EventKind}


def test_numbers_are_the_headers():
    constants = [*vars(_abi).items(), *vars(_abi_orders).items(), *vars(_abi_testing).items()]
    here = {f"OAR_{name}": value for name, value in constants if name.isupper() and isinstance(value, int)}
    here.update({f"OAR_{name}": value for name, value in vars(_status).items() if name.startswith("CLASS_") and name != "CLASS_BITS"})
    here.update({f"OAR_ROLE_{role.name}": role.value for role in oarlock.Role})
    here.update({f"OAR_{level.name}": level.value for level in oarlock.Level})
    here.update({f"OAR_CHANGE_{kind.name}": kind.value for kind in oarlock.ChangeKind})
    del here["OAR_FOREVER"]
    said = header.numbers()
    assert said.pop("OAR_FOREVER") == _abi.FOREVER
    for name in NUMBERS_LEFT_OUT:
        del said[name]
    assert here == said


def test_another_major_version_is_refused():
    with pytest.raises(oarlock.AbiError):
        _abi.check(_abi.library().check_abi(_abi.ABI_MAJOR + 1, 0))


def test_a_library_that_is_not_there_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_abi, "_library", None)
    monkeypatch.setenv("OARLOCK_LIBRARY", str(tmp_path / "none.so"))
    with pytest.raises(oarlock.AbiError, match=r"none\.so cannot be loaded.*pip install"):
        _abi.library()
    monkeypatch.setenv("OARLOCK_LIBRARY", "libc.so.6")
    with pytest.raises(oarlock.AbiError, match="has no oar_version"):
        _abi.library()


def test_every_status_has_a_class():
    assert set(_errors.BY_STATUS) == {s.value for s in oarlock.Status} - {oarlock.Status.OK}


def test_the_package_has_the_librarys_version():
    assert oarlock.__version__ == oarlock.version()
