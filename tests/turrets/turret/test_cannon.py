"""One cannon."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from smartmob.turrets.scripting import BaseTransaction
from smartmob.turrets.turret.cannon import Cannon, CoroutineCannon, ThreadCannon, ThreadEvents
from smartmob.turrets.turret.failure import Failure
from smartmob.turrets.turret.script import Script
from tests.waiting import until


class Context:
    """A firing context that records results and stops after some."""

    def __init__(self, transaction: type, finished: int) -> None:
        self.script = Script(transaction)
        self.config: Mapping[str, Any] = {}
        self.context: Mapping[str, Any] = {}
        self.stopped = False
        self.finished: list[tuple[float, str]] = []
        self.failures: list[Failure | None] = []
        self._wanted = finished

    def record(
        self,
        ended: float,
        duration: float,
        failure: Failure | None,
        timers: Mapping[str, object],
        late: float,
        failed_timers: Mapping[str, Failure],
    ) -> None:
        self.finished.append((duration, failure.text if failure is not None else ""))
        self.failures.append(failure)
        self.stopped = len(self.finished) >= self._wanted


async def test_a_script_that_never_waits_lets_others_run() -> None:
    """Other tasks run between two transactions."""

    class Empty(BaseTransaction):
        async def run(self) -> None:
            pass

    context = Context(Empty, 10**9)
    may_start = asyncio.Event()
    may_start.set()
    task = asyncio.create_task(CoroutineCannon(context).fire(None, may_start))
    await until(lambda: len(context.finished) > 10)
    context.stopped = True
    await task


async def test_a_setup_that_always_fails_lets_others_run() -> None:
    """Each failure is a result."""

    class Broken(BaseTransaction):
        async def setup(self) -> None:
            raise ValueError("no")

        async def run(self) -> None:
            raise AssertionError

    context = Context(Broken, 5)
    may_start = asyncio.Event()
    may_start.set()
    await CoroutineCannon(context).fire(None, may_start)
    assert context.finished == [(0.0, "setup: no")] * 5


async def test_a_thread_ends_when_firing_is_stopped() -> None:
    """It begins when all threads are started, and ends when firing is stopped."""

    class Empty(BaseTransaction):
        def run(self) -> None:
            pass

    context, may_start = Context(Empty, 5), threading.Event()
    may_start.set()
    cannon = ThreadCannon(context)
    assert not cannon.alive
    all_started = threading.Event()
    cannon.start(0.0, None, ThreadEvents(all_started, may_start, threading.Event()))
    assert cannon.alive
    assert context.finished == []
    all_started.set()
    await until(lambda: not cannon.alive)
    assert len(context.finished) == 5


async def test_an_abandoned_thread_is_recorded_once() -> None:
    """It counts as ended at once, and its later result is ignored."""
    release = threading.Event()

    class Stuck(BaseTransaction):
        def run(self) -> None:
            release.wait()

    context, may_start = Context(Stuck, 1), threading.Event()
    may_start.set()
    cannon = ThreadCannon(context)
    cannon.start(0.0, None, ThreadEvents(may_start, may_start, threading.Event()))
    await until(lambda: cannon._started_at)
    cannon.record_unfinished(cannon._started_at[0] + 5.0)
    cannon.abandon()
    assert not cannon.alive
    thread = cannon._thread
    assert thread is not None
    release.set()
    await until(lambda: not thread.is_alive())
    assert context.finished == [(5.0, "not finished when the run ended")]


class Idle(BaseTransaction):
    """A transaction that is never done."""

    async def run(self) -> None:
        raise AssertionError


class Turns:
    """An arrival queue with a number of turns; after them, firing has ended."""

    def __init__(self, number: int) -> None:
        self.left = number

    async def next(self) -> float | None:
        self.left -= 1
        return time.monotonic() if self.left >= 0 else None


@pytest.mark.parametrize("step", ["__init__", "setup"])
async def test_a_failure_before_run_takes_a_turn_and_has_no_duration(step: str) -> None:
    """In the open model a broken step is tried as often as transactions are due, and no oftener."""

    class Broken(Idle):
        pass

    def fail(*_: object) -> None:
        raise ValueError("no")

    setattr(Broken, step, fail)
    context, may_start = Context(Broken, 10**9), asyncio.Event()
    may_start.set()
    await CoroutineCannon(context).fire(Turns(3), may_start)
    assert context.failures == [Failure(f"{step}: no", "ValueError", untimed=True)] * 3


def test_the_wait_after_failures_before_run_grows_to_a_second() -> None:
    """So a broken step asks its target once a second for each user."""
    cannon = Cannon(Context(Idle, 10**9))
    waits = [cannon._record_untimed(Failure("setup: no", untimed=True)) for _ in range(6)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_the_wait_after_quick_failures_grows_and_ends_with_a_success() -> None:
    """One failure, or one that took its time, is followed at once by the next transaction."""
    cannon, transaction = Cannon(Context(Idle, 10**9)), Script(Idle).transaction({}, {})
    failure = Failure("refused")
    took = [(0.0, failure)] * 4 + [(0.5, failure), (0.0, failure), (0.0, failure), (0.0, None), (0.0, failure)]
    waits = [cannon._record(transaction, 0.0, seconds, failed) for seconds, failed in took]
    assert waits == [0.0, 0.01, 0.02, 0.04, 0.0, 0.0, 0.01, 0.0, 0.0]


async def test_a_transaction_whose_tear_down_fails_was_timed() -> None:
    """It is a failure with the duration of its run."""

    class Untidy(BaseTransaction):
        async def run(self) -> None:
            pass

        async def tear_down(self) -> None:
            raise ValueError("no")

    context, may_start = Context(Untidy, 1), asyncio.Event()
    may_start.set()
    await CoroutineCannon(context).fire(None, may_start)
    assert context.failures == [Failure("tear_down: no", "ValueError", untimed=False)]
