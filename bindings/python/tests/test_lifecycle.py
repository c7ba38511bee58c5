"""What happens at the edges of a process' life: exit, fork, signals, the collector, pickling, closing while others wait."""

from __future__ import annotations

import gc
import pickle
import signal
import threading
import time
import warnings

import pytest
from conftest import PATIENCE, Counter

import oarlock

SETUP = """
import os, pathlib, sys, threading, time
import oarlock
from conftest import PATIENCE, Counter, new_config
config = new_config(pathlib.Path(sys.argv[1]), timing_close_timeout="1s")

def proposing(server):
    while True:
        try:
            server.propose(b"1")
        except oarlock.Error:
            return
"""


def ended(process, code):
    """Waits for a process, and returns what it printed on both streams."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, (process.returncode, out, err)
    assert "Fatal Python error" not in err and "panic" not in err, err
    return out, err


# ---- Exit ----


@pytest.mark.parametrize(
    ("end", "code"), [("", 0), ("sys.exit(3)", 3), ("raise ValueError('no')", 1), ("os.kill(os.getpid(), 2); time.sleep(5)", -2)]
)
def test_open_servers_with_busy_threads_are_closed_at_exit(script, end, code):
    process = script(
        SETUP
        + f"""
server = oarlock.Server(config, 1, Counter()).start()
server.wait_ready(PATIENCE)
client = oarlock.Client(config)
client.propose(b"1")
events = server.events()
for target in [proposing] * 8:
    threading.Thread(target=target, args=(server,), daemon=True).start()
threading.Thread(target=list, args=(server.events(),), daemon=True).start()
futures = [server.propose_future(b"1") for _ in range(1000)]
print("exits")
{end}
"""
    )
    out, err = ended(process, code)
    assert "exits" in out and "ResourceWarning" not in err


def test_a_machine_that_is_stuck_delays_the_exit_by_the_close_timeout_only(script):
    process = script(
        SETUP
        + """
class Stuck(Counter):
    def apply(self, entry):
        print("stuck", flush=True)
        time.sleep(1000)
server = oarlock.Server(config, 1, Stuck()).start()
server.wait_ready(PATIENCE)
server.propose_future(b"1")
time.sleep(0.3)
sys.exit(4)
"""
    )
    ended(process, 4)


def test_the_exit_of_a_process_that_never_used_the_library_does_not_load_it(script):
    process = script("import oarlock\nfrom oarlock import _abi\nimport atexit\nassert not _abi.loaded()\n")
    ended(process, 0)


# ---- Signals ----


@pytest.mark.parametrize(
    "wait",
    [
        "oarlock.Client(servers='127.0.0.1:1').propose(b'1')",
        "oarlock.Client(servers='127.0.0.1:1').query(b'1', timeout=3600)",
        "oarlock.Client(servers='127.0.0.1:1').propose_future(b'1').result()",
        "oarlock.Client(servers='127.0.0.1:1').barrier()",
        "lonely.start().wait_ready()",
        "lonely.start().wait_stopped(3600)",
        "list(lonely.start().events())",
        "list(lonely.start().events() for _ in [0]) and lonely.events().next(3600)",
    ],
)
def test_control_c_ends_every_wait(script, wait):
    process = script(
        SETUP
        + f"""
lonely = oarlock.Server(new_config(pathlib.Path(sys.argv[1]), 3), 1, Counter())
print("waits", flush=True)
{wait}
print("did not wait")
"""
    )
    assert process.stdout.readline() == "waits\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = ended(process, -2)
    assert "KeyboardInterrupt" in err and not out, (out, err)


def test_control_c_in_a_wait_leaves_the_server_in_order(script):
    process = script(
        SETUP
        + """
class Slow(Counter):
    may = threading.Event()
    def apply(self, entry):
        self.may.wait()
        return super().apply(entry)
with oarlock.Server(config, 1, Slow()) as server:
    server.wait_ready(PATIENCE)
    try:
        print("waits", flush=True)
        server.propose(b"1")
    except KeyboardInterrupt:
        print("interrupted")
    Slow.may.set()
    print(server.propose(b"1", PATIENCE))
