"""A cluster in memory, for tests."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any, Optional, Union

from . import _abi, _abi_orders, _abi_testing, _lifecycle
from ._calls import CallFuture
from ._client import Client, flags
from ._config import Config
from ._consistency import Consistency
from ._errors import Error, UsageError
from ._machine import StateMachine, machine_of, pull_flags
from ._members import Member
from ._server import Server
from ._status import ReadFrom, Status
from ._waiting import BytesLike, beside, in_slices, refuse_in_machine
from ._work import SNAPSHOTS, THE_REST, Worker

log = logging.getLogger("oarlock")
ServerOrId = Union[Server, int]

PATIENCE = 10.0  # seconds that a test waits for what takes a few milliseconds


class _Worker(Worker):
    """One that tells of what the machine raises, but for queries, whose exceptions go to whoever asked."""

    def __init__(self, tell: Callable[[BaseException], None], *arguments: Any) -> None:
        super().__init__(*arguments)
        self._tell = tell
        self._do = {kind: do if kind == _abi.WORK_QUERY else self._telling(do) for kind, do in self._do.items()}

    def _telling(self, do: Callable[[_abi.Work], bytes]) -> Callable[[_abi.Work], bytes]:
        def run(work: _abi.Work) -> bytes:
            try:
                return do(work)
            except Error:
                raise  # the library's: a snapshot that ends because its server does
            except BaseException as error:
                self._tell(error)
                raise

        return run


class _Run:
    """One run of a server: from its start to its stop."""

    def __init__(self, cluster: _Core, number: int, server_id: int, machine: StateMachine) -> None:
        self.handle = _lifecycle.Handle(number, "server")
        self.stopped: Optional[Error] = None
        self.machine = machine
        self._cluster, self._id = cluster, server_id
        captures: dict[int, Any] = {}
        name = f"oarlock test server {server_id}"
        self._threads = [
            _Worker(cluster.tell, number, machine, captures, kinds, name + what) for kinds, what in ((THE_REST, ""), (SNAPSHOTS, " snapshots"))
        ]

    def work(self) -> None:
        """Starts the threads that the machine runs on."""
        for thread in self._threads:
            thread.start()

    def start(self) -> None:
        raise UsageError("a server of a cluster is started by Cluster.start, which gives it another handle")

    def close(self) -> None:
        self._cluster.stop(self._id, self)

    def close_unreferenced(self) -> None:
        """The cluster closes it."""

    def note_why_it_stopped(self) -> None:
        """Keeps the reason of a server that stopped by itself."""
        status = _abi.library().server_wait_stopped(self.handle.number, 0)
        if status not in (Status.OK, Status.ERR_TIMEOUT, Status.ERR_CLOSED, Status.ERR_ORDER):
            self.stopped = _abi.last_failure(status, _abi.library())

    def end(self, patience: Optional[float]) -> None:
        """The server has been closed: its threads end. Patience is for those whose work was abandoned."""
        self.handle.closed = True
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(patience)


class _Core:
    """What the threads of the servers know of, and not the Cluster, which can so be collected while they run."""

    def __init__(self, make: Callable[[], StateMachine], servers: int, config: Optional[Config]) -> None:
        self._make = make
        self._first: Optional[StateMachine] = self._made()
        self._flags = pull_flags(self._first)
        options = _abi_testing.ClusterOptions(
            flags=_abi_testing.CLUSTER_PULL, servers=servers, pull_flags=self._flags, config=None if config is None else config.handle
        )
        self.handle = _lifecycle.Handle(_abi.handle_from(_abi.library().cluster_new, _abi.byref(options)), "cluster")
        self.runs: dict[int, _Run] = {}
        self.failures: list[BaseException] = []
        self.heard = False  # somebody was told of a failure
        self.clients: list[Client] = []
        self._lock = threading.RLock()  # held by who starts and who stops
        _lifecycle.opened(self)

    def _made(self) -> StateMachine:
        machine = machine_of(self._make)
        pull_flags(machine)  # or TypeError
        return machine

    def tell(self, error: BaseException) -> None:
        self.failures.append(error)

    def start(self, server_id: int) -> None:
        refuse_in_machine("starting a server")
        _lifecycle.refuse_forked()
        with self._lock:
            first, self._first = self._first, None
            machine = first or self._made()
            if pull_flags(machine) != self._flags:
                raise TypeError(f"this {type(machine).__name__} has other methods than the machines before it")
            self._refuse_used(machine, server_id)
            lib = _abi.library()
            try:
                _abi.check(lib.cluster_start(self.handle.number, server_id))
            except BaseException:
                self._first = machine  # as new as it was
                raise
            number = _abi.handle_from(lib.cluster_server, self.handle.number, server_id)
            self.runs[server_id] = run = _Run(self, number, server_id, machine)
            try:
                run.work()
            except BaseException:  # no more threads: the server is not left without those that do its work
                self.stop(server_id)
                raise

    def _refuse_used(self, machine: StateMachine, server_id: int) -> None:
        """Servers with one machine between them would all agree with each other, whatever it does."""
        for other, run in self.runs.items():
            if run.machine is machine:
                whose = "its machine of before" if other == server_id else f"the machine of server {other}"
                raise UsageError(f"the factory gave {whose} to server {server_id}: make a new one each time")

    def stop(self, server_id: int, only: Optional[_Run] = None, crash: bool = False, patience: Optional[float] = None) -> None:
        """Stops a server, or only one run of it."""
        refuse_in_machine("stopping a server")
        _lifecycle.refuse_forked()
        with self._lock:
            run = self.runs.get(server_id)
            if self.handle.closed or (only is not None and run is not only):
                return
            lib, number = _abi.library(), self.handle.number
            if run is not None and not run.handle.closed:
                run.note_why_it_stopped()
            beside(lambda: _abi.check((lib.cluster_crash if crash else lib.cluster_stop)(number, server_id)))
            if run is not None:
                run.end(patience)

    def close(self, patience: Optional[float] = None) -> None:
        _lifecycle.refuse_forked()
        refuse_in_machine("closing a cluster")
        with self._lock:
            if self.handle.closed:
                return
            while self.clients:
                self.clients[-1].close()
                self.clients.pop()
            for server_id in list(self.runs):
                self.stop(server_id, patience=patience)
            number = self.handle.number
            beside(lambda: _abi.check(_abi.library().cluster_free(number)))
            self.handle.closed = True
            _lifecycle.closed(self)

    def close_at_exit(self) -> None:
        try:
            self.close()
        except Error as error:
            log.error("a cluster for tests does not close, its work is given up: %s", error)
            for run in self.runs.values():
                if not run.handle.closed:
                    _abi.library().work_abandon(run.handle.number)
            self.close(patience=0.1)

    def close_unreferenced(self) -> None:
        try:
            threading.Thread(target=self.close, name="oarlock test cluster close", daemon=True).start()
        except RuntimeError:
            pass  # the interpreter ends; what runs at its exit closes this


class Cluster:
    """The servers of a cluster in this process, on disks and a network in memory::

        with oarlock.testing.Cluster(Counter) as cluster:
            assert cluster.propose(b"1") == b"1"
            cluster.crash(cluster.leader())
            assert cluster.propose(b"1") == b"2"

    They are the servers that ship, on real threads and in real time; there are no ports and no files. ``machine`` makes the
    state machine of a server whenever one starts: of what was before, a server has only its disk. ``config`` gives timing,
    snapshots, limits and sizes; without one the times are short. ``with`` starts all servers, and so does ``start``.

    An exception that a machine raises stops its replica, as it would in production, and is kept for ``failures()``. Leaving the
    ``with`` raises the first one, unless the test has called that or has been told by another call of this class.
    """

    def __init__(self, machine: Callable[[], StateMachine], servers: int = 3, *, config: Optional[Config] = None) -> None:
        self._servers = _abi.whole(servers, "servers", 1, 9)
        self._core = _Core(machine, servers, config)
        self._client: Optional[Client] = None
        self._client_lock = threading.Lock()

    @property
    def servers(self) -> list[int]:
        """The ids of all servers, whether they run or not."""
        return list(range(1, self._servers + 1))

    def start(self, server: Optional[ServerOrId] = None) -> None:
        """Starts a server on what its disk holds, or all that do not run."""
        refuse_in_machine("starting servers")
        if server is not None:
            self._core.start(_id(server))
            return
        for server_id in self.servers:
            run = self._core.runs.get(server_id)
            if run is None or run.handle.closed:
                self._core.start(server_id)

    def stop(self, server: Optional[ServerOrId] = None) -> None:
        """Stops a server in good order, or all. Stopping what does not run is fine."""
        for server_id in self.servers if server is None else [_id(server)]:
            self._core.stop(server_id)

    def crash(self, server: Optional[ServerOrId] = None) -> None:
        """Stops a server, or all, as a power cut would: what was not synced to its disk is lost."""
        for server_id in self.servers if server is None else [_id(server)]:
            self._core.stop(server_id, crash=True)

    def add(self, *, start: bool = True) -> Member:
        """Makes one more server, which joins, and starts it. It is no member before a client has said so::

            cluster.client().add_voter(cluster.add(), timeout=10)
        """
        change = _abi_orders.ChangeStruct()
        _abi.check(_abi.library().cluster_add(self._core.handle.number, _abi.byref(change)))
        self._servers = max(self._servers, change.id)
        return self._joining(change, start)

    def replace(self, server: ServerOrId, *, start: bool = True) -> Member:
        """Gives a server that does not run an empty disk with a new store, and starts it, as if its disk had been lost. It is no member
        before a client has said so: ``client.replace(member)``."""
        change = _abi_orders.ChangeStruct()
        _abi.check(_abi.library().cluster_replace(self._core.handle.number, _id(server), _abi.byref(change)))
        return self._joining(change, start)

    def _joining(self, change: _abi_orders.ChangeStruct, start: bool) -> Member:
        if start:
            self._core.start(change.id)
        return Member(change.id, change.address.decode(), bytes(change.store))

    def server(self, server_id: int) -> Server:
        """A server as it was last started. It is the cluster's: closing it is the same as ``stop``."""
        return Server._of(self._run(server_id), server_id, self)

    def machine(self, server: ServerOrId) -> StateMachine:
        """The state machine of a server as it was last started. Its threads go on with it: look while nothing is proposed and
        after ``settle``, or while the server is stopped."""
        return self._run(_id(server)).machine

    def _run(self, server_id: int) -> _Run:
        if not 1 <= server_id <= self._servers:
            raise UsageError(f"the cluster has no server {server_id}, its servers are 1 to {self._servers}")
        run = self._core.runs.get(server_id)
        if run is None:
            raise UsageError(f"server {server_id} was not started")
        return run

    def leader(self, timeout: Optional[float] = PATIENCE) -> Server:
        """Waits for a leader of which a majority knows. The next moment it may be another one."""
        refuse_in_machine("waiting for a leader")
        number, function = _abi_testing.number(), _abi.library().cluster_leader
        self._wait(lambda slice: int(function(self._core.handle.number, slice, _abi.byref(number))), timeout)
        return self.server(number.value)

    def settle(self, timeout: Optional[float] = PATIENCE) -> None:
        """Waits until every server that runs and belongs to the group has applied every command that was answered to anyone before."""
        refuse_in_machine("waiting for a cluster")
        function = _abi.library().cluster_settle
        self._wait(lambda slice: int(function(self._core.handle.number, slice)), timeout)

    def _wait(self, wait: Callable[[int], int], timeout: Optional[float]) -> None:
        _lifecycle.refuse_forked()
        try:
            _abi.check(in_slices(wait, timeout))
        except Error as error:
            raise self._explained(self._core.handle.plain(error)) from self._cause()

    def propose(self, command: BytesLike, timeout: Optional[float] = PATIENCE) -> bytes:
        """Has the cluster execute a command exactly once, whoever leads, and returns its result."""
        try:
            return self._shared().propose(command, timeout)
        except Error as error:
            raise self._explained(error) from self._cause()

    def query(
        self, request: BytesLike, timeout: Optional[float] = PATIENCE, consistency: Consistency = Consistency.LINEARIZABLE
    ) -> bytes:
        """Reads through the state machine of the leader: it sees everything that was answered before."""
        try:
            return self._shared().query(request, timeout, consistency)
        except Error as error:
            raise self._explained(error) from self._cause()

    def propose_future(self, command: BytesLike, timeout: Optional[float] = PATIENCE) -> CallFuture:
        """``propose`` without waiting."""
        return self._shared().propose_future(command, timeout)

    def query_future(self, request: BytesLike, timeout: Optional[float] = PATIENCE) -> CallFuture:
        """``query`` without waiting."""
        return self._shared().query_future(request, timeout)

    def client(self, *, sessionless: bool = False, read_from: ReadFrom = ReadFrom.LEADER) -> Client:
        """One more client. It is closed with the cluster, or before. Cuts of the network do not apply to clients."""
        _lifecycle.refuse_forked()
        options = _abi.ClientOptions(flags=flags(sessionless, read_from))
        number = _abi.handle_from(_abi.library().cluster_client, self._core.handle.number, _abi.byref(options))
        client = Client._of(number)
        self._core.clients.append(client)
        return client

    def _shared(self) -> Client:
        _lifecycle.refuse_forked()
        with self._client_lock:
            if self._client is None:
                self._client = self.client()
            return self._client

    def split(self, *servers: ServerOrId) -> None:
        """Cuts the network both ways between these servers and all others; between servers of one side it is whole."""
        ids = _abi_testing.numbers([_id(server) for server in servers])
        _abi.check(_abi.library().cluster_split(self._core.handle.number, ids, len(servers)))

    def cut(self, sender: ServerOrId, receiver: ServerOrId) -> None:
        """Loses everything that one server sends to another. The way back stays."""
        _abi.check(_abi.library().cluster_cut(self._core.handle.number, _id(sender), _id(receiver)))

    def heal(self) -> None:
        """Makes the network whole."""
        _abi.check(_abi.library().cluster_heal(self._core.handle.number))

    def failures(self) -> list[BaseException]:
        """What machines have raised so far, on any server, but in queries. With their tracebacks."""
        self._core.heard = True
        return list(self._core.failures)

    def _cause(self) -> Optional[BaseException]:
        return self._core.failures[0] if self._core.failures else None

    def _explained(self, error: Error) -> Error:
        self._core.heard = self._core.heard or bool(self._core.failures)
        return error

    def close(self) -> None:
        """Stops everything. After a failure, which names what is stuck, it may be tried again."""
        self._core.close()

    def __enter__(self) -> Cluster:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        self.close()
        if kind is None and not self._core.heard and self._core.failures:
            raise self._core.failures[0]

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None and not core.handle.closed and not _lifecycle.forked():
            warnings.warn("unclosed oarlock.testing.Cluster", ResourceWarning, source=self, stacklevel=2)
            core.close_unreferenced()

    def __reduce__(self) -> Any:
        raise _lifecycle.not_to_be_pickled(self)


def _id(server: ServerOrId) -> int:
    return server.server_id if isinstance(server, Server) else _abi.whole(server, "a server's id")
