"""The user pool: starts the cannons of one process by the plan, collects their results, and stops them."""

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
from smartmob.turrets.turret.arrival_queue import CoroutineArrivalQueue, ThreadArrivalQueue
from smartmob.turrets.turret.cannon import CoroutineCannon, ThreadCannon, ThreadEvents
from smartmob.turrets.turret.configuration import TurretConfiguration
from smartmob.turrets.turret.failure import Failure
from smartmob.turrets.turret.http_client import TRAFFIC
from smartmob.turrets.turret.result_buffer import ResultBuffer
from smartmob.turrets.turret.schedule import Arrivals, rampup
from smartmob.turrets.turret.script import Script
from smartmob.turrets.turret.self_monitor import LagMeter

_COLLECT_SECONDS = 0.1
"""Seconds between two collections of the results of threads, and between two checks whether they have ended."""

_STACK_BYTES = 512 * 1024
"""Bytes of address space for the stack of a thread."""


_Finished = tuple[float, float, Failure | None, Mapping[str, object], float, Mapping[str, Failure]]
"""The arguments of `UserPool.record`."""


class ResultBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one process since the previous batch; `counts` are those of the whole run.

    `frames` are raw results without sequence numbers. `lag` is the longest event loop lag in seconds.
    """

    counts: TurretCounts
    slices: list[Slice] = []
    frames: list[bytes] = []
    lag: float = 0.0


class FiringPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The time and the way to fire. `start` and `end` are times of the monotonic clock, which all processes here share.

    `details`: raw results have the kinds of their errors. `rate`: arrivals per second, in place of the rate and the
    rampup of the configuration; all processes of the turret share it.
    """

    start: float
    end: float
    raw: bool
    context: dict[str, Any]
    details: bool = False
    rate: float | None = None


