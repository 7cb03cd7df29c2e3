"""Background work that is repeated."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from smartmob.errors import Unavailable
from smartmob.kernel.runtime import periodic
from tests.waiting import SECONDS


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic, "FIRST_ROUND_SECONDS", 0.0)


async def test_work_is_repeated_although_the_database_was_unavailable() -> None:
    """A round without database is reported, and one with an unexpected error is logged; the next one is done."""
    outcomes: list[Exception | None] = [None, Unavailable("away"), ValueError("a bug"), None]
    reported: list[str] = []
    done, ended = [], asyncio.Event()

    async def work() -> None:
        if len(done) == len(outcomes):
            ended.set()
            return
        done.append(outcome := outcomes[len(done)])
        if outcome is not None:
            raise outcome

    with structlog.testing.capture_logs() as logged:
        running = asyncio.create_task(
            periodic.run_periodically(work, 0.0, lambda error: reported.append(str(error))), name="x-maintenance"
        )
        async with asyncio.timeout(SECONDS):
            await ended.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (done, reported) == (outcomes, ["away"])
    errors = [(entry["event"], entry["task"], str(entry["exc_info"])) for entry in logged]
    assert errors == [("maintenance.broken", "x-maintenance", "a bug")]


async def test_the_first_round_comes_after_the_first_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that starts does not maintain its tables at once."""
    monkeypatch.setattr(periodic, "FIRST_ROUND_SECONDS", 1000.0)
    done = []

    async def work() -> None:
        done.append(1)

    task = asyncio.create_task(periodic.run_periodically(work, 0.0, done.append))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert done == []
