"""A right state machine, a raffle, and the same raffle with one mistake each, of the kind that Python programs are made with."""

from __future__ import annotations

import collections
import json
import random
import time
from typing import Any, BinaryIO

import oarlock


class Raffle(oarlock.StateMachine):
    """The right one. Commands are "join NAME", answered with a ticket's number, and "draw", answered with the name that wins. A
    query is a name, answered with its ticket."""

    def __init__(self) -> None:
        self.tickets: dict[str, int] = {}
        self.next = 0
        self.winners: list[str] = []

    def apply(self, entry: oarlock.Entry) -> bytes:
        word, _, name = entry.command.decode(errors="replace").partition(" ")
        if word == "join":
            return self.join(name)
        if word == "draw" and self.tickets:
            # What looks like chance has to come out of the entry, which is all that the servers have in common.
            return self.wins(sorted(self.tickets)[entry.index * 2654435761 % len(self.tickets)])
        raise oarlock.CommandError("no")  # a refusal is a result, too

    def join(self, name: str) -> bytes:
        self.next += 1
        self.tickets[name] = self.next
        return str(self.next).encode()

    def wins(self, name: str) -> bytes:
        del self.tickets[name]
        self.winners.append(name)
        return name.encode()

    def query(self, request: bytes) -> bytes:
        return str(self.tickets.get(request.decode(errors="replace"), "not in it")).encode()

    def snapshot(self, writer: BinaryIO) -> None:
        writer.write(json.dumps([self.tickets, self.next, self.winners], sort_keys=True).encode())

    def restore(self, reader: BinaryIO) -> None:
        self.tickets, self.next, self.winners = json.loads(reader.read())


class Clock(Raffle):
    """Tickets have the number that the clock on the wall shows, and every server has a wall of its own."""

    def join(self, name: str) -> bytes:
        self.next = time.time_ns()
        return super().join(name)


class Dice(Raffle):
    """Each server throws its own."""

    def apply(self, entry: oarlock.Entry) -> bytes:
        if entry.command == b"draw" and self.tickets:
            return self.wins(random.choice(sorted(self.tickets)))
        return super().apply(entry)


class Shared(Raffle):
    """A default on the class, which all machines of a process share, and no two servers do."""

    drawn: list[str] = []

    def wins(self, name: str) -> bytes:
        self.drawn.append(name)
        return super().wins(name) + b" of %d" % len(self.drawn)


class Trusting(Raffle):
    """Believes that every command is one of its own. What a client sends is not always well-formed, and an exception stops every
    server, because it comes on every server."""

    def apply(self, entry: oarlock.Entry) -> bytes:
        if not entry.command.decode().startswith(("join ", "draw")):
            raise NotImplementedError(entry.command)
        return super().apply(entry)


class LiveSnapshot(Raffle):
    """Captures the state without a copy: later commands change what is written."""

    def prepare_snapshot(self) -> Any:
        return self.tickets, self.next, self.winners

    def write_snapshot(self, prepared: Any, writer: BinaryIO) -> None:
        writer.write(json.dumps(prepared, sort_keys=True).encode())


class Forgetful(Raffle):
    """Begins to count its tickets anew after a restore: a field that was added later, and not to restore."""

    def restore(self, reader: BinaryIO) -> None:
        super().restore(reader)
        self.next = len(self.tickets)


class WritingQuery(Raffle):
    """Looks a name up in a defaultdict, which puts it in, on the one server that was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.tickets = collections.defaultdict(int)

    def query(self, request: bytes) -> bytes:
        return str(self.tickets[request.decode(errors="replace")]).encode()

    def restore(self, reader: BinaryIO) -> None:
        super().restore(reader)
        self.tickets = collections.defaultdict(int, self.tickets)


class SetOrder(Raffle):
    """Gives out prizes in the order of a set of strings. It comes from hash(), which has another seed in each process: all machines
    of one process have the same order, and each server has one of its own."""

    prizes = {"a ham", "a kite", "a lamp", "a book", "a radio", "a bicycle", "a weekend", "an umbrella"}

    def wins(self, name: str) -> bytes:
        prize = list(self.prizes)[len(self.winners) % len(self.prizes)]
        won = super().wins(name) + b" wins " + prize.encode()
        self.winners[-1] = won.decode()
        return won


def command(chance: random.Random) -> bytes:
    """A command, of chance and nothing else."""
    return b"draw" if chance.random() < 0.2 else b"join %c" % chance.choice(b"abcdefgh")
