"""The self monitoring of a turret."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

from smartmob.turrets.turret.self_monitor import LagMeter, SelfMonitor
from tests.waiting import until


async def test_the_lag_of_a_blocked_loop_is_measured_once() -> None:
    """The next value begins anew, and a stopped meter shows nothing."""
    meter = LagMeter()
    meter.start()
    await asyncio.sleep(0)
    _hold_up()
    assert meter.take() > 0.2
    await asyncio.sleep(0.06)
    meter.stop()
    meter.take()
    assert meter.take() == 0.0


def _hold_up() -> None:
    time.sleep(0.3)


def _busy() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)


async def test_processor_time_and_memory_include_the_workers() -> None:
    """A process that has ended is left out."""
    worker = _busy()
    try:
        assert worker.stdout is not None
        await asyncio.to_thread(worker.stdout.readline)
        monitor = SelfMonitor()
        alone = monitor.read(())
        busy = await until(lambda: (found := monitor.read((worker.pid,), 0.25)).busiest > 0 and found)
    finally:
        worker.kill()
        worker.wait()
        worker.communicate()
    assert (busy.processes, busy.lag) == (2, 0.25)
    assert busy.memory > alone.memory
    assert busy.cpu >= busy.busiest > 0
    assert busy.cores >= 1
    gone = await until(lambda: (found := monitor.read((worker.pid,))).memory < busy.memory and found)
    assert gone.processes == 2


def test_a_worker_that_died_before_it_was_measured() -> None:
    """The turret reports the death of the worker, and does not die of it."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    monitor = SelfMonitor()
    monitor._last = None  # measure at once
    assert monitor.read((gone.pid,)).memory > 0