print(oarlock.debug_counts().calls)
"""
    )
    assert process.stdout.readline() == "waits\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert ended(process, 0)[0].split("\n") == ["interrupted", "b'2'", "0", ""]


# ---- Fork ----

IN_CHILD = """
def in_child():
    def error_of(call):
        try:
            return repr(call())
        except BaseException as error:
            return type(error).__name__
    calls = [lambda: server.propose(b"1"), lambda: server.propose_future(b"1"), lambda: server.query(b""), server.barrier, server.status,
             server.close, server.start, server.events, server.wait_ready, server.wait_stopped, oarlock.Config, future.result,
             lambda: client.propose(b"1"), client.close, lambda: oarlock.Server(config, 1, Counter()), server.session,
             lambda: oarlock.Client(servers="a:1"), oarlock.debug_counts, lambda: next(events)]
    said = [error_of(call) for call in calls]
    assert said == ["ForkedError"] * len(calls), said

server = oarlock.Server(config, 1, Counter()).start()
server.wait_ready(PATIENCE)
client, events, future = oarlock.Client(config), server.events(), server.propose_future(b"1")
client.propose(b"1")
for _ in range(4):
    threading.Thread(target=proposing, args=(server,), daemon=True).start()
"""


def test_a_forked_child_is_told_at_once_and_exits_as_it_wants(script):
    process = script(
        SETUP
        + "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
        + IN_CHILD
        + """
for _ in range(5):
    child = os.fork()
    if child == 0:
        in_child()
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert int(server.propose(b"1", PATIENCE)) > 2
print("parent goes on")
"""
    )
    out, err = ended(process, 0)
    assert out == "parent goes on\n" and not err


def test_a_child_that_was_forked_in_a_state_machine_is_told_that_it_was_forked(script):
    process = script(
        SETUP
        + """
class Forks(Counter):
    def apply(self, entry):
        child = os.fork()
        if child == 0:
            for call in (lambda: server.propose(b"1"), server.barrier, server.close, lambda: server.query(b""), future.result):
                try:
                    call()
                    os._exit(1)
                except oarlock.ForkedError:
                    pass
                except BaseException as error:
                    print(type(error), error, flush=True)
                    os._exit(2)
            os._exit(7)
        return b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
server = oarlock.Server(config, 1, Forks()).start()
server.wait_ready(PATIENCE)
from oarlock._calls import CallFuture
future = CallFuture()
print(server.propose(b"1", PATIENCE).decode())
"""
    )
    assert ended(process, 0)[0] == "7\n"


def test_multiprocessing_works_with_spawn_and_says_so_with_fork(script):
    process = script(
        "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
        "import multiprocessing\n"
        "def versions():\n    import oarlock; assert oarlock.version() and oarlock.Config().members == []\n"
        "if __name__ == '__main__':\n    exec(open(__import__('sys').argv[1] + '/main.py').read())\n"
    )
    process.kill()
    text = SETUP + IN_CHILD + """
