"""Background work that is repeated."""

from __future__ import annotations

import asyncio

import pytest

from smartmob.errors import Unavailable
from smartmob.kernel.runtime import periodic
from tests.waiting import SECONDS


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic, "FIRST_ROUND_SECONDS", 0.0)


async def test_work_is_repeated_although_the_database_was_unavailable() -> None:
    """A round without database is reported, and the next one is done; an unexpected error ends the work."""
    outcomes: list[Exception | None] = [None, Unavailable("away"), None, ValueError("a bug")]
    reported: list[str] = []
    done = []

    async def work() -> None:
        outcome = outcomes[len(done)]
        done.append(outcome)
        if outcome is not None:
            raise outcome

    async with asyncio.timeout(SECONDS):
        with pytest.raises(ValueError, match="a bug"):
            await periodic.run_periodically(work, 0.0, lambda error: reported.append(str(error)))
    assert (done, reported) == (outcomes, ["away"])


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
