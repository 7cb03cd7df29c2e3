"""A reading of the machine that may fail or hang, such as `statvfs` of a network mount whose server is gone.

Each reading runs in a thread of its own, at most one at a time, and is waited for only for a limited time: it cannot be
cancelled, and must delay neither the other readings nor the end of the program.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

_FAST_SECONDS = 0.2
"""A reading that takes longer is not waited for the next time; its result is used when it is available."""
_OLDEST_SECONDS = 5.0
"""Seconds for which the result of a reading that was not waited for can be used."""


class Unreadable(Exception):
    """A reading failed or takes too long; the text is the reason."""


class _Call(Generic[T]):
    """A call of a function in a thread of its own."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.started = time.monotonic()
        self.ended = self.started
        self.done = threading.Event()
        self.result: T | None = None
        self.error: Exception | None = None
        threading.Thread(target=self._run, args=(function,), name="hosts-probe", daemon=True).start()

    def _run(self, function: Callable[[], T]) -> None:
        try:
            self.result = function()
        except Exception as error:
            self.error = error
        self.ended = time.monotonic()
        self.done.set()


class Probe(Generic[T]):
    """Reads with `function`. Use `begin` and then `take`, so that several probes read at the same time.

    With `reads_ahead`, the next reading of a slow probe begins at once. It is not for rates, which are averages since
    the reading before.
    """

    def __init__(self, function: Callable[[], T], *, reads_ahead: bool = False) -> None:
        self._function = function
        self._reads_ahead = reads_ahead
        self._call: _Call[T] | None = None
        self._is_slow = False

    def begin(self) -> None:
        """Start a reading unless one is under way."""
        call = self._call
        if call is None or (call.done.is_set() and time.monotonic() - call.ended > _OLDEST_SECONDS):
            self._start()

    def _start(self) -> None:
        self._call = None
        with suppress(RuntimeError):  # there are too many threads
            self._call = _Call(self._function)

    def take(self, deadline: float) -> T:
        """Return the result, waiting until `deadline` (time.monotonic) for a probe that was fast the last time.

        Raises Unreadable.
        """
        call = self._call
        if call is None:
            raise Unreadable("no thread could be started to read it")
        now = time.monotonic()
        if not call.done.wait(0 if self._is_slow else max(0.0, deadline - now)):
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


def reason_of(error: Exception) -> str:
    """Return in one line why a reading failed."""
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
