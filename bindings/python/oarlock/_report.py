"""What checks of a state machine have found."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from ._errors import BY_STATUS, Error
from ._status import Status


class Command(NamedTuple):
    """A command that took part in a finding."""

    number: int
    """Its place in the script, from 0."""
    index: int  # type: ignore[assignment]  # as in Entry
    term: int
    time: int
    command: bytes
    damage: str
    """How it was damaged on purpose; empty: it was not."""


class Finding(NamedTuple):
    """A promise that a machine breaks."""

    check: str
    """The promise, in words."""
    text: str
    """What happened instead, with the traceback of what a machine has raised."""
    command: Optional[Command]
    """Where it happened; None: no single command is to blame."""
    hashes: list[str]
    """Of the two states that had to be the same: of state_hash, or of their snapshots. Empty: it is not the state that differs."""
    script: list[Command]
    """The few commands that are enough to see it, in order."""
    seed: int
    """What repeats it: ``seed``, or of a cluster ``clusters_from`` with one of ``clusters``."""
    clustered: bool
    """It was seen in a simulated cluster."""
    story: str
    """What happened there, a line for each thing."""
    whole: str
    """All of it in words, but for the story."""

    def __str__(self) -> str:
        return self.whole


class Report(NamedTuple):
    """What came of a check."""

    findings: list[Finding]
    unchecked: list[str]
    """What could not be looked at, and what would change that."""
    checks: int
    """How many promises were looked at."""
    commands: int
    """Of a run."""
    final: str
    """The hash of the state after the last of them: of ``state_hash``, or else of a snapshot, in 16 hexadecimal digits; empty where
    it cannot be had. With the same arguments it is the same in every process, on every machine and with every version of the
    program that replicates with this one: a test may pin it, and so finds what all machines in one process have in common (the
    environment, the order of a set of strings)."""
    clusters: int
    """How many were simulated. What follows is of all of them together."""
    changes: int
    queries: int
    snapshots: int
    restores: int
    faults: int
    virtual_seconds: float


class CheckFailed(Error, AssertionError):
    """A state machine breaks a promise: which, and by which command, is in the text, and more in ``report``. An exception that
    the machine has raised there is its ``__cause__``."""

    status = Status.ERR_CHECK_FAILED

    report: Report

    def __init__(self, text: str = "", report: Any = None) -> None:
        super().__init__(text, None if isinstance(report, Report) else report)
        if isinstance(report, Report):
            self.report = report

    def __reduce__(self) -> Any:
        return CheckFailed, (self.args[0], getattr(self, "report", None))


BY_STATUS[Status.ERR_CHECK_FAILED] = CheckFailed


def _command(raw: dict[str, Any]) -> Command:
    return Command(
        raw["number"], raw["index"], raw["term"], raw["time"], bytes.fromhex(raw["hex"]), raw.get("damage", "")
    )


IN_C = {"OAR_CHECK_SNAPSHOTS_VARY": "snapshots_vary=True", "OAR_CHECK_SNAPSHOTS_UNCHECKED": "snapshots_unchecked=True"}


def in_python(text: str) -> str:
    """A text that the library has for C, with what it is called here."""
    for name, here in IN_C.items():
        text = text.replace(name, here)
    return text


def report_of(raw: dict[str, Any]) -> Report:
    """A report, of the library's JSON."""
    findings = [
        Finding(
            in_python(f["check"]), in_python(f["text"]), _command(f["command"]) if "command" in f else None, f.get("hashes", []),
            [_command(c) for c in f.get("script", [])], f["seed"], f["clustered"], f.get("story", ""), in_python(f["whole"]),
        )
        for f in raw["findings"]
    ]  # fmt: skip
    counts = {name: raw[name] for name in Report._fields if isinstance(raw.get(name), int)}
    seconds = raw["virtual_nanos"] / 1e9
    return Report(
        findings=findings, unchecked=list(map(in_python, raw["unchecked"])), final=raw["final"], virtual_seconds=seconds, **counts
    )
