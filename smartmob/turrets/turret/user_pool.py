"""The cannons of one process: starts them by the plan, gathers what they do, and ends them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.turrets.protocol import Slice, TurretCounts
from smartmob.turrets.turret.arrival_queue import CoroutineArrivals, ThreadArrivals
from smartmob.turrets.turret.cannon import CoroutineCannon, ThreadCannon, ThreadEvents
from smartmob.turrets.turret.configuration import TurretConfiguration
from smartmob.turrets.turret.result_buffer import ResultBuffer
from smartmob.turrets.turret.schedule import rampup
from smartmob.turrets.turret.script import Script
from smartmob.turrets.turret.self_monitor import LagMeter

_GATHER = 0.1
"""Seconds between two looks at what threads have done, and whether they have ended."""

_STACK = 512 * 1024
"""Bytes of address space for the stack of a thread."""


class ResultBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What the cannons of one process did since the last time; `counts` are those of the whole run.

    `frames` are raw results without numbers. `lag` is the longest delay of its event loop, in seconds.
    """

    counts: TurretCounts
    slices: list[Slice] = []
    frames: list[bytes] = []
    lag: float = 0.0


class FiringPlan(msgspec.Struct, frozen=True, kw_only=True):
    """When and how to fire: `start` and `end` are times of the monotonic clock, which all processes share."""

    start: float
    end: float
    raw: bool
    context: dict[str, Any]


