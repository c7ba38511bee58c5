"""Every mistake is found, by the message that fits it, and the right machine passes."""

from __future__ import annotations

import pytest
import raffles

import oarlock.testing


def test_the_right_one_passes():
    report = oarlock.testing.simulate(raffles.Raffle, raffles.command, snapshots_unchecked=True, clusters=5)
    assert report.clusters == 5 and report.restores > 0 and not report.findings


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (raffles.Clock, "the same commands give the same results and state: first difference"),
        (raffles.Dice, "the same commands give the same results and state: first difference"),
        (raffles.Shared, "the same commands give the same results and state: first difference"),
        (raffles.Trusting, "every command is executed: .*Traceback"),
        (raffles.LiveSnapshot, "a snapshot is the state when it was captured"),
        (raffles.Forgetful, "a restored snapshot equals replay"),
        (raffles.WritingQuery, "Query changes nothing"),
    ],
)
def test_each_mistake_is_found(machine, said):
    with pytest.raises(oarlock.testing.CheckFailed, match=f"(?s){said}") as found:
        oarlock.testing.simulate(machine, raffles.command, snapshots_unchecked=True)
    finding = found.value.report.findings[0]
    assert finding.script and finding.seed == 1
    print(found.value)  # for pytest -s
