"""A reading of the machine that may fail or hang, such as `statvfs` of a network mount whose server is gone.

Each reading runs in a thread, at most one at a time, and is waited for only for a limited time: it cannot be cancelled,
and must delay neither the other readings nor the end of the program.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from smartmob.hosts.sampler.reading_threads import PendingReading, ReadingThreads

T = TypeVar("T")

_BEHIND_SECONDS = 0.02
"""While a reading takes longer than this, another thread runs the readings after it."""
_FAST_SECONDS = 0.2
"""A reading that takes longer is not waited for the next time; its result is used when it is available."""
_OLDEST_SECONDS = 5.0
"""Seconds for which the result of a reading that was not waited for can be used."""


class Unreadable(Exception):
    """A reading failed or takes too long; the text is the reason."""


class Probe(Generic[T]):
    """Reads with `function` in one of `threads`. Use `begin` of several probes, and then `take`.

    With `reads_ahead`, the next reading of a slow probe begins at once. It is not for rates, which are averages since
    the reading before.
    """

    def __init__(self, function: Callable[[], T], threads: ReadingThreads, *, reads_ahead: bool = False) -> None:
        self._function = function
        self._threads = threads
        self._reads_ahead = reads_ahead
        self._call: PendingReading[T] | None = None
        self._is_slow = False

    def begin(self) -> None:
        """Start a reading unless one is under way."""
        call = self._call
        if call is None or (call.done.is_set() and time.monotonic() - call.ended > _OLDEST_SECONDS):
            self._start()

    def _start(self) -> None:
        self._call = None
        with suppress(RuntimeError):  # there are too many threads
            self._call = self._threads.add(self._function)

    def take(self, deadline: float) -> T:
        """Return the result, waiting until `deadline` (time.monotonic) for a probe that was fast the last time.

        Raises Unreadable.
        """
        call = self._call
        if call is None:
            raise Unreadable("no thread could be started to read it")
        if not self._is_done(call, 0.0 if self._is_slow else max(0.0, deadline - time.monotonic())):
            self._is_slow = True
            raise Unreadable(f"no answer for {time.monotonic() - call.started:.0f} s")
        self._is_slow = self._reads_ahead and call.ended - call.started > _FAST_SECONDS
        # The next reading of a slow probe begins now, so that its result may be available the next time.
        self._call = None
        if self._is_slow:
            self._start()
        if call.error is not None:
            raise Unreadable(reason_of(call.error)) from call.error
        return call.result  # type: ignore[return-value]  # None only when T is

    def _is_done(self, call: PendingReading[T], seconds: float) -> bool:
        """Wait for a call, and return whether it has ended."""
        end = time.monotonic() + seconds
        while not call.done.wait(min(seconds, _BEHIND_SECONDS)):
            if (seconds := end - time.monotonic()) <= 0:
                return False
            with suppress(RuntimeError):  # there are too many threads
                self._threads.add_thread()
        return True


def reason_of(error: Exception) -> str:
    """Return in one line why a reading failed."""
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
