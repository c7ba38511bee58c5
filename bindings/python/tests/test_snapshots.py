"""Snapshots as machines write and read them: through what wraps a stream, and to the end."""

from __future__ import annotations

import contextlib
import io

import pytest
from conftest import PATIENCE, Counter

import oarlock
import oarlock.testing


@contextlib.contextmanager
def restarted(make_config, machine):
    """A server that was started again, on a snapshot of 41."""
    config = make_config(kind="pebble")
    with oarlock.Server(config, 1, machine()) as server:
        server.wait_ready(PATIENCE)
        server.propose(b"41", PATIENCE)
        server.snapshot(PATIENCE)
    with oarlock.Server(config, 1, machine()) as server:
        yield server


class Padded(Counter):
    """Does not come to the end of its snapshot, which it may close."""

    padding, closes = b"", False

    def apply(self, entry):
        self.value += int(entry.command) if entry.command in (b"1", b"41") else 7
        return b"%d" % self.value

    def snapshot(self, writer):
        writer.write(b"%20d" % self.value + self.padding)

    def restore(self, reader):
        digits = reader.read(20)
        if len(digits) < 20:
            raise ValueError("too short")
        self.value = int(digits)
        if self.closes:
            reader.close()


LEFT = [
    type("LittleLeft", (Padded,), {"padding": b"!"}),
    type("MuchLeft", (Padded,), {"padding": b"!" * 3_000_000}),
    type("LeftAndClosed", (Padded,), {"padding": b"!", "closes": True}),
]


@pytest.mark.parametrize("machine", LEFT)
def test_a_restore_that_leaves_a_part_unread_is_a_failure(make_config, machine):
    with restarted(make_config, machine) as server, pytest.raises(oarlock.StateMachineError, match="restore has left .* unread"):
        server.wait_ready(PATIENCE)


@pytest.mark.parametrize("machine", [LEFT[0], LEFT[2]])
def test_a_check_finds_a_restore_that_leaves_a_part_unread(machine):
    with pytest.raises(oarlock.testing.CheckFailed, match="restore has left .* unread"):
        oarlock.testing.check_state_machine(machine, [b"1", b"2"], snapshots_unchecked=True, commands=20)


def test_a_restore_that_knows_where_its_snapshot_ends_need_not_look_for_more(make_config):
    with restarted(make_config, Padded) as server:
        server.wait_ready(PATIENCE)
        assert server.query(b"", PATIENCE) == b"41"


def test_a_check_does_not_blame_a_machine_for_what_fails_behind_its_snapshot():
    oarlock.testing.check_state_machine(Padded, [b"1", b"2"], snapshots_unchecked=True, commands=20)


def test_a_reader_may_be_wrapped(make_config):
    class Text(Counter):
        def restore(self, reader):
            self.value = int(io.TextIOWrapper(reader).read())

    with restarted(make_config, Text) as server:
        server.wait_ready(PATIENCE)
        assert server.query(b"", PATIENCE) == b"41"


class Texts(Counter):
    """Writes and reads through what wraps a stream, and closes it when it is collected."""

    def apply(self, entry):
        self.value += len(entry.command)
        return b"%d" % self.value

    def snapshot(self, writer):
        io.TextIOWrapper(writer).write(f"{self.value}.")

    def restore(self, reader):
        digits, _ = io.TextIOWrapper(reader, errors="replace").read().split(".")
        self.value = int(digits)


class BesideTexts(Texts):
    """The same on another thread."""

    def prepare_snapshot(self):
        return self.value

    def write_snapshot(self, prepared, writer):
        io.TextIOWrapper(writer).write(f"{prepared}.")


@pytest.mark.parametrize("machine", [Texts, BesideTexts])
def test_a_writer_may_be_wrapped(make_config, machine):
    with restarted(make_config, machine) as server:
        server.wait_ready(PATIENCE)
        assert server.query(b"", PATIENCE) == b"2"
    oarlock.testing.check_state_machine(machine, [b"1", b"22"], snapshots_unchecked=True, commands=20)


def test_a_writer_that_was_closed_takes_no_more():
    class Closing(Texts):
        def snapshot(self, writer):
            with writer:
                writer.write(b"1")
            writer.write(b"2")

    with pytest.raises(ValueError, match="write to a snapshot that was closed"):
        Closing().prepare_snapshot()


class Half(Counter):
    """Is left with half of a state when it cannot restore."""

    half, tells = False, False

    def apply(self, entry):
        self.value += len(entry.command)
        return b"%d" % self.value

    def state_hash(self):
        return self.value

    def snapshot(self, writer):
        if self.half and self.tells:
            raise RuntimeError("half a state")
        writer.write(b"%d." % self.value)

    def restore(self, reader):
        self.half, self.value = True, 77
        digits, _ = reader.read().split(b".")
        self.half, self.value = False, int(digits)


def test_a_check_says_what_a_machine_may_do_that_fails_to_restore():
    with pytest.raises(oarlock.testing.CheckFailed, match="left a changed state behind .*have the capture of a snapshot fail from then on"):
        oarlock.testing.check_state_machine(Half, [b"1", b"22"], snapshots_unchecked=True, commands=20)
    told = type("Told", (Half,), {"tells": True})
    oarlock.testing.check_state_machine(told, [b"1", b"22"], snapshots_unchecked=True, commands=20)
