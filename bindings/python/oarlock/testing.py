"""For the tests of an application: checks of its state machine, and a cluster in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from . import _abi_testing
from ._checking import Generator, run
from ._cluster import Cluster
from ._machine import StateMachine
from ._report import CheckFailed, Command, Finding, Report

__all__ = ["CheckFailed", "Cluster", "Command", "Finding", "Report", "check_state_machine", "simulate"]


def _flags(snapshots_vary: bool, snapshots_unchecked: bool) -> int:
    return snapshots_vary * _abi_testing.CHECK_SNAPSHOTS_VARY | snapshots_unchecked * _abi_testing.CHECK_SNAPSHOTS_UNCHECKED


def check_state_machine(
    machine: Callable[[], StateMachine],
    command: Optional[Generator] = None,
    query: Optional[Generator] = None,
    *,
    seed: int = 1,
    commands: int = 300,
    snapshots_vary: bool = False,
    snapshots_unchecked: bool = False,
) -> Report:
    """Finds out whether a state machine keeps its promises, in well under a second or so: run it with every change. It raises
    CheckFailed, which is an AssertionError, where one is broken::

        def test_counter():
            oarlock.testing.check_state_machine(Counter, lambda chance: b"%d" % chance.randrange(100))

    ``machine`` makes a new machine. ``command`` makes a command that the machine understands from a random.Random and nothing
    else (the ``random`` module, a clock or ``uuid4`` are not repeated by a seed), or is a list of examples; some are damaged on
    purpose, because what a client sends is not always well-formed. ``query`` is the same for queries; without it there are
    commands instead.

    ``seed``, from 1, chooses commands, queries and damage; ``commands``, from 1, is how many a run has.

    States are compared by ``state_hash``, or by snapshots. Where equal states may have different ones, say so
    (``snapshots_vary``). ``snapshots_unchecked``: ``restore`` need not notice a damaged byte; a missing end it must.

    All methods are called on this thread, one after the other. What the machine raises is what a finding says, ``sys.exit`` too,
    and the exception is the ``__cause__`` of CheckFailed. Ctrl-C, what ``machine``, ``command`` and ``query`` raise, and what
    ``next_due`` and ``state_hash`` raise, comes out of here as it is; but for their SystemExit, which is a StateMachineError.
    """
    flags = _flags(snapshots_vary, snapshots_unchecked)
    return run("state_machine_check", machine, command, query, {"flags": flags, "seed": seed, "commands": commands})


def simulate(
    machine: Callable[[], StateMachine],
    command: Optional[Generator] = None,
    query: Optional[Generator] = None,
    *,
    clusters: int = 20,
    clusters_from: int = 1,
    seed: int = 1,
    commands: int = 300,
    snapshots_vary: bool = False,
    snapshots_unchecked: bool = False,
) -> Report:
    """The checks of ``check_state_machine`` and, if they find nothing, simulated clusters of the machine: servers that crash, restart
    and restore snapshots, while clients try their commands again, in virtual time. It takes seconds: run it before you trust
    a machine. ``clusters``, from 1, is how many; a seed says everything about a cluster, and they have those from ``clusters_from``
    on, from 1 too."""
    settings = {"seed": seed, "commands": commands, "clusters": clusters, "clusters_from": clusters_from}
    return run("sim_run", machine, command, query, {"flags": _flags(snapshots_vary, snapshots_unchecked), **settings})
