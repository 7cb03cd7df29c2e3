"""One cannon."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from smartmob.turrets.scripting import BaseTransaction
from smartmob.turrets.turret.cannon import CoroutineCannon, ThreadCannon, ThreadEvents
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
        self._wanted = finished

    def record(self, ended: float, duration: float, error: str, timers: Mapping[str, object], late: float) -> None:
        self.finished.append((duration, error))
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
