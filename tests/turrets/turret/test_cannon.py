"""One cannon by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from smartmob.turrets.scripting import BaseTransaction
from smartmob.turrets.turret.cannon import CoroutineCannon, ThreadCannon, ThreadEvents
from smartmob.turrets.turret.script import Script
from tests.waiting import until


class Place:
    """A range that notes hits and ceases after some."""

    def __init__(self, transaction: type, hits: int) -> None:
        self.script = Script(transaction)
        self.config: Mapping[str, Any] = {}
        self.context: Mapping[str, Any] = {}
        self.ceased = False
        self.hits: list[tuple[float, str]] = []
        self._wanted = hits

    def hit(self, ended: float, duration: float, error: str, timers: Mapping[str, object], late: float) -> None:
        self.hits.append((duration, error))
        self.ceased = len(self.hits) >= self._wanted


async def test_a_script_that_never_waits() -> None:
    """It lets others run between two transactions."""

    class Empty(BaseTransaction):
        async def run(self) -> None:
            pass

    place = Place(Empty, 10**9)
    gate = asyncio.Event()
    gate.set()
    task = asyncio.create_task(CoroutineCannon(place).fire(None, gate))
    await until(lambda: len(place.hits) > 10)
    place.ceased = True
    await task


async def test_a_setup_that_always_fails() -> None:
    """It lets others run, too, and every failure is a result."""

    class Broken(BaseTransaction):
        async def setup(self) -> None:
            raise ValueError("no")

        async def run(self) -> None:
            raise AssertionError

    place = Place(Broken, 5)
    gate = asyncio.Event()
    gate.set()
    await CoroutineCannon(place).fire(None, gate)
    assert place.hits == [(0.0, "setup: no")] * 5


async def test_a_thread() -> None:
    """It ends when the range has ceased."""

    class Empty(BaseTransaction):
        def run(self) -> None:
            pass

    place, gate = Place(Empty, 5), threading.Event()
    gate.set()
    cannon = ThreadCannon(place)
    assert not cannon.alive
    manned = threading.Event()
    cannon.start(0.0, None, ThreadEvents(manned, gate, threading.Event()))
    assert cannon.alive
    assert place.hits == []
    manned.set()
    await until(lambda: not cannon.alive)
    assert len(place.hits) == 5


async def test_an_abandoned_thread() -> None:
    """It counts as ended at once, and what it does afterwards is not told."""
    release = threading.Event()

    class Stuck(BaseTransaction):
        def run(self) -> None:
            release.wait()

    place, gate = Place(Stuck, 1), threading.Event()
    gate.set()
    cannon = ThreadCannon(place)
    cannon.start(0.0, None, ThreadEvents(gate, gate, threading.Event()))
    await until(lambda: cannon._under_way)
    cannon.unfinished(cannon._under_way[0] + 5.0)
    cannon.abandon()
    assert not cannon.alive
    thread = cannon._thread
    assert thread is not None
    release.set()
    await until(lambda: not thread.is_alive())
    assert place.hits == [(5.0, "not finished when the run ended")]
