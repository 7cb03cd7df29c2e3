"""Threads for readings that may hang: one runs all of them; if a reading hangs, another thread runs those after it.

A thread for each reading would cost more processor time than the readings: 1.6 ms a snapshot instead of 0.9.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_IDLE_SECONDS = 3.0
"""A thread ends when it had nothing to read for this long; a snapshot is read at least once a second."""


class PendingReading(Generic[T]):
    """A call of a function in one of the threads."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self.started = time.monotonic()
        """When it was added, and later when it began."""
        self.ended = self.started
        self.done = threading.Event()
        self.result: T | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Call the function, and keep its result or its exception."""
        self.started = time.monotonic()
        try:
            self.result = self._function()
        except Exception as error:
            self.error = error
        self.ended = time.monotonic()
        self.done.set()


class ReadingThreads:
    """Runs calls in the order in which they are added, in one thread as long as none of them hangs.

    `add` and `add_thread` raise RuntimeError when the system starts no further thread.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[PendingReading[Any]] = deque()
        self._threads = 0
        self._running = 0
        """Threads that run a call; the others begin with one soon, or one of them waits for the next."""

    def add(self, function: Callable[[], T]) -> PendingReading[T]:
        """Run a function soon; return its call."""
        call = PendingReading(function)
        with self._changed:
            if not self._threads:
                self._start()
            self._waiting.append(call)
            self._changed.notify()
        return call

    def add_thread(self) -> None:
        """Start a further thread if there are calls that have not begun, and all threads run others."""
        with self._changed:
            if self._waiting and self._running == self._threads:
                self._start()

    def _start(self) -> None:
        threading.Thread(target=self._run, name="hosts-reading", daemon=True).start()
        self._threads += 1

    def _run(self) -> None:
        while (call := self._next()) is not None:
            call.run()
            with self._changed:
                self._running -= 1

    def _next(self) -> PendingReading[Any] | None:
        """Return the next call, or None when this thread is not needed any more."""
        with self._changed:
            if self._threads - self._running == 1:  # no other thread waits for a call
                self._changed.wait_for(lambda: self._waiting, _IDLE_SECONDS)
            if not self._waiting:
                self._threads -= 1
                return None
            self._running += 1
            return self._waiting.popleft()
