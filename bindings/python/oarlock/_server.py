"""A member of a cluster, in this process."""

from __future__ import annotations

import json
import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Optional, Protocol, TypeVar, Union

from . import _abi, _abi_orders, _lifecycle
from ._calls import CallFuture, functions, query_options
from ._config import Config, Path, as_config
from ._consistency import Consistency
from ._errors import Closed, Error, WouldDeadlock
from ._events import Events, LogThread
from ._governing import Governor
from ._machine import StateMachine, pull_flags
from ._members import Member
from ._session import Session
from ._status import Role, Status
from ._waiting import BytesLike, beside, in_machine, in_slices, nanoseconds, refuse_in_machine
from ._work import SNAPSHOTS, THE_REST, Worker

log = logging.getLogger("oarlock")
T = TypeVar("T")


class GroupInfo(NamedTuple):
    """A look at one replica."""

    role: Role
    term: int
    leader: int
    """Its id; 0: not known."""
    commit_index: int
    applied_index: int
    last_index: int
    snapshot_index: int
    """Of the newest snapshot."""
    sessions: int
    """Open ones."""
    commands: int
    """Executed since the server started."""
    voters: int
    learners: int
    fenced: bool
    """The replica has stopped for good."""
    refused: bool
    """The other servers refuse this one; the status says why."""
    membership_index: int
    """The entry that brought the membership in use; committed if not above commit_index."""
    changing: bool
    """A change of the membership is open."""
    removed: bool
    """This server was a member and is none any more."""
    transferring: bool
    """This server leads and is handing over."""
    successor: int
    """To whom; 0: none is chosen yet."""
    lease: bool
    """This server leads and holds a lease."""
    storage_hung: bool
    """Saves are under way, and none has completed for an election timeout."""
    priority: int
    """This server's claim to leadership."""


class _Core:
    """What the server's threads share. They know this and not the Server, which can so be collected while they run."""

    def __init__(self, config: Config, server_id: int, machine: StateMachine, log_levels: Optional[str]) -> None:
        options = _abi.ServerOptions(flags=_abi.SERVER_PULL, pull_flags=pull_flags(machine))
        number = _abi.handle_from(_abi.library().server_open, config.handle, server_id, _abi.byref(options))
        self.handle = _lifecycle.Handle(number, "server")
        self.name = f"oarlock server {server_id}"
        self.stopped: Optional[Error] = None  # why it stopped by itself, kept for after the close
        self._lock = threading.Lock()
        self._started = False
        captures: dict[int, Any] = {}
        self._threads: list[threading.Thread] = [
            Worker(number, machine, captures, kinds, f"{self.name}{what}")
            for kinds, what in ((THE_REST, ""), (SNAPSHOTS, " snapshots"))
        ]
        self._log: Optional[LogThread] = None
        if log_levels is not None:
            try:
                self._log = LogThread(number, log_levels, f"{self.name} log")
            except BaseException:
                _abi.library().server_free(number)
                raise
            self._threads.append(self._log)
        _lifecycle.opened(self)

    def start(self) -> None:
        refuse_in_machine("starting a server")
        _lifecycle.refuse_forked()
        with self._lock:
            number = self.handle.number
            if not self._started:
                self._started = True
                for thread in self._threads:
                    thread.start()
        _abi.check(_abi.library().server_start(number))

    def close(self, patience: Optional[float] = None) -> None:
        """Hands leadership over, closes and releases. After a failure it may be called again.

        Patience is for threads whose work was abandoned.
        """
        _lifecycle.refuse_forked()
        if in_machine():
            raise WouldDeadlock("closing a server inside of a state machine would wait for the state machine itself")
        # Who closes joins the thread of the log: a log handler that closes as well leaves it to him.
        if not self._lock.acquire(blocking=threading.current_thread() is not self._log):
            return
        try:
            if not self.handle.closed:
                self._close(patience)
        finally:
            self._lock.release()

    def _close(self, patience: Optional[float]) -> None:
        lib, number = _abi.library(), self.handle.number
        self._note_why_it_stopped(number)
        beside(lambda: _abi.check(lib.server_close(number)))
        if self._started:
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join(patience)
        elif self._log is not None:
            self._log.end()
        self.handle.closed = True
        status = lib.server_free(number)
        if status != Status.OK:
            self.handle.closed = False
            _abi.check(status)
        _lifecycle.closed(self)

    def _note_why_it_stopped(self, number: int) -> None:
        status = _abi.library().server_wait_stopped(number, 0)
        if status not in (Status.OK, Status.ERR_TIMEOUT, Status.ERR_CLOSED, Status.ERR_ORDER):
            self.stopped = _abi.last_failure(status, _abi.library())

    def close_at_exit(self) -> None:
        try:
            self.close()
        except Error as error:
            log.error("%s does not close, its work is given up: %s", self.name, error)
            _abi.library().work_abandon(self.handle.number)
            self.close(patience=0.1)

    def close_unreferenced(self) -> None:
        """Closes on a thread of its own: the collector runs anywhere, also in a state machine and below a lock of logging."""
        try:
            threading.Thread(target=self._close_and_log, name=f"{self.name} close", daemon=True).start()
        except RuntimeError:
            pass  # the interpreter ends; what runs at its exit closes this

    def _close_and_log(self) -> None:
        try:
            self.close()
        except Error as error:
            log.error("%s, which nobody refers to any more, does not close: %s", self.name, error)


