"""Every mistake is found, by the message that fits it or by the final hash, and the right machine passes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import raffles

import oarlock.testing


def test_the_right_one_passes():
    report = oarlock.testing.simulate(raffles.Raffle, raffles.command, snapshots_unchecked=True, clusters=5)
    assert report.clusters == 5 and report.restores > 0 and not report.findings
    assert report.final == "bb154fd734b05fa4"


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (raffles.Clock, "the same commands give the same results and state: first difference"),
        (raffles.Dice, "the same commands give the same results and state: first difference"),
        (raffles.Shared, "the same commands give the same results and state: first difference"),
        (raffles.Trusting, "every command is executed: .*Traceback"),
        (raffles.LiveSnapshot, "a snapshot is the state when it was captured"),
        (raffles.Forgetful, "a restored snapshot equals replay"),
        (raffles.WritingQuery, "query changes nothing"),
    ],
)
def test_each_mistake_is_found(machine, said):
    with pytest.raises(oarlock.testing.CheckFailed, match=f"(?s){said}") as found:
        oarlock.testing.simulate(machine, raffles.command, snapshots_unchecked=True)
    finding = found.value.report.findings[0]
    assert finding.script and finding.seed == 1
    print(found.value)  # for pytest -s


PROGRAM = """
import sys
import oarlock.testing, raffles
machine = getattr(raffles, sys.argv[1])
print(oarlock.testing.check_state_machine(machine, raffles.command, snapshots_unchecked=True).final)
"""


def final(machine, hash_seed):
    """The final hash in a process whose hash() has this seed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", PROGRAM, machine.__name__]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout.strip()


def test_the_order_of_a_set_is_found_by_the_final_hashes_of_two_processes():
    report = oarlock.testing.simulate(raffles.SetOrder, raffles.command, snapshots_unchecked=True, clusters=5)
    assert not report.findings  # all machines of this process have the same order
    one, other = (final(raffles.SetOrder, hash_seed) for hash_seed in ("1", "2"))
    print("SetOrder ends as", one, "or as", other)
    assert one and other and one != other
    assert final(raffles.Raffle, "1") == final(raffles.Raffle, "2") == "bb154fd734b05fa4"
