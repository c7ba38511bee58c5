"""What an application promises: the state machine."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple, Optional, Union

from . import _abi


class Entry(NamedTuple):
    """One committed command."""

    index: int  # type: ignore[assignment]  # it hides a method of tuples, which nobody wants here
    """Its place in the log: grows, with gaps where other entries are."""
    term: int
    """The leader's term in which it was made."""
    time: int
    """Cluster time, in nanoseconds since the group was born: the only clock that a state machine may use."""
    command: bytes


class CommandError(Exception):
    """Raised by ``StateMachine.apply`` to refuse a command.

    A refusal is a result like any other, the same on every server: who proposed the command gets ``payload`` as its result,
    in whichever language, and nothing marks it as a refusal but what your bytes say. Raise it before the state has changed.
    """

    def __init__(self, payload: Union[bytes, str]) -> None:
        super().__init__(payload)
        self.payload = payload.encode() if isinstance(payload, str) else bytes(payload)


class _Written(io.BytesIO):
    """Takes a snapshot in memory. Closing it, as whatever wraps it does when it is collected, ends the writing and keeps what was
    written."""

    def close(self) -> None:
        self.write = _refuse  # type: ignore[method-assign]


def _refuse(_: Any) -> int:
    raise ValueError("write to a snapshot that was closed")


class StateMachine:
    """The application: a subclass has ``apply`` (or ``apply_batch``) and ``query``, and what else it wants of these.

    The state after an entry depends on the entries up to it and on nothing else: no clock but ``Entry.time``, no random
    number, no ``hash()`` of a string and no order of a set, no I/O whose outcome can differ between servers.

    All methods but ``write_snapshot`` are called one at a time, on one thread. They must not wait for the library: what would
    raises WouldDeadlock. An exception in ``apply``, ``restore`` or ``expire``, of whatever class, means that the machine is
    broken: its replica stops for good, and everybody who waits hears the traceback.
    """

    def apply(self, entry: Entry) -> Optional[bytes]:
        """Executes a command and returns its result; None is an empty one."""
        raise NotImplementedError(f"{type(self).__name__} has neither apply nor apply_batch")

    def apply_batch(self, entries: list[Entry]) -> list[Optional[bytes]]:
        """Executes commands in their order and returns a result for each. It calls ``apply``, unless it is overridden: for a
        machine that can do many commands at once faster than one by one."""
        results: list[Optional[bytes]] = []
        apply = self.apply
        for entry in entries:
            try:
                results.append(apply(entry))
            except CommandError as refusal:
                results.append(refusal.payload)
        return results

    def query(self, request: bytes) -> Optional[bytes]:
        """Answers a read from the state as it is, without changing it. An exception goes to whoever asked, as QueryError, and
        has no other effect; a QueryError that is raised here gives its text only."""
        raise NotImplementedError(f"{type(self).__name__} has no query")

    def snapshot(self, writer: BinaryIO) -> None:
        """Writes the whole state. Commands wait meanwhile: this goes to memory, and from there to the disk beside later
        commands. A state too large for that has ``prepare_snapshot`` and ``write_snapshot`` instead. A machine without
        snapshots keeps its whole log and executes it again at each start."""
        raise NotImplementedError

    def restore(self, reader: BinaryIO) -> None:
        """Replaces the whole state by a snapshot's, and reads it to its end: to return and leave a part unread is a failure. All or
        nothing: when it raises, the old state must be untouched, or the machine must not be used again, which it says by raising
        in ``snapshot``, or ``prepare_snapshot``, from then on; ``oarlock.testing.check_state_machine`` looks at that. The simple way is
        to read into new objects, and to assign them to ``self`` at the end."""
        raise NotImplementedError(f"{type(self).__name__} has no restore")

    def prepare_snapshot(self) -> Any:
        """Captures the state as it is now, quickly, because commands wait: a copy, or what later commands leave alone."""
        written = _Written()
        self.snapshot(written)
        return written.getbuffer()

    def write_snapshot(self, prepared: Any, writer: BinaryIO) -> None:
        """Writes what ``prepare_snapshot`` returned, on another thread, beside later commands. A failure of a snapshot is
        logged, told as an event, and the snapshot tried again later."""
        writer.write(prepared)

    def state_hash(self) -> int:
        """Optional: a 64-bit hash of the state, equal on all servers that have applied the same entries. ``hash()`` of a string is
        another one in each process."""
        raise NotImplementedError

    def next_due(self) -> Optional[int]:
        """Optional, with ``expire``: the cluster time at which something falls due, from the state only; None if nothing is."""
        raise NotImplementedError

    def expire(self, index: int, time: int) -> None:
        """Executes what is due at a cluster time. A ``next_due`` that is not past it afterwards stops the replica."""
        raise NotImplementedError


def machine_of(make: Callable[[], StateMachine]) -> StateMachine:
    """A new machine of what a test gives to make them. Raises TypeError for what makes none."""
    if not callable(make):
        kind = type(make).__name__
        way_out = f"give the class {kind} itself, or a function" if isinstance(make, StateMachine) else "give a class or a function"
        raise TypeError(f"machine must be what makes a new state machine at each call, not {kind}: {way_out}")
    machine = make()
    if not isinstance(machine, StateMachine):
        raise TypeError(f"what makes machines returned {type(machine).__name__}: the machine must be an oarlock.StateMachine")
    return machine


def pull_flags(machine: StateMachine) -> int:
    """What the library has to know of a machine: which optional methods it has. Raises TypeError for one that cannot work."""
    if not isinstance(machine, StateMachine):
        raise TypeError(f"the machine must be an oarlock.StateMachine, not {type(machine).__name__}")
    kind = type(machine)

    def has(*names: str) -> bool:
        return any(getattr(kind, name) is not getattr(StateMachine, name) for name in names)

    missing = [
        what
        for what, is_missing in (
            ("apply or apply_batch", not has("apply", "apply_batch")),
            ("query", not has("query")),
            ("restore, which belongs to its snapshots", has("snapshot", "prepare_snapshot") and not has("restore")),
            ("snapshot, which belongs to restore", has("restore") and not has("snapshot", "prepare_snapshot")),
            ("write_snapshot, for what prepare_snapshot returns", has("prepare_snapshot") and not has("write_snapshot")),
            ("prepare_snapshot, for write_snapshot", has("write_snapshot") and not has("prepare_snapshot")),
            ("expire, which belongs to next_due", has("next_due") and not has("expire")),
            ("next_due, which belongs to expire", has("expire") and not has("next_due")),
        )
        if is_missing
    ]
    if missing:
        raise TypeError(f"{kind.__name__} lacks {', and '.join(missing)}")
    flags = 0 if has("restore") else _abi.PULL_NO_SNAPSHOTS
    if has("state_hash"):
        flags |= _abi.PULL_STATE_HASH
    if has("next_due"):
        flags |= _abi.PULL_SCHEDULED
    return flags
