"""The selection of the runs that are compared, and of those around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from smartmob.kernel.db.database import Database
from smartmob.metrics.store.histories import EnvironmentSelection, HistoryReader
from smartmob.metrics.verdict.baseline_runs import MAX_HISTORY, BaselineRun, BaselineRuns, ComparisonPlan
from smartmob.metrics.verdict.verdicts import Side
from smartmob.settings import Settings
from tests.metrics.suites import BASE, describe, send

CONTEXTS = EnvironmentSelection(["c" * 32], ["c" * 32], [], "rack7")


def _side(*sessions: str) -> Side:
    return Side("name", "session", sessions[0], "", list(sessions), BASE)


def _names(runs: tuple[BaselineRun, ...]) -> list[str]:
    return ["+".join(run.hashes) for run in runs]


@pytest.fixture(name="baseline_runs")
async def _baseline_runs(client: Any, settings: Settings) -> AsyncIterator[BaselineRuns]:
    """Return the selection of runs in the database of a service."""
    await describe(client)
    database = Database(settings.database, None)
    await database.open()
    yield BaselineRuns(HistoryReader(database), timedelta(seconds=5))
    await database.close()


async def _plan(baseline_runs: BaselineRuns, base: Side | None, head: Side) -> ComparisonPlan:
    plan = await baseline_runs.plan(CONTEXTS, base, head)
    assert plan is not None
    return plan


async def test_a_plan_has_the_runs_before_between_and_after(client: Any, baseline_runs: BaselineRuns) -> None:
    """Each run is in the plan once: before the base, between base and head, or after the head."""
    for hour in range(9):
        await send(client, f"s{hour}", hour)
    plan = await _plan(baseline_runs, _side("s3"), _side("s6"))
    assert (_names(plan.earlier), _names(plan.base), _names(plan.head)) == (["s0", "s1", "s2"], ["s3"], ["s6"])
    assert _names(plan.confirming) == ["s5", "s7"]
    assert len(plan.all_runs()) == 7


async def test_without_a_base_the_history_ends_before_the_head(client: Any, baseline_runs: BaselineRuns) -> None:
    """Without a base the history ends before the head, and its length is bounded."""
    for hour in range(MAX_HISTORY + 4):
        await send(client, f"s{hour:02}", hour)
    plan = await _plan(baseline_runs, None, _side(f"s{MAX_HISTORY + 2}"))
    assert len(plan.earlier) == MAX_HISTORY
    assert _names(plan.earlier)[-1] == f"s{MAX_HISTORY + 1}"
    assert (plan.base, plan.between) == ((), None)
    assert plan.after is not None
    assert plan.after.hashes == [f"s{MAX_HISTORY + 3}"]


async def test_a_head_before_the_base_is_not_part_of_the_history(client: Any, baseline_runs: BaselineRuns) -> None:
    """Nothing lies between then, and the history lacks the head."""
    for hour in range(6):
        await send(client, f"s{hour}", hour)
    plan = await _plan(baseline_runs, _side("s4"), _side("s2"))
    assert (_names(plan.earlier), plan.between) == (["s0", "s1", "s3"], None)


async def test_the_history_is_of_the_branch_if_it_is_long_enough(client: Any, baseline_runs: BaselineRuns) -> None:
    """The history is of the base's branch, and confirming runs are of the head's branch."""
    for hour in range(12):
        await send(client, f"s{hour:02}", hour, tags={"pipeline_branch": "main" if hour % 2 else "dev"})
    plan = await _plan(baseline_runs, _side("s05"), _side("s08"))
    assert _names(plan.earlier) == ["s00", "s01", "s02", "s03", "s04"]
    assert _names(plan.confirming) == ["s06", "s10"]
    plan = await _plan(baseline_runs, None, _side("s11"))
    assert _names(plan.earlier) == ["s01", "s03", "s05", "s07", "s09"]


async def test_a_head_is_confirmed_by_its_own_commit_first(client: Any, baseline_runs: BaselineRuns) -> None:
    """A later run of the same commit is preferred to the next run."""
    for hour in range(4):
        await send(client, f"s{hour}", hour, scm_ref="one" if hour in (1, 3) else f"other-{hour}")
    plan = await _plan(baseline_runs, _side("s0"), _side("s1"))
    assert plan.after is not None
    assert plan.after.hashes == ["s3"]


async def test_sessions_of_parallel_workers_are_one_run(client: Any, baseline_runs: BaselineRuns) -> None:
    """The sessions of one run are one entry of the plan."""
    for hour in range(3):
        for worker in range(2):
            await send(client, f"s{hour}-{worker}", hour + worker / 3600, scm_ref=f"c{hour}")
    plan = await _plan(baseline_runs, _side("s1-0", "s1-1"), _side("s2-0", "s2-1"))
    assert (_names(plan.earlier), _names(plan.base)) == (["s0-0+s0-1"], ["s1-0+s1-1"])


async def test_there_is_no_plan_if_one_side_was_measured_elsewhere(client: Any, baseline_runs: BaselineRuns) -> None:
    """Both sides must have sessions in the environment."""
    await send(client, "s0", 0)
    await send(client, "s1", 1, context_h="d" * 32)
    assert await baseline_runs.plan(CONTEXTS, _side("s0"), _side("s1")) is None
    assert await baseline_runs.plan(CONTEXTS, _side("s1"), _side("s0")) is None
