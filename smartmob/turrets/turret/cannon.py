"""Cannons: each is one simulated user that repeats the script's transaction, as a thread or as a coroutine.

A user whose transactions fail at once waits before the next one, so that a broken script or target is not fired at
without limit. Failures of the untimed steps count like transactions: in the open model each uses up an arrival.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from smartmob.turrets.turret.failure import Failure, failure_of
from smartmob.turrets.turret.script import Script

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.1, 1.0
"""Wait after the first of consecutive failures outside of `run`; it doubles up to the longest."""
_FIRST_PAUSE_SECONDS = 0.01
"""Wait after the second of consecutive quick failures of `run` in the closed model; it doubles up to the longest."""
_QUICK_SECONDS = 0.001
"""A transaction that fails in less time has hardly reached a target."""

_NO_TIMERS: Mapping[str, object] = {}
_NO_FAILURES: Mapping[str, Failure] = {}
_UNFINISHED = Failure("not finished when the run ended", "Unfinished")

_SCRIPT_ERRORS = (Exception, SystemExit, asyncio.CancelledError)
"""Exceptions of a script that count as an error of the transaction and do not end the cannon."""


class FiringContext(Protocol):
    """The state that all cannons of a process share; `stopped`: no further transaction may begin."""

    script: Script
    config: Mapping[str, Any]
    context: Mapping[str, Any]
    stopped: bool

    def record(
        self,
        ended: float,
        duration: float,
        failure: Failure | None,
        timers: Mapping[str, object],
        late: float,
        failed_timers: Mapping[str, Failure],
    ) -> None:
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
    """The common part of both kinds of cannon: when the transaction under way started, and how long to wait."""

    def __init__(self, firing: FiringContext) -> None:
        self._firing = firing
        self.late = 0.0
        self._failures = 0
        # Holds at most one start. Popping is atomic, so that a transaction is counted once: by its cannon when it ends,
        # or by `record_unfinished` when the run ends first.
        self._started_at: list[float] = []

    def _make(self) -> tuple[Any, Failure | None]:
        """Return an instance of the class `Transaction`, or None and the failure."""
        firing = self._firing
        try:
            return firing.script.transaction(firing.config, firing.context), None
        except _SCRIPT_ERRORS as error:
            return None, failure_of(error, "__init__")

    def _record_untimed(self, failure: Failure) -> float:
        """Record a failure outside of `run`; return the seconds to wait before the next attempt."""
        self._firing.record(time.monotonic(), 0.0, failure, _NO_TIMERS, self.late, _NO_FAILURES)
        self._failures += 1
        return min(_FIRST_WAIT_SECONDS * 2.0 ** min(self._failures - 1, 10), _LONGEST_WAIT_SECONDS)

    def _record(self, transaction: Any, begun: float, ended: float, failure: Failure | None) -> float:
        """Record a transaction; return the seconds to wait before the next one of the closed model, mostly 0."""
        firing, timers, failed = self._firing, transaction.custom_timers, transaction.failed_timers
        if failure is None:
            self._failures = 0
            firing.record(ended, ended - begun, None, timers, self.late, failed)
            return 0.0
        failure = failure._replace(untimed=False)  # `run` was timed, whichever step failed
        if not firing.script.reports_failed_timers:
            failed = dict.fromkeys(timers, failure)
        firing.record(ended, ended - begun, failure, timers, self.late, failed)
        self._failures = self._failures + 1 if ended - begun < _QUICK_SECONDS else 0
        if self._failures < 2:
            return 0.0
        return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 2, 10), _LONGEST_WAIT_SECONDS)

    def record_unfinished(self, now: float) -> None:
        """Record the transaction under way, if there is one, as a failure."""
        if (begun := self._claim()) is not None:
            self._firing.record(now, now - begun, _UNFINISHED, _NO_TIMERS, self.late, _NO_FAILURES)

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
        firing, transaction = self._firing, None
        while not firing.stopped:
            if not may_start.is_set():
                await may_start.wait()
            failure: Failure | None = None
            if transaction is None:
                transaction, failure = self._make()
            if transaction is not None:
                transaction.custom_timers, transaction.failed_timers = {}, {}
                failure = await _attempt(transaction.setup, "setup")
            if queue is None:
                begun, self.late = time.monotonic(), 0.0
            else:
                intended = await queue.next()
                if intended is None:
                    if failure is None and transaction is not None:
                        await _attempt(transaction.tear_down, "tear_down")
                    return
                begun, self.late = intended, time.monotonic() - intended
            if failure is not None or transaction is None:
                await asyncio.sleep(self._record_untimed(failure or Failure("")))
                continue
            self._started_at.append(begun)
            try:
                await transaction.run()
            except _SCRIPT_ERRORS as error:
                _stop_if_cancelled(error)
                failure = failure_of(error)
            ended = time.monotonic()
            if self._claim() is None:
                return
            failure = await _attempt(transaction.tear_down, "tear_down", failure)
            wait = self._record(transaction, begun, ended, failure)
            await asyncio.sleep(wait if queue is None else 0.0)


async def _attempt(step: Any, name: str, before: Failure | None = None) -> Failure | None:
    """Call an untimed step, which may be a coroutine function; return `before` or else the failure of the step."""
    try:
        awaited = step()
        if awaited is not None and inspect.isawaitable(awaited):
            await awaited
    except _SCRIPT_ERRORS as error:
        _stop_if_cancelled(error)
        return before or failure_of(error, name)
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
        transaction = None
        while not firing.stopped:
            events.may_start.wait()
            failure: Failure | None = None
            if transaction is None:
                transaction, failure = self._make()
            if transaction is not None:
                transaction.custom_timers, transaction.failed_timers = {}, {}
                failure = _attempt_now(transaction.setup, "setup")
            if queue is None:
                begun, self.late = time.monotonic(), 0.0
            else:
                intended = queue.next()
                if intended is None:
                    if failure is None and transaction is not None:
                        _attempt_now(transaction.tear_down, "tear_down")
                    return
                begun, self.late = intended, time.monotonic() - intended
            if failure is not None or transaction is None:
                events.stop.wait(self._record_untimed(failure or Failure("")))
                continue
            self._started_at.append(begun)
            try:
                transaction.run()
            except _SCRIPT_ERRORS as error:
                failure = failure_of(error)
            ended = time.monotonic()
            if self._claim() is None:
                return
            failure = _attempt_now(transaction.tear_down, "tear_down", failure)
            wait = self._record(transaction, begun, ended, failure)
            if wait and queue is None:
                events.stop.wait(wait)


def _attempt_now(step: Any, name: str, before: Failure | None = None) -> Failure | None:
    """Call an untimed step; return `before` or else the failure of the step."""
    try:
        step()
    except _SCRIPT_ERRORS as error:
        return before or failure_of(error, name)
    return before
