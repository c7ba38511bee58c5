"""Checks of state machines: on which thread they call, what comes out of them and how. What they find in machines of every kind is
shown by examples/python-broken."""

from __future__ import annotations

import gc
import os
import pickle
import re
import signal
import sys
import threading
import weakref

import pytest
from conftest import PATIENCE

import oarlock
import oarlock.testing
from oarlock.testing import CheckFailed, check_state_machine, simulate


class Sum(oarlock.StateMachine):
    """A right one, of numbers of at most four digits."""

    def __init__(self):
        self.value = 0
        self.due = None

    def apply(self, entry):
        if not entry.command.isdigit() or len(entry.command) > 4:
            raise oarlock.CommandError(b"no number")
        self.value += int(entry.command)
        if self.value % 7 == 0:
            self.due = entry.time + 5
        return b"%d" % self.value

    def query(self, request):
        if request == b"secret":
            raise PermissionError("not for you")
        return b"%d" % self.value

    def snapshot(self, writer):
        writer.write(b"%d %d." % (self.value, self.due or 0))

    def restore(self, reader):
        whole = reader.read()
        if not whole.endswith(b"."):
            raise ValueError("it ends too early")
        value, due = map(int, whole[:-1].split())
        self.value, self.due = value, due or None

    def state_hash(self):
        return hash((self.value, self.due or 0))

    def next_due(self):
        return self.due

    def expire(self, index, time):
        if self.due is not None and self.due <= time:
            self.value, self.due = self.value + 1, None


def number(chance):
    return b"%d" % chance.randrange(1000)


def check(machine, command=number, **settings):
    return check_state_machine(machine, command, snapshots_unchecked=True, **settings)


def test_a_right_machine_passes_and_the_report_says_what_was_looked_at():
    report = check(Sum, query=[b"", b"secret"], seed=7, commands=100)
    assert report.findings == [] and report.unchecked == [] and report.checks > 10 and report.commands == 100 and report.clusters == 0
    report = simulate(Sum, number, clusters=3, clusters_from=5, snapshots_unchecked=True)
    assert report.clusters == 3 and report.virtual_seconds > 10
    assert min(report.changes, report.snapshots, report.restores, report.queries, report.faults) > 0
    with pytest.raises(CheckFailed, match="none of 300 commands changed the state") as caught:
        check(Sum, None)
    assert any("random bytes; give commands" in line for line in caught.value.report.unchecked)
    assert check(Sum, [b"1", b"22", b"x"]).findings == []


@pytest.mark.parametrize("checks", [check, lambda machine: simulate(machine, number, clusters=2, snapshots_unchecked=True)])
def test_every_method_is_called_on_the_thread_that_called(checks):
    local = threading.local()
    local.mine = "yes"
    names = set()

    def here(name):
        names.add(name)
        assert local.mine == "yes"

    class Here(Sum):
        def __getattribute__(self, name):
            if not name.startswith("_") and callable(getattr(Sum, name, None)):
                here(name)
            return super().__getattribute__(name)

    checks(Here)
    assert names >= {"apply_batch", "query", "prepare_snapshot", "write_snapshot", "restore", "state_hash", "next_due", "expire"}
    thread = threading.Thread(target=lambda: (setattr(local, "mine", "yes"), checks(Here), names.add("another thread")))
    thread.start()
    thread.join()
    assert "another thread" in names


class Unhashed(Sum):
    state_hash = oarlock.StateMachine.state_hash


def test_a_report_has_the_hash_of_the_state_after_the_last_command():
    made = []

    class Kept(Sum):
        def __init__(self):
            super().__init__()
            made.append(self)

    report = check(Kept)
    assert report.final == f"{made[0].state_hash() % 2**64:016x}"  # the first one executes the commands once
    assert simulate(Sum, number, clusters=1, snapshots_unchecked=True).final == report.final
    assert check(Sum, seed=2).final not in ("", report.final)
    assert check(Unhashed).final == "456730991b399e85"  # as in every process
    assert check(Unhashed, snapshots_vary=True).final == ""
    with pytest.raises(CheckFailed) as caught:
        check(Breaks)
    assert caught.value.report.final == ""


class Forgets(Sum):
    def restore(self, reader):
        super().restore(reader)
        self.value -= self.value % 2


