"""Worker processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.turrets.turret.script import ScriptError
from smartmob.turrets.turret.user_pool import FiringPlan
from smartmob.turrets.turret.workers import WorkerDied, Workers
from tests.turrets.turret.turrets import COROUTINE, package
from tests.waiting import until


@pytest.fixture(name="workers")
async def _workers() -> AsyncIterator[Workers]:
    """Return workers that are not started, and end them."""
    tasks = TaskRegistry()
    made = Workers(tasks)
    yield made
    await made.close()
    await tasks.close()


def _plan() -> FiringPlan:
    start = time.monotonic()
    return FiringPlan(start=start, end=start + 1e6, raw=False, context={})


async def _start(workers: Workers, folder: Path, script: str = COROUTINE) -> None:
    made = package(folder, (1, 1), script, cannons=4, processes=2)
    await workers.start(2, made.given, str(made.script), [str(folder)])


async def test_workers_fire_run_after_run(workers: Workers, tmp_path: Path) -> None:
    """All results have arrived when a run has ended."""
    await _start(workers, tmp_path)
    for _ in range(2):
        fire = asyncio.create_task(workers.fire(_plan()))
        seen = 0

        def look() -> bool:
            nonlocal seen
            batch = workers.take()
            seen += sum(part.count for part in batch.slices)
            return batch.counts.users == 4

        await until(look)
        workers.stop(at_once=False)
        await fire
        batch = workers.take(everything=True)
        assert seen + sum(part.count for part in batch.slices) == batch.counts.transactions > 0


async def test_a_pause_reaches_all_workers(workers: Workers, tmp_path: Path) -> None:
    """Its time is counted."""
    await _start(workers, tmp_path)
    fire = asyncio.create_task(workers.fire(_plan()))
    await until(lambda: workers.take().counts.users == 4)
    workers.pause()
    workers.resume()
    workers.stop(at_once=True)
    await fire
    assert workers.take().counts.paused > 0


async def test_the_reason_of_a_worker_is_the_error(workers: Workers, tmp_path: Path) -> None:
    """The reason comes from the process that tried."""
    with pytest.raises(ScriptError, match="no class Transaction"):
        await _start(workers, tmp_path, "x = 1")


async def test_a_dead_worker_fails_the_run(workers: Workers, tmp_path: Path) -> None:
    """With its exit status, and so it does the next run."""
    await _start(workers, tmp_path)
    fire = asyncio.create_task(workers.fire(_plan()))
    await until(lambda: workers.take().counts.users == 4)
    psutil.Process(workers.pids[0]).kill()
    await until(lambda: workers._children[0].ended.done())
    workers.stop(at_once=True)
    with pytest.raises(RuntimeError, match="ended with -9"):
        await fire
    with pytest.raises(WorkerDied, match="ended with -9"):
        await workers.fire(_plan())


async def test_workers_end_when_their_pipe_is_closed(workers: Workers, tmp_path: Path) -> None:
    """Whatever they are doing."""
    await _start(workers, tmp_path)
    processes = [psutil.Process(pid) for pid in workers.pids]
    task = asyncio.create_task(workers.fire(_plan()))
    await until(lambda: workers.take().counts.users == 4)
    await workers.close()
    assert not any(process.is_running() for process in processes)
    with pytest.raises(RuntimeError):
        await task