class UserPool:
    """Fires once. `share` is (index, number) of this process among those of the turret."""

    def __init__(
        self,
        script: Script,
        config: Mapping[str, Any],
        configuration: TurretConfiguration,
        tasks: TaskRegistry,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.script = script
        self.config = config
        self.context: Mapping[str, Any] = {}
        self.ceased = False
        self._configuration = configuration
        self._tasks = tasks
        self._share = share
        self._plan = FiringPlan(start=0.0, end=0.0, raw=False, context={})
        self._tally = ResultBuffer(configuration.name, 0.0, raw=False)
        self._coroutines: dict[asyncio.Task[None], CoroutineCannon] = {}
        self._threads: list[ThreadCannon] = []
        self._hits: deque[tuple[float, float, str, Mapping[str, object], float]] = deque()
        self._turns: CoroutineArrivals | ThreadArrivals | None = None
        self._gate, self._thread_gate = asyncio.Event(), threading.Event()
        self._cease = threading.Event()
        self._paused_at: float | None = None
        self._users = 0
        self._lag = LagMeter()
        self.resume()

    # -- for those who fire ---------------------------------------------------------------------------------------

    def hit(self, ended: float, duration: float, error: str, timers: Mapping[str, object], late: float) -> None:
        """Take a finished transaction, from any thread."""
        if self.script.asynchronous:
            self._tally.add(ended - self._plan.start, duration, error, timers, late)
        else:
            self._hits.append((ended, duration, error, timers, late))

    async def fire(self, plan: FiringPlan) -> None:
        """Fire until `cease`; return when all cannons have ended or were given up. Raises RuntimeError.

        The cannons start over the rampup, counted from the start of the run or from now, whichever is later.
        """
        self._plan, self.context = plan, plan.context
        self._lag.start()
        began = max(plan.start, now := time.monotonic())
        self._tally = ResultBuffer(self._configuration.name, clock.epoch() + plan.start - now, raw=plan.raw)
        arrivals = self._configuration.arrivals()
        index, number = self._share
        total = self._configuration.cannons
        starts = [began + rampup(k, total, self._configuration.rampup) for k in range(index, total, number)]
        if self.script.asynchronous:
            turns = None if arrivals is None else CoroutineArrivals(arrivals, plan.start, plan.end, self._share)
            self._turns = turns
            await self._fire_coroutines(starts, turns)
        else:
            thread_turns = None if arrivals is None else ThreadArrivals(arrivals, plan.start, plan.end, self._share)
            self._turns = thread_turns
            await self._fire_threads(starts, thread_turns)
        self._lag.stop()

    # -- for those who command ------------------------------------------------------------------------------------

    def cease(self, *, at_once: bool) -> None:
        """Start no more transactions; those under way get `grace` seconds, or none with `at_once`."""
        if self._turns is not None and not self.ceased:
            self._tally.counts.never_started = self._turns.missed(time.monotonic())
            self._turns.cease()
        self.ceased = True
        self._cease.set()
        self.resume()
        grace = 0.0 if at_once else self._configuration.grace
        asyncio.get_running_loop().call_later(grace, self._give_up)

    def pause(self) -> None:
        """Begin no transaction until `resume`."""
        if self._paused_at is None and not self.ceased:
            self._paused_at = time.monotonic()
            self._gate.clear()
            self._thread_gate.clear()

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._paused_at is not None:
            self._tally.counts.paused += time.monotonic() - self._paused_at
            self._paused_at = None
        self._gate.set()
        self._thread_gate.set()

    def take(self, *, everything: bool = False) -> ResultBatch:
        """Return what is new: the seconds that are over, or everything."""
        self._gather()
        before = float("inf") if everything else time.monotonic() - self._plan.start
        self._tally.counts.users = self._users
        return ResultBatch(
            counts=msgspec.structs.replace(self._tally.counts),
            slices=self._tally.take_slices(before),
            frames=self._tally.take_frames(),
            lag=self._lag.take(),
        )

    # -- coroutines -----------------------------------------------------------------------------------------------

    async def _fire_coroutines(self, starts: list[float], turns: CoroutineArrivals | None) -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        waiting = deque(starts)

        def begin() -> None:
            """Start the cannons that are due, and come back for the next one."""
            now = time.monotonic()
            while waiting and waiting[0] <= now and not self.ceased:
                waiting.popleft()
                cannon = CoroutineCannon(self)
                task = self._tasks.start("cannon", cannon.fire(turns, self._gate))
                self._coroutines[task] = cannon
                task.add_done_callback(end)
                self._users += 1
            if self.ceased:
                waiting.clear()
            if waiting:
                loop.call_later(min(waiting[0] - now, _GATHER), begin)
            elif not self._coroutines:
                ended.set()

        def end(task: asyncio.Task[None]) -> None:
            self._coroutines.pop(task)
            self._users -= 1
            if not self._coroutines and not waiting:
                ended.set()

        begin()
        await ended.wait()

    # -- threads --------------------------------------------------------------------------------------------------

    async def _fire_threads(self, starts: list[float], turns: ThreadArrivals | None) -> None:
        before = threading.stack_size(_STACK)
        # While some fire, each thread that is started waits for its turn at the interpreter, behind all that fire: with
        # a thousand that took 17 s. So none fires before all are there.
        signs = ThreadEvents(threading.Event(), self._thread_gate, self._cease)
        try:
            for at in starts:
                cannon = ThreadCannon(self)
                cannon.start(at, turns, signs)
                self._threads.append(cannon)
        except RuntimeError:
            self._cease.set()
            raise RuntimeError(
                f"this machine allows no more than {len(self._threads)} threads in a process: have fewer cannons, "
                'more "processes", or async def run()'
            ) from None
        finally:
            threading.stack_size(before)
            signs.manned.set()
        while alive := [cannon for cannon in self._threads if cannon.alive]:
            now = time.monotonic()
            self._users = sum(1 for at in starts if at <= now) if len(alive) == len(starts) else len(alive)
            self._threads = alive
            self._gather()
            await asyncio.sleep(_GATHER)
        self._users = 0
        self._gather()

    def _gather(self) -> None:
        """Count what threads have done."""
        hits, start, add = self._hits, self._plan.start, self._tally.add
        # Not until there are none: threads add more meanwhile.
        for _ in range(len(hits)):
            ended, duration, error, timers, late = hits.popleft()
            add(ended - start, duration, error, timers, late)

    def _give_up(self) -> None:
        """Count what has not ended by now as errors; coroutines are cancelled, threads are left to themselves."""
        now = time.monotonic()
        for task, cannon in list(self._coroutines.items()):
            cannon.unfinished(now)
            task.cancel()
        for thread in self._threads:
            thread.unfinished(now)
            thread.abandon()
