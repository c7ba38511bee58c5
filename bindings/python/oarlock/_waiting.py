"""How this package waits: in slices, so that Ctrl-C works at once, and never inside of a state machine."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Optional, TypeVar, Union

from . import _abi
from ._errors import UsageError, WouldDeadlock
from ._status import Status

BytesLike = Union[bytes, bytearray, memoryview]
T = TypeVar("T")

# A signal usually ends a wait by itself. Where another thread got it, this is how long Ctrl-C takes.
SLICE_SECONDS = 0.25
SLICE = int(SLICE_SECONDS * 1e9)

# The threads that state machines run on. They are not to wait for what only they can bring about.
machine_threads: set[int] = set()
os.register_at_fork(after_in_child=machine_threads.clear)  # there nothing may be called at all, which is what is to be said


def in_machine() -> bool:
    """Whether this thread is one that a state machine runs on."""
    return threading.get_ident() in machine_threads


def refuse_in_machine(what: str) -> None:
    """Raises inside of a state machine."""
    if in_machine():
        raise WouldDeadlock(f"{what} inside of a state machine would wait for the state machine itself")


def nanoseconds(timeout: Optional[float]) -> int:
    """Seconds, as the library takes them. None waits for ever."""
    if timeout is None:
        return _abi.FOREVER
    if not timeout >= 0:  # also what is no number
        raise UsageError(f"a timeout of {timeout} seconds: it must be 0 or more, or None for ever")
    return math.ceil(timeout * 1e9) if timeout < 2**32 else 2**62


def as_bytes(data: BytesLike, what: str) -> bytes:
    """What a user handed in, as bytes."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"{what} must be bytes, not {type(data).__name__}")


def in_slices(wait: Callable[[int], int], timeout: Optional[float]) -> int:
    """Waits with a function that takes a timeout and may be called again. Returns its last status."""
    nanoseconds(timeout)
    end = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        left = end - time.monotonic()
        status = wait(nanoseconds(max(0.0, min(SLICE_SECONDS, left))))
        if status != Status.ERR_TIMEOUT or left <= SLICE_SECONDS:
            return status


def beside(function: Callable[[], T]) -> T:
    """Runs what waits and cannot be called in slices. On the main thread it gets one of its own, because only what waits in
    Python can be left by Ctrl-C; the thread then ends with the wait."""
    if threading.current_thread() is not threading.main_thread():
        return function()
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    try:
        threading.Thread(target=run, name="oarlock wait", daemon=True).start()
    except RuntimeError:  # no more threads, or the interpreter ends
        return function()
    try:
        return future.result()
    finally:
        del future  # an exception in it refers to this frame