def test_a_finding_has_all_that_is_needed_to_see_it_again():
    with pytest.raises(CheckFailed, match="a restored snapshot equals replay") as caught:
        check(Forgets, seed=3)
    error = caught.value
    assert isinstance(error, AssertionError) and isinstance(error, oarlock.Error) and error.code == oarlock.Status.ERR_CHECK_FAILED
    finding = error.report.findings[0]
    assert str(finding) in str(error) and finding.seed == 3 and not finding.clustered and "again with seed=3" in str(finding)
    assert len(finding.hashes) == 2 and finding.hashes[0] != finding.hashes[1]
    assert finding.script and all(isinstance(command.command, bytes) for command in finding.script)
    with pytest.raises(CheckFailed) as again:
        check(Forgets, seed=3)
    assert again.value.report == error.report
    thawed = pickle.loads(pickle.dumps(error))
    assert (type(thawed), str(thawed), thawed.report, thawed.code) == (CheckFailed, str(error), error.report, error.code)


def test_what_only_a_cluster_shows_has_its_seed_and_its_story():
    class Aging(Sum):
        restores, sound_until = 0, sys.maxsize

        def restore(self, reader):
            super().restore(reader)
            Aging.restores += 1
            if Aging.restores > Aging.sound_until:
                self.value += 1

    check_state_machine(Aging, number, snapshots_unchecked=True)
    Aging.sound_until = 2 * Aging.restores  # so often is restored in the checks of one machine alone, which come first below
    with pytest.raises(CheckFailed, match=r"again with clusters_from=\d+, clusters=1$") as caught:
        simulate(Aging, number, clusters=50, clusters_from=3, snapshots_unchecked=True)
    finding = caught.value.report.findings[0]
    assert finding.clustered and finding.seed >= 3 and "server" in finding.story


class Breaks(Sum):
    def apply(self, entry):
        if self.value > 100:
            raise LookupError("no such thing")
        return super().apply(entry)


def test_an_exception_of_the_machine_is_the_cause_with_its_traceback():
    with pytest.raises(CheckFailed, match=r"(?s)every command is executed.*Traceback.*LookupError: no such thing") as caught:
        check(Breaks)
    cause = caught.value.__cause__
    assert isinstance(cause, LookupError)
    names = []
    at = cause.__traceback__
    while at is not None:
        names.append(at.tb_frame.f_code.co_name)
        at = at.tb_next
    assert names[-1] == "apply"


class OutOfIdeas(Exception):
    pass


def raising(error):
    def method(*_):
        raise error.with_traceback(None)  # one error many times: its traceback would grow

    return method


GO = re.compile("ApplyBatch|Apply|StateHash|Hasher|NextDue|Restore|Expire|Snapshot|WriteTo|Query|Entry|Options|panick|OAR_")


def refusing(*_):
    raise RuntimeError("Apply of Snapshot with OAR and Query: the Restore of my own Options")


def mistakes():
    """Machines whose reports have spoken of Go, and what is said now."""

    class Borders(Sum):
        def apply_batch(self, entries):
            results = super().apply_batch(entries)
            self.value += len(entries) > 3
            return results

    class Short(Sum):
        def apply_batch(self, entries):
            return super().apply_batch(entries)[1:] if len(entries) > 3 else super().apply_batch(entries)

    class Blind(Sum):
        def state_hash(self):
            return 7

    class Late(Sum):
        def expire(self, index, time):
            pass

    class Undamaged(Unhashed):
        def restore(self, reader):
            value, due = map(int, reader.read().rstrip(b".").split())
            self.value, self.due = value, due or None

    class Half(Sum):
        def restore(self, reader):
            self.value = 1
            super().restore(reader)

    class Varies(Unhashed):
        written = 0

        def snapshot(self, writer):
            Varies.written += 1
            writer.write(b" " * (Varies.written % 3))
            super().snapshot(writer)

    yield Borders, "a batch equals its commands one by one"
    yield Short, r"apply of \d+ commands .* failed, which would stop every replica: Traceback"
    yield Blind, "state_hash tells states apart"
    yield Late, "next_due is still due after expire"
    yield Undamaged, "was restored without an error"
    yield Half, "left a changed state behind .*have the capture of a snapshot fail from then on"
    yield Varies, "set snapshots_vary=True"
    for method in ("apply", "snapshot", "restore", "expire"):
        yield type("Machine", (Sum,), {method: refusing}), OWN  # its words stay what they are, and so it stays the cause
    yield type("Machine", (Sum,), {"prepare_snapshot": lambda self: b"", "write_snapshot": refusing}), OWN