for method, target in (("fork", in_child), ("spawn", versions)):
    child = multiprocessing.get_context(method).Process(target=target)
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == 0, (method, child.exitcode)
print("fine")
"""
    folder = process.args[4]
    with open(f"{folder}/main.py", "w") as file:
        file.write(text)
    with open(process.args[3]) as file:
        again = script(file.read())
    assert ended(again, 0)[0] == "fine\n"


# ---- The collector, pickling ----


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_unclosed_server_warns_and_is_closed_when_nobody_refers_to_it(make_config):
    before = oarlock.debug_counts()
    server = oarlock.Server(make_config(), 1, Counter()).start()
    server.wait_ready(PATIENCE)
    client = oarlock.Client(servers="127.0.0.1:1")
    with pytest.warns(ResourceWarning, match="unclosed"):
        del server
        gc.collect()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del client
        gc.collect()
    until(lambda: oarlock.debug_counts()[2:4] == before[2:4])
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("oarlock server")])


def test_a_closed_server_does_not_warn(make_config):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        server = oarlock.Server(make_config(), 1, Counter())
        server.close()
        server.close()
        del server
        gc.collect()


def test_handles_are_not_pickled(serve):
    server = serve(Counter())
    with oarlock.Client(servers="127.0.0.1:1") as client, server.events() as events, server.session(PATIENCE) as session:
        for thing in (server, client, events, session):
            with pytest.raises(TypeError, match=f"an oarlock.{type(thing).__name__} cannot be pickled"):
                pickle.dumps(thing)


# ---- Closing ----


def test_threads_that_wait_while_the_server_closes_are_all_answered(make_config):
    class Slow(Counter):
        def apply_batch(self, entries):
            time.sleep(0.02)
            return super().apply_batch(entries)

    server = oarlock.Server(make_config(), 1, Slow()).start()
    server.wait_ready(PATIENCE)
    ends = []

    def use(i):
        calls = (lambda: server.propose(b"1"), lambda: server.query(b""), lambda: server.propose_future(b"1").result(),
                 server.barrier, server.group_info, server.status)  # fmt: skip
        try:
            while True:
                calls[i % len(calls)]()
        except BaseException as error:
            ends.append(error)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(64)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    closers = [threading.Thread(target=server.close) for _ in range(4)]
    for thread in closers + threads:
        if not thread.is_alive() and thread in closers:
            thread.start()
    for thread in closers + threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert len(ends) == 64
    strange = [e for e in ends if not isinstance(e, (oarlock.Closed, oarlock.UnknownOutcome))]
    assert not strange, strange


def test_what_is_stuck_is_named_and_closing_may_be_tried_again(make_config):
    class Stuck(Counter):
        entered, may = threading.Event(), threading.Event()

        def apply(self, entry):
            self.entered.set()
            self.may.wait(PATIENCE)

    server = oarlock.Server(make_config(timing_close_timeout="200ms"), 1, Stuck()).start()
    server.wait_ready(PATIENCE)
    future = server.propose_future(b"1")
    assert Stuck.entered.wait(PATIENCE)
    with pytest.raises(oarlock.Error) as caught:
        server.close()
    assert "apply" in str(caught.value) or "work" in str(caught.value) or "machine" in str(caught.value)
    Stuck.may.set()
    server.close()
    assert isinstance(future.exception(PATIENCE), (oarlock.UnknownOutcome, type(None)))


def test_ctrl_c_ends_the_closing_of_what_is_stuck(script):
    process = script(
        SETUP.replace('"1s"', '"1h"')
        + """
class Stuck(Counter):
    entered, may = threading.Event(), threading.Event()
    def apply(self, entry):
        self.entered.set()
        self.may.wait()
server = oarlock.Server(config, 1, Stuck()).start()
server.wait_ready(PATIENCE)
server.propose_future(b"1")
assert Stuck.entered.wait(PATIENCE)
try:
    print("closing", flush=True)
    server.close()
except KeyboardInterrupt:
    print("interrupted", flush=True)
Stuck.may.set()
server.close()
"""
    )
    assert process.stdout.readline() == "closing\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert ended(process, 0)[0] == "interrupted\n"


def test_a_log_handler_may_close_its_server(make_config):
    import logging

    done = threading.Event()

    class Closes(logging.Handler):
        def emit(self, record):
            if not done.is_set():
                done.set()
                server.close()

    handler = Closes()
    logging.getLogger("oarlock").addHandler(handler)
    level = logging.getLogger("oarlock").level
    logging.getLogger("oarlock").setLevel(logging.DEBUG)
    try:
        server = oarlock.Server(make_config(), 1, Counter(), log="debug").start()
        assert done.wait(PATIENCE)
        server.close()
    finally:
        logging.getLogger("oarlock").removeHandler(handler)
        logging.getLogger("oarlock").setLevel(level)


def test_a_thousand_servers_leave_nothing_behind(make_config):
    config = make_config()
    gc.collect()
    threads = threading.active_count()

    def once(i):
        with oarlock.Server(config, 1, Counter(), log=None if i % 2 else "info") as server:
            if i % 10 == 0:
                server.wait_ready(PATIENCE)
                assert server.propose(b"1", PATIENCE) == b"1"

    once(0)
    before = oarlock.debug_counts()
    for i in range(1000):
        once(i)
    until(lambda: all(now <= then for now, then in zip(oarlock.debug_counts(), before)))
    until(lambda: threading.active_count() <= threads)
