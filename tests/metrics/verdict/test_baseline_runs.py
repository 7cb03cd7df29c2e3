"""Which runs are compared, and which lie around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from smartmob.kernel.db.database import Database
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.verdict.baseline_runs import MAX_HISTORY, BaselineRun, BaselineRuns, ComparisonPlan
from smartmob.metrics.verdict.verdicts import Side
from smartmob.settings import Settings
from tests.metrics.suites import BASE, describe, send

CONTEXTS = ["c" * 32]


def _side(*sessions: str) -> Side:
    return Side("name", "session", sessions[0], "", list(sessions), BASE)


def _names(occasions: tuple[BaselineRun, ...]) -> list[str]:
    return ["+".join(occasion.hashes) for occasion in occasions]


@pytest.fixture(name="occasions")
async def _occasions(client: Any, settings: Settings) -> AsyncIterator[BaselineRuns]:
    """Return the finder of occasions in the database of a service."""
    await describe(client)
    database = Database(settings.database, None)
    await database.open()
    yield BaselineRuns(HistoryReader(database), timedelta(seconds=5))
    await database.close()


async def _plan(occasions: BaselineRuns, base: Side | None, head: Side) -> ComparisonPlan:
    plan = await occasions.plan(CONTEXTS, base, head)
    assert plan is not None
    return plan


async def test_what_lies_around(client: Any, occasions: BaselineRuns) -> None:
    """What was before the base, between, and after the head; nothing of it twice."""
    for hour in range(9):
        await send(client, f"s{hour}", hour)
    plan = await _plan(occasions, _side("s3"), _side("s6"))
    assert (_names(plan.earlier), _names(plan.base), _names(plan.head)) == (["s0", "s1", "s2"], ["s3"], ["s6"])
    assert _names(plan.confirming) == ["s5", "s7"]
    assert len(plan.all_runs()) == 7


async def test_the_history_of_a_run(client: Any, occasions: BaselineRuns) -> None:
    """Without a base it ends before the head, and has a bound."""
    for hour in range(MAX_HISTORY + 4):
        await send(client, f"s{hour:02}", hour)
    plan = await _plan(occasions, None, _side(f"s{MAX_HISTORY + 2}"))
    assert len(plan.earlier) == MAX_HISTORY
    assert _names(plan.earlier)[-1] == f"s{MAX_HISTORY + 1}"
    assert (plan.base, plan.between) == ((), None)
    assert plan.after is not None
    assert plan.after.hashes == [f"s{MAX_HISTORY + 3}"]


async def test_a_head_before_the_base(client: Any, occasions: BaselineRuns) -> None:
    """Nothing lies between, and the head is not of the history."""
    for hour in range(6):
        await send(client, f"s{hour}", hour)
    plan = await _plan(occasions, _side("s4"), _side("s2"))
    assert (_names(plan.earlier), plan.between) == (["s0", "s1", "s3"], None)


async def test_branches(client: Any, occasions: BaselineRuns) -> None:
    """The history is of the base's branch once it is long enough, and the occasions around are of the head's."""
    for hour in range(12):
        await send(client, f"s{hour:02}", hour, tags={"pipeline_branch": "main" if hour % 2 else "dev"})
    plan = await _plan(occasions, _side("s05"), _side("s08"))
    assert _names(plan.earlier) == ["s00", "s01", "s02", "s03", "s04"]
    assert _names(plan.confirming) == ["s06", "s10"]
    plan = await _plan(occasions, None, _side("s11"))
    assert _names(plan.earlier) == ["s01", "s03", "s05", "s07", "s09"]


async def test_the_same_commit_first(client: Any, occasions: BaselineRuns) -> None:
    """A head is rather confirmed by its own commit than by the next one."""
    for hour in range(4):
        await send(client, f"s{hour}", hour, scm_ref="one" if hour in (1, 3) else f"other-{hour}")
    plan = await _plan(occasions, _side("s0"), _side("s1"))
    assert plan.after is not None
    assert plan.after.hashes == ["s3"]


async def test_workers(client: Any, occasions: BaselineRuns) -> None:
    """Sessions of one run are one occasion."""
    for hour in range(3):
        for worker in range(2):
            await send(client, f"s{hour}-{worker}", hour + worker / 3600, scm_ref=f"c{hour}")
    plan = await _plan(occasions, _side("s1-0", "s1-1"), _side("s2-0", "s2-1"))
    assert (_names(plan.earlier), _names(plan.base)) == (["s0-0+s0-1"], ["s1-0+s1-1"])


async def test_elsewhere(client: Any, occasions: BaselineRuns) -> None:
    """There is no plan for a place where one side was not measured."""
    await send(client, "s0", 0)
    await send(client, "s1", 1, context_h="d" * 32)
    assert await occasions.plan(CONTEXTS, _side("s0"), _side("s1")) is None
    assert await occasions.plan(CONTEXTS, _side("s1"), _side("s0")) is None