OWN = "RuntimeError: Apply of Snapshot with OAR and Query: the Restore of my own Options"


@pytest.mark.parametrize(("machine", "said"), mistakes())
def test_a_report_speaks_of_what_there_is_in_python_and_leaves_the_words_of_the_machine(machine, said):
    with pytest.raises(CheckFailed, match=f"(?s){said}") as caught:
        simulate(machine, number, clusters=2, snapshots_unchecked=machine.__name__ != "Undamaged")
    finding = caught.value.report.findings[0]
    for text in (str(caught.value), finding.check, finding.text, str(finding), *caught.value.report.unchecked):
        theirs = re.sub(r'(?s)Traceback.*?\n\w+Error: .*?(\n|$)|"[^"]*"', "", text)
        assert not GO.search(theirs.replace("the state machine breaks a promise", "")), theirs
        assert "host" not in text
    if said == OWN:
        assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("checks", [check_state_machine, simulate])
def test_what_the_tests_own_code_raises_comes_out_as_it_is(checks):
    error = OutOfIdeas()
    calls = [
        lambda: checks(raising(error), number),
        lambda: checks(Sum, raising(error)),
        lambda: checks(Sum, number, raising(error)),
        lambda: checks(type("Machine", (Sum,), {"state_hash": raising(error)}), number),
        lambda: checks(type("Machine", (Sum,), {"next_due": raising(error)}), number),
    ]
    for call in calls:
        with pytest.raises(OutOfIdeas) as caught:
            call()
        assert caught.value is error


@pytest.mark.parametrize("checks", [check, lambda machine: simulate(machine, number, clusters=2, snapshots_unchecked=True)])
@pytest.mark.parametrize("error", [SystemExit(0), SystemExit(3), GeneratorExit()])
@pytest.mark.parametrize("method", ["apply", "snapshot", "restore", "expire"])
def test_an_exit_in_a_machine_is_its_failure_and_does_not_end_the_test_as_a_success(method, error, checks):
    with pytest.raises(CheckFailed, match=f"(?s)Traceback.*{type(error).__name__}") as caught:
        checks(type("Machine", (Sum,), {method: raising(error)}))
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("method", ["next_due", "state_hash"])
def test_an_exit_where_a_machine_cannot_fail_is_an_error(method):
    with pytest.raises(oarlock.StateMachineError, match=rf"{method} raised SystemExit\(0\)") as caught:
        check(type("Machine", (Sum,), {method: raising(SystemExit(0))}))
    assert isinstance(caught.value.__cause__, SystemExit)


@pytest.mark.parametrize("checks", [check, lambda machine: simulate(machine, number, clusters=2, snapshots_unchecked=True)])
def test_a_query_that_returns_no_bytes_is_a_finding_and_one_that_raises_is_none(checks):
    with pytest.raises(CheckFailed, match=r'(?s)the query .* got no answer: .*query returned str, it must return bytes or None') as caught:
        checks(type("Machine", (Sum,), {"query": lambda *_: "seven"}))
    assert isinstance(caught.value.__cause__, TypeError)
    assert "stop" not in str(caught.value)
    assert checks(type("Machine", (Sum,), {"query": raising(TypeError("query returned str"))})).findings == []
    assert checks(type("Machine", (Sum,), {"query": raising(oarlock.QueryError("no such thing"))})).findings == []
    assert checks(type("Machine", (Sum,), {"query": lambda *_: None})).findings == []


def test_an_exit_in_a_query_goes_to_whoever_asked_as_on_a_server():
    assert check(type("Machine", (Sum,), {"query": raising(SystemExit(0))})).findings == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), pytest.fail.Exception("a failing test")])
@pytest.mark.parametrize("method", ["apply", "query", "snapshot", "restore", "expire"])
def test_what_ends_a_program_ends_the_check(method, error):
    called = []

    def ending(*_):
        called.append(method)
        raise error

    with pytest.raises(type(error)) as caught:
        check(type("Machine", (Sum,), {method: ending}))
    assert caught.value is error and called == [method]


def test_ctrl_c_has_its_usual_handler_afterwards():
    usual = signal.getsignal(signal.SIGINT)
    check(Sum, commands=20)
    assert signal.getsignal(signal.SIGINT) is usual
    mine = raising(OutOfIdeas())
    signal.signal(signal.SIGINT, mine)
    try:
        check(Sum, commands=20)
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, usual)


