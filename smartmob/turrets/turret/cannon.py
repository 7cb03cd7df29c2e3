"""Cannons: each is one simulated user that repeats the script's transaction, as a thread or as a coroutine."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from smartmob.turrets.turret.script import Script, describe

_RETRY_SECONDS = 1.0
"""Seconds until a cannon tries again after the class `Transaction` could not be instantiated."""

_NO_TIMERS: Mapping[str, object] = {}

_SCRIPT_ERRORS = (Exception, SystemExit, asyncio.CancelledError)
"""Exceptions of a script that count as an error of the transaction and do not end the cannon."""


class FiringContext(Protocol):
    """The state that all cannons of a process share; `stopped`: no further transaction may begin."""

    script: Script
    config: Mapping[str, Any]
    context: Mapping[str, Any]
    stopped: bool

    def record(self, ended: float, duration: float, error: str, timers: Mapping[str, object], late: float) -> None:
        """Record a finished transaction.

        `ended` is a time of the monotonic clock, `duration` and `late` (after the intended start) are seconds.
        """


class ArrivalSource(Protocol):
    """An arrival queue of the open model for coroutines."""

    async def next(self) -> float | None:
        """Wait until the next transaction is due and return its intended start, or None when firing has ended."""


class ThreadArrivalSource(Protocol):
    """An arrival queue of the open model for threads."""

    def next(self) -> float | None:
        """Wait until the next transaction is due and return its intended start, or None when firing has ended."""


class Cannon:
    """The common part of both kinds of cannon: when the transaction under way started."""

    def __init__(self, firing: FiringContext) -> None:
        self._firing = firing
        self.late = 0.0
        # Holds at most one start. Popping is atomic, so that a transaction is counted once: by its cannon when it ends,
        # or by `record_unfinished` when the run ends before.
        self._started_at: list[float] = []

    def _make(self) -> Any:
        """Return an instance of the class `Transaction`; when that fails, record an error and return None."""
        firing = self._firing
        try:
            return firing.script.transaction(firing.config, firing.context)
        except _SCRIPT_ERRORS as error:
            firing.record(time.monotonic(), 0.0, f"__init__: {describe(error)}", _NO_TIMERS, 0.0)
            return None

    def record_unfinished(self, now: float) -> None:
        """Record the transaction under way, if there is one, as an error."""
        if (begun := self._claim()) is not None:
            self._firing.record(now, now - begun, "not finished when the run ended", _NO_TIMERS, self.late)

    def _claim(self) -> float | None:
        """Remove and return the start of the transaction under way, or None when there is none."""
        try:
            return self._started_at.pop()
        except IndexError:
            return None


class CoroutineCannon(Cannon):
    """A cannon that is a coroutine."""

    async def fire(self, queue: ArrivalSource | None, may_start: asyncio.Event) -> None:
        """Repeat the transaction until firing is stopped; `may_start` is cleared during a pause."""
        firing = self._firing
        while (transaction := self._make()) is None:
            await asyncio.sleep(_RETRY_SECONDS)
            if firing.stopped:
                return
        while not firing.stopped:
            if not may_start.is_set():
                await may_start.wait()
            transaction.custom_timers = {}
            if error := await _attempt(transaction.setup, "setup"):
                firing.record(time.monotonic(), 0.0, error, _NO_TIMERS, 0.0)
                # A setup that fails without waiting must not block the event loop for the other cannons.
                await asyncio.sleep(0)
                continue
            if queue is None:
                begun, self.late = time.monotonic(), 0.0
            else:
                intended = await queue.next()
                if intended is None:
                    await _attempt(transaction.tear_down, "tear_down")
                    return
                begun, self.late = intended, time.monotonic() - intended
            self._started_at.append(begun)
            try:
                await transaction.run()
            except _SCRIPT_ERRORS as failure:
                _stop_if_cancelled(failure)
                error = describe(failure)
            ended = time.monotonic()
            if self._claim() is None:
                return
            error = await _attempt(transaction.tear_down, "tear_down", error)
            firing.record(ended, ended - begun, error, transaction.custom_timers, self.late)
            await asyncio.sleep(0)


async def _attempt(step: Any, name: str, before: str = "") -> str:
    """Call an untimed step, which may be a coroutine function; return `before` or else the error of the step."""
    try:
        awaited = step()
        if awaited is not None and inspect.isawaitable(awaited):
            await awaited
    except _SCRIPT_ERRORS as error:
        _stop_if_cancelled(error)
        return before or f"{name}: {describe(error)}"
    return before


def _stop_if_cancelled(error: BaseException) -> None:
    """Raise `error` again if it cancels this cannon. A CancelledError that the script raised is an ordinary error."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


class ThreadEvents(NamedTuple):
    """Events that threads wait for: all threads are started; transactions may begin (no pause); firing was stopped."""

    all_started: threading.Event
    may_start: threading.Event
    stop: threading.Event


class ThreadCannon(Cannon):
    """A cannon that is a daemon thread, so that it cannot keep the program from ending."""

    def __init__(self, firing: FiringContext) -> None:
        super().__init__(firing)
        self._thread: threading.Thread | None = None
        self._abandoned = False

    def start(self, at: float, queue: ThreadArrivalSource | None, events: ThreadEvents) -> None:
        """Start the thread; its first transaction begins at `at` (monotonic clock).

        Raises RuntimeError when the system allows no further thread.
        """
        self._thread = threading.Thread(target=self._fire, args=(at, queue, events), daemon=True, name="cannon")
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Return whether the thread is running and was not abandoned."""
        return self._thread is not None and self._thread.is_alive() and not self._abandoned

    def abandon(self) -> None:
        """Stop waiting for the thread: Python cannot end a thread from outside."""
        self._abandoned = True

    def _fire(self, at: float, queue: ThreadArrivalSource | None, events: ThreadEvents) -> None:
        firing = self._firing
        events.all_started.wait()
        if events.stop.wait(max(at - time.monotonic(), 0.0)):
            return
        while (transaction := self._make()) is None:
            if events.stop.wait(_RETRY_SECONDS):
                return
        while not firing.stopped:
            events.may_start.wait()
            transaction.custom_timers = {}
            if error := _attempt_now(transaction.setup, "setup"):
                firing.record(time.monotonic(), 0.0, error, _NO_TIMERS, 0.0)
                continue
            if queue is None:
                begun, self.late = time.monotonic(), 0.0
            else:
                intended = queue.next()
                if intended is None:
                    _attempt_now(transaction.tear_down, "tear_down")
                    return
                begun, self.late = intended, time.monotonic() - intended
            self._started_at.append(begun)
            try:
                transaction.run()
            except _SCRIPT_ERRORS as failure:
                error = describe(failure)
            ended = time.monotonic()
            if self._claim() is None:
                return
            error = _attempt_now(transaction.tear_down, "tear_down", error)
            firing.record(ended, ended - begun, error, transaction.custom_timers, self.late)


def _attempt_now(step: Any, name: str, before: str = "") -> str:
    """Call an untimed step; return `before` or else the error of the step."""
    try:
        step()
    except _SCRIPT_ERRORS as error:
        return before or f"{name}: {describe(error)}"
    return before
