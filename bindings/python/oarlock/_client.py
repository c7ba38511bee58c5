"""A client of a cluster, in a process that is no member."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Optional, TypeVar, Union

from . import _abi, _lifecycle
from ._calls import CallFuture, functions
from ._config import Config, Path, as_config
from ._errors import Error, UsageError
from ._governing import Governor
from ._status import ReadFrom
from ._waiting import BytesLike, beside, nanoseconds, refuse_in_machine

T = TypeVar("T")


class _Core:
    """What has to be closed."""

    def __init__(self, number: int) -> None:
        self.handle = _lifecycle.Handle(number, "client")
        self._lock = threading.Lock()
        _lifecycle.opened(self)

    def close(self) -> None:
        _lifecycle.refuse_forked()
        refuse_in_machine("closing a client")
        with self._lock:
            if self.handle.closed:
                return
            number, self.handle.closed = self.handle.number, True
            status = _abi.library().client_free(number)
            if status != 0:
                self.handle.closed = False
                _abi.check(status)
            _lifecycle.closed(self)

    def close_at_exit(self) -> None:
        self.close()

    def close_unreferenced(self) -> None:
        try:
            threading.Thread(target=self.close, name="oarlock client close", daemon=True).start()
        except RuntimeError:
            pass  # the interpreter ends; what runs at its exit closes this


def flags(sessionless: bool, read_from: ReadFrom) -> int:
    """Of a client's options."""
    try:
        chosen = ReadFrom(read_from)
    except ValueError:
        raise UsageError(f"read_from is {read_from!r}: it must be ReadFrom.LEADER or ReadFrom.ANY") from None
    return bool(sessionless) * _abi.CLIENT_SESSIONLESS | (chosen is ReadFrom.ANY) * _abi.CLIENT_READ_ANY


class Client(Governor):
    """A client of the cluster that a configuration describes, or of servers at addresses::

        with oarlock.Client("cluster.toml") as client:
            client.propose(b"1", timeout=10)

    It finds the leader, follows it, and tries again until the time is over. It connects when the first call needs it. Its
    proposals are in a session of its own and are executed exactly once; without one (``sessionless``) many more can be
    under way, but a lost connection leaves them unknown. With TLS a client has files of its own, which the servers' file does not name: set
    ``config["tls.certificate"]`` and ``config["tls.key"]``. ``read_from`` says which servers answer queries. Durations are seconds; None
    means the library's default.
    """

    def __init__(
        self,
        config: Union[Config, Path, None] = None,
        *,
        servers: Union[str, Iterable[str], None] = None,
        sessionless: bool = False,
        read_from: ReadFrom = ReadFrom.LEADER,
        outstanding_max: int = 0,
        outstanding_bytes_max: int = 0,
        response_bytes_max: int = 0,
        dial_timeout: Optional[float] = None,
        silence_max: Optional[float] = None,
        backoff_min: Optional[float] = None,
        backoff_max: Optional[float] = None,
        close_timeout: Optional[float] = None,
    ) -> None:
        def duration(seconds: Optional[float]) -> int:
            return 0 if seconds is None else nanoseconds(seconds)

        if servers is not None and not isinstance(servers, str):
            servers = ",".join(servers)
        options = _abi.ClientOptions(
            flags=flags(sessionless, read_from),
            servers=None if servers is None else _abi.text(servers, "servers"),
            outstanding_max=outstanding_max,
            outstanding_bytes_max=outstanding_bytes_max,
            response_bytes_max=response_bytes_max,
            dial_timeout=duration(dial_timeout),
            silence_max=duration(silence_max),
            backoff_min=duration(backoff_min),
            backoff_max=duration(backoff_max),
            close_timeout=duration(close_timeout),
        )
        whose = None if config is None else as_config(config)
        number = _abi.handle_from(_abi.library().client_open, None if whose is None else whose.handle, _abi.byref(options))
        self._adopt(number)

    def _adopt(self, number: int) -> None:
        self._functions = functions("client_")
        self._core = _Core(number)
        self._handle = self._core.handle

    @classmethod
    def _of(cls, number: int) -> Client:
        """Of a handle that the library made."""
        client = cls.__new__(cls)
        client._adopt(number)
        return client

    def propose(self, command: BytesLike, timeout: Optional[float] = None) -> bytes:
        """Has the group execute a command exactly once, and returns its result."""
        return self._propose(command, timeout)

    def propose_future(self, command: BytesLike, timeout: Optional[float] = None) -> CallFuture:
        """The same without waiting."""
        return self._propose_future(command, timeout)

    def barrier(self, timeout: Optional[float] = None) -> None:
        """Returns when the leader has applied everything that was answered to anyone before."""
        self._run(lambda: _abi.check(_abi.library().client_barrier(self._handle.number, nanoseconds(timeout))))

    def status(self, timeout: Optional[float] = None) -> dict[str, Any]:
        """What the server that the client is connected to knows of itself."""
        status: dict[str, Any] = self._json(_abi.library().client_status_json, timeout)
        return status

    @property
    def seen(self) -> int:
        """The highest index that an answer to this client has reflected; 0: none yet. A bounded query of it never goes behind that;
        ``Consistency.bounded(min_index=...)`` has another client see as much."""
        try:
            return _abi.number_from(_abi.library().client_seen, self._handle.number)
        except Error as error:
            raise self._handle.plain(error)

    def close(self) -> None:
        """Ends every call: UnknownOutcome for what was sent, else Closed. Closing what is closed is fine."""
        self._core.close()

    def _json(self, function: Any, timeout: Optional[float]) -> Any:
        return json.loads(self._run(lambda: _abi.text_from(function, self._handle.number, nanoseconds(timeout))))

    def _run(self, wait: Callable[[], T]) -> T:
        refuse_in_machine("waiting for a client")
        try:
            return beside(wait)
        except Error as error:
            raise self._handle.plain(error)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None and not core.handle.closed and not _lifecycle.forked():
            warnings.warn("unclosed oarlock.Client", ResourceWarning, source=self, stacklevel=2)
            core.close_unreferenced()

    def __reduce__(self) -> Any:
        raise _lifecycle.not_to_be_pickled(self)