class UserPool:
    """All cannons of one process, for one run. `share` is (index of this process, number of processes)."""

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
        self.stopped = False
        self._configuration = configuration
        self._tasks = tasks
        self._share = share
        self._plan = FiringPlan(start=0.0, end=0.0, raw=False, context={})
        self._results = ResultBuffer(configuration.name, 0.0, raw=False)
        self._traffic = TRAFFIC.sent, TRAFFIC.received
        self._coroutines: dict[asyncio.Task[None], CoroutineCannon] = {}
        self._threads: list[ThreadCannon] = []
        self._finished: deque[_Finished] = deque()
        self._queue: CoroutineArrivalQueue | ThreadArrivalQueue | None = None
        self._may_start, self._threads_may_start = asyncio.Event(), threading.Event()
        self._stop_event = threading.Event()
        self._paused_at: float | None = None
        self._users = 0
        self._lag = LagMeter()
        self.resume()

    # -- firing ---------------------------------------------------------------------------------------------------

    def record(
        self,
        ended: float,
        duration: float,
        failure: Failure | None,
        timers: Mapping[str, object],
        late: float,
        failed_timers: Mapping[str, Failure],
    ) -> None:
        """Record a finished transaction; may be called from any thread."""
        if self.script.asynchronous:
            self._results.add(ended - self._plan.start, duration, failure, timers, late, failed_timers)
        else:
            self._finished.append((ended, duration, failure, timers, late, failed_timers))

    async def fire(self, plan: FiringPlan) -> None:
        """Fire until `stop`; return when all cannons have ended or were abandoned. Raises RuntimeError.

        The cannons start over the rampup, counted from the start of the run or from now, whichever is later.
        """
        self._plan, self.context = plan, plan.context
        self._lag.start()
        began = max(plan.start, now := time.monotonic())
        epoch = clock.epoch() + plan.start - now
        self._results = ResultBuffer(self._configuration.name, epoch, raw=plan.raw, details=plan.details)
        self._results.counts.joined = round(began - plan.start, 3)
        self._traffic = TRAFFIC.sent, TRAFFIC.received
        arrivals = self._configuration.arrivals() if plan.rate is None else Arrivals.of(plan.rate)
        seconds = self._configuration.rampup if plan.rate is None else 0.0
        index, number = self._share
        total = self._configuration.cannons
        starts = [began + rampup(k, total, seconds) for k in range(index, total, number)]
        if self.script.asynchronous:
            queue = None if arrivals is None else CoroutineArrivalQueue(arrivals, plan.start, plan.end, self._share)
            self._queue = queue
            await self._fire_coroutines(starts, queue)
        else:
            thread_queue = None if arrivals is None else ThreadArrivalQueue(arrivals, plan.start, plan.end, self._share)
            self._queue = thread_queue
            await self._fire_threads(starts, thread_queue)
        self._lag.stop()

    # -- control --------------------------------------------------------------------------------------------------

    def stop(self, *, at_once: bool) -> None:
        """Start no more transactions; those under way have `grace` seconds to end, or none with `at_once`."""
        if self._queue is not None and not self.stopped:
            self._results.counts.never_started = self._queue.missed(time.monotonic())
            self._queue.stop()
        self.stopped = True
        self._stop_event.set()
        self.resume()
        grace = 0.0 if at_once else self._configuration.grace
        asyncio.get_running_loop().call_later(grace, self._abandon_unfinished)

    def pause(self) -> None:
        """Start no transaction until `resume`."""
        if self._paused_at is None and not self.stopped:
            self._paused_at = time.monotonic()
            self._may_start.clear()
            self._threads_may_start.clear()

    def resume(self) -> None:
        """End a pause, if there is one."""
        if self._paused_at is not None:
            self._results.counts.paused += time.monotonic() - self._paused_at
            self._paused_at = None
        self._may_start.set()
        self._threads_may_start.set()

    def take(self, *, everything: bool = False) -> ResultBatch:
        """Remove and return the results of the seconds that are over, or of all with `everything`."""
        self._collect()
        before = float("inf") if everything else time.monotonic() - self._plan.start
        counts, (sent, received) = self._results.counts, self._traffic
        counts.users = self._users
        counts.sent, counts.received = TRAFFIC.sent - sent, TRAFFIC.received - received
        return ResultBatch(
            counts=msgspec.structs.replace(counts),
            slices=self._results.take_slices(before),
            frames=self._results.take_frames(),
            lag=self._lag.take(),
        )

    # -- coroutines -----------------------------------------------------------------------------------------------

    async def _fire_coroutines(self, starts: list[float], queue: CoroutineArrivalQueue | None) -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        waiting = deque(starts)

        def begin() -> None:
            """Start the cannons that are due, and set a timer for the next one."""
            now = time.monotonic()
            while waiting and waiting[0] <= now and not self.stopped:
                waiting.popleft()
                cannon = CoroutineCannon(self)
                task = self._tasks.start("cannon", cannon.fire(queue, self._may_start))
                self._coroutines[task] = cannon
                task.add_done_callback(end)
                self._users += 1
            if self.stopped:
                waiting.clear()
            if waiting:
                loop.call_later(min(waiting[0] - now, _COLLECT_SECONDS), begin)
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

    async def _fire_threads(self, starts: list[float], queue: ThreadArrivalQueue | None) -> None:
        before = threading.stack_size(_STACK_BYTES)
        # No thread fires before all are started: a new thread has to wait for the interpreter lock behind all that are
        # firing, and starting 1,000 threads that way took 17 s.
        events = ThreadEvents(threading.Event(), self._threads_may_start, self._stop_event)
        try:
            for at in starts:
                cannon = ThreadCannon(self)
                cannon.start(at, queue, events)
                self._threads.append(cannon)
        except RuntimeError:
            self._stop_event.set()
            raise RuntimeError(
                f"this machine allows no more than {len(self._threads)} threads in a process: have fewer cannons, "
                'more "processes", or async def run()'
            ) from None
        finally:
            threading.stack_size(before)
            events.all_started.set()
        while alive := [cannon for cannon in self._threads if cannon.alive]:
            now = time.monotonic()
            self._users = sum(1 for at in starts if at <= now) if len(alive) == len(starts) else len(alive)
            self._threads = alive
            self._collect()
            await asyncio.sleep(_COLLECT_SECONDS)
        self._users = 0
        self._collect()

    def _collect(self) -> None:
        """Add the finished transactions of threads to the results."""
        finished, start, add = self._finished, self._plan.start, self._results.add
        # Do not wait for an empty queue: threads keep adding to it.
        for _ in range(len(finished)):
            ended, duration, failure, timers, late, failed_timers = finished.popleft()
            add(ended - start, duration, failure, timers, late, failed_timers)

    def _abandon_unfinished(self) -> None:
        """Record unfinished transactions as errors; coroutines are cancelled, threads are no longer waited for."""
        now = time.monotonic()
        for task, cannon in list(self._coroutines.items()):
            cannon.record_unfinished(now)
            task.cancel()
        for thread in self._threads:
            thread.record_unfinished(now)
            thread.abandon()