class Core(Protocol):
    """What starts and closes a server."""

    handle: _lifecycle.Handle
    stopped: Optional[Error]

    def start(self) -> None: ...
    def close(self) -> None: ...
    def close_unreferenced(self) -> None: ...


class Server(Governor):
    """A member of a cluster. Making one opens nothing yet; ``start`` does, and so does ``with``::

        with oarlock.Server("cluster.toml", 1, Counter()) as server:
            server.wait_ready(timeout=10)
            server.propose(b"1", timeout=2)

    What it logs goes to logger "oarlock" and those below it; ``log`` says what, as "raft=debug,tcp=off,info" for instance,
    and None says nothing. All methods may be called on all threads.
    """

    def __init__(
        self, config: Union[Config, Path], server_id: int, machine: StateMachine, *, log: Optional[str] = "info"
    ) -> None:
        self._adopt(_Core(as_config(config), _abi.whole(server_id, "server_id"), machine, log), server_id)

    def _adopt(self, core: Core, server_id: int) -> None:
        self._functions = functions("")
        self._core = core
        self._handle = core.handle
        self.server_id = server_id
        self._owner: Any = None  # of a server that is not closed by whoever forgets it

    @classmethod
    def _of(cls, core: Core, server_id: int, owner: Any) -> Server:
        """A server that a cluster starts and closes."""
        server = cls.__new__(cls)
        server._adopt(core, server_id)
        server._owner = owner
        return server

    def start(self) -> Server:
        """Opens the store and the network and starts. A snapshot is restored and the log applied beside. After a failure it may
        be called again."""
        self._core.start()
        return self

    def wait_ready(self, timeout: Optional[float] = None) -> None:
        """Waits until this server knows a leader and has applied what was committed when it learned of it."""
        refuse_in_machine("waiting for a server")
        self._wait(_abi.library().server_wait_ready, timeout)

    def wait_stopped(self, timeout: Optional[float] = None) -> None:
        """Waits until the server stops. It returns if it was closed, and raises why if it stopped by itself."""
        refuse_in_machine("waiting for a server")
        try:
            self._wait(_abi.library().server_wait_stopped, timeout)
        except Closed:
            if self._core.stopped is not None:
                raise self._core.stopped from None

    def _wait(self, function: Any, timeout: Optional[float]) -> None:
        try:
            _abi.check(in_slices(lambda slice: int(function(self._handle.number, slice)), timeout))
        except Error as error:
            raise self._handle.plain(error)

    def propose(
        self, command: BytesLike, timeout: Optional[float] = None, *, session: int = 0, sequence: int = 0, floor: int = 0
    ) -> bytes:
        """Has the group execute a command, and returns its result. One attempt at this server: NotLeader where it does not lead.

        When the time is over, or the server closes, the command may have been applied or may yet be: ``maybe_committed``.
        In a session the same sequence may be proposed again, and is executed once.
        """
        if session or sequence or floor:
            return self._propose(command, timeout, session=session, sequence=sequence, floor=floor)
        return self._propose(command, timeout)

    def propose_future(
        self, command: BytesLike, timeout: Optional[float] = None, *, session: int = 0, sequence: int = 0, floor: int = 0
    ) -> CallFuture:
        """The same without waiting. What refuses the command at the door, Busy for instance, is raised here. A state machine may
        call this one."""
        if session or sequence or floor:
            return self._propose_future(command, timeout, session=session, sequence=sequence, floor=floor)
        return self._propose_future(command, timeout)

    def barrier(self, timeout: Optional[float] = None, consistency: Consistency = Consistency.LINEARIZABLE) -> None:
        """Returns when this server, leader or not, has applied what a query of that consistency would have to reflect; without one,
        everything that was answered to anyone before."""
        self._beside(_abi.library().barrier_at, query_options(consistency, 0), nanoseconds(timeout))

    def member(self, address: str = "") -> Member:
        """This server, once it was started, as ``add_voter`` and its like take it. ``address`` is where the others reach it."""
        i = _abi_orders.IdentityStruct()
        self._direct(lambda: _abi.check(_abi.library().server_identity(self._handle.number, _abi.byref(i))))
        return Member(i.server, address, bytes(i.store))

    def session(self, timeout: Optional[float] = None) -> Session:
        """Opens a session that numbers its commands and tries them again."""
        return Session(self, timeout)

    def open_session(self, timeout: Optional[float] = None) -> int:
        """Opens a session and returns its id, for ``propose(session=...)``."""
        return self._run(lambda: _abi.number_from(_abi.library().session_open, self._handle.number, 0, nanoseconds(timeout)))

    def keep_session(self, session: int, timeout: Optional[float] = None) -> None:
        """Keeps a session from expiring."""
        self._beside(_abi.library().session_keep, 0, _abi.whole(session, "session"), nanoseconds(timeout))

    def close_session(self, session: int, timeout: Optional[float] = None) -> None:
        """Ends a session. Ending one that has ended is no error."""
        self._beside(_abi.library().session_close, 0, _abi.whole(session, "session"), nanoseconds(timeout))

    def snapshot(self, timeout: Optional[float] = None) -> None:
        """Takes a snapshot of this server's replica and returns when it is durable. Pending, a TimeoutError, when the time is
        over: it goes on."""
        self._beside(_abi.library().server_snapshot, 0, nanoseconds(timeout))

    def status(self) -> dict[str, Any]:
        """Everything that the server knows of itself: groups, queues and their bounds, counters, transport."""
        status: dict[str, Any] = json.loads(
            self._direct(lambda: _abi.text_from(_abi.library().server_status_json, self._handle.number))
        )
        return status

    def group_info(self) -> GroupInfo:
        """A look at the replica. It waits for no disk and no network."""
        i = _abi.GroupInfoStruct()
        self._direct(lambda: _abi.check(_abi.library().server_group_info(self._handle.number, 0, _abi.byref(i))))
        return GroupInfo(
            Role(i.role), i.term, i.leader, i.commit_index, i.applied_index, i.last_index, i.snapshot_index,
            i.sessions, i.commands, i.voters, i.learners, bool(i.fenced), bool(i.refused), i.membership_index,
            bool(i.flags & _abi.GROUP_CHANGING), bool(i.flags & _abi.GROUP_REMOVED), bool(i.flags & _abi.GROUP_TRANSFERRING), i.successor,
            bool(i.flags & _abi.GROUP_LEASE), bool(i.flags & _abi.GROUP_STORAGE_HUNG), i.priority,
        )  # fmt: skip

    def events(self, log_levels: Optional[str] = None, room: int = 0) -> Events:
        """Subscribes to what happens from now on; with log_levels also to lines of the log. There is room for 1,024 events that
        were not taken, unless another number is given."""
        return self._direct(lambda: Events(self._handle.number, log_levels, room))

    def close(self) -> None:
        """Refuses what comes, answers everybody who waits, lets the state machine finish what it is at, and leaves nothing running.
        Closing what is closed is fine. A failure names what is stuck, and closing may be tried again."""
        self._core.close()

    def _beside(self, function: Any, *arguments: Any) -> None:
        self._run(lambda: _abi.check(function(self._handle.number, *arguments)))

    def _run(self, wait: Callable[[], T]) -> T:
        refuse_in_machine("waiting for a server")
        return beside(lambda: self._direct(wait))

    def _direct(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except Error as error:
            raise self._handle.plain(error)

    def __enter__(self) -> Server:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<oarlock.Server {self.server_id}{', closed' if self._handle.closed else ''}>"

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None and self._owner is None and not core.handle.closed and not _lifecycle.forked():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            core.close_unreferenced()

    def __reduce__(self) -> Any:
        raise _lifecycle.not_to_be_pickled(self)
