"""The library itself: its version, its runtime, what it holds."""

from __future__ import annotations

from typing import NamedTuple

from . import _abi


class Counts(NamedTuple):
    """What is open: for tests that look for leaks."""

    goroutines: int
    configs: int
    servers: int
    clients: int
    calls: int
    queues: int
    events: int
    bytes: int
    """Of C memory that the library holds for them."""
    clusters: int
    """In memory, for tests."""


def debug_counts() -> Counts:
    """What is open in this process."""
    counts = _abi.Counts()
    _abi.check(_abi.library().debug_counts(_abi.byref(counts)))
    return Counts(*(getattr(counts, name) for name in Counts._fields))


def version() -> str:
    """The version of liboarlock."""
    raw: bytes = _abi.library().version()
    return raw.decode()


def runtime_configure(*, gc_percent: int = 0, memory_bytes_soft: int = 0, processors: int = 0) -> None:
    """Tunes the library's runtime for this process. Zeros leave things as they are."""
    options = _abi.RuntimeOptions(gc_percent=gc_percent, memory_bytes_soft=memory_bytes_soft, processors=processors)
    _abi.check(_abi.library().runtime_configure(_abi.byref(options)))