INTERRUPTED = """
import sys, time
import oarlock, oarlock.testing
sys.path.insert(0, sys.argv[2])
from test_checking import Sum, number

class Machine(Sum):
    said = False
    def apply(self, entry):
        if not Machine.said:
            Machine.said = True
            print("running", flush=True)
        if sys.argv[3] == "in a loop":
            while True:
                pass
        return super().apply(entry)

try:
    oarlock.testing.simulate(Machine, number, clusters=100000, snapshots_unchecked=True)
finally:
    print(oarlock.debug_counts().bytes, flush=True)
"""


@pytest.mark.parametrize("where", ["anywhere", "in a loop"])
def test_ctrl_c_ends_the_check_at_once(script, where):
    process = script(INTERRUPTED, os.path.dirname(os.path.abspath(__file__)), where)
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT and "KeyboardInterrupt" in err and "Exception ignored" not in err
    assert out == "0\n"


def test_a_machine_must_not_wait_for_the_library():
    tried = []

    class Waits(Sum):
        def apply(self, entry):
            if not tried:
                for call in (lambda: check(Sum), lambda: simulate(Sum, number), lambda: cluster.propose(b"1"), cluster.settle):
                    with pytest.raises(oarlock.WouldDeadlock):
                        call()
                tried.append(entry)
            return super().apply(entry)

    with oarlock.testing.Cluster(Sum, 1) as cluster:
        check(Waits, commands=20)
        assert tried
        cluster.settle()  # this thread may wait again


def test_machines_are_gone_when_the_check_is_over():
    made = []

    class Watched(Sum):
        def __init__(self):
            super().__init__()
            made.append(weakref.ref(self))

    before = oarlock.debug_counts()
    simulate(Watched, number, clusters=2, snapshots_unchecked=True)
    gc.collect()
    assert len(made) > 10 and not [machine for machine in made if machine() is not None]
    assert oarlock.debug_counts().bytes == before.bytes


def test_what_cannot_be_checked_is_refused_by_name():
    class NoSnapshots(oarlock.StateMachine):
        def apply(self, entry):
            return None

        def query(self, request):
            return None

    with pytest.raises(TypeError, match="no snapshots"):
        check(NoSnapshots)
    with pytest.raises(TypeError, match="must be an oarlock.StateMachine"):
        check(lambda: 7)
    kinds = iter([Sum, NoSnapshots])
    with pytest.raises(TypeError, match="other methods"):
        check(lambda: next(kinds)())
    for command in ([], b"join"):
        with pytest.raises(TypeError, match="list of bytes"):
            check(Sum, command)
    with pytest.raises(TypeError, match="a command must be bytes"):
        check(Sum, lambda chance: "text")
    with pytest.raises(oarlock.UsageError, match="commands"):
        check(Sum, commands=-1)


def test_no_seed_and_no_commands_are_not_the_defaults():
    for name, most in (("seed", 2**64 - 1), ("commands", 1000000)):
        for checks in (check_state_machine, simulate):
            with pytest.raises(oarlock.UsageError, match=f"{name} is 0: it must be from 1 to {most}"):
                checks(Sum, number, **{name: 0})
    for name, most in (("clusters", 1000000), ("clusters_from", 2**64 - 1)):
        with pytest.raises(oarlock.UsageError, match=f"{name} is 0: it must be from 1 to {most}"):
            simulate(Sum, number, **{name: 0})
    with pytest.raises(oarlock.UsageError, match="clusters_from"):  # and not a success without a cluster
        simulate(Sum, number, clusters=2, clusters_from=2**64 - 1)


def test_a_child_is_refused():
    pid = os.fork()
    if pid == 0:
        try:
            check(Sum)
        except oarlock.ForkedError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def test_snapshots_may_vary_where_it_is_said():
    class Varies(Sum):
        written = 0

        def snapshot(self, writer):
            super().snapshot(writer)
            Varies.written += 1
            writer.write(b" " * (Varies.written % 3) + b"#")

        def restore(self, reader):
            whole = reader.read()
            if not whole.endswith(b"#"):
                raise ValueError("it ends too early")
            value, due = map(int, whole.split(b".")[0].split())
            self.value, self.due = value, due or None

    class VariesUnhashed(Unhashed, Varies):
        pass

    check(Varies)
    with pytest.raises(CheckFailed, match="set snapshots_vary=True"):
        check(VariesUnhashed)
    report = check(VariesUnhashed, snapshots_vary=True)
    assert any("have a state_hash" in line for line in report.unchecked)
