"""The recent values of the tests of a run: those of the run itself, and of the runs before it on the same machine."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from smartmob.metrics.model import Run
from smartmob.metrics.runs import RunFinder
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.verdict.robust_statistics import median
from smartmob.metrics.verdict.scales import SCALES
from smartmob.metrics.verdict.verdicts import Resource, item_name

MAX_RUNS = 20
"""Runs whose values are read, the given one included."""
MAX_TESTS = 2_000
"""Tests in the answer, those with the largest values."""

_RUNS_PER_MACHINE = 4  # this multiple of the runs is read, because some may be of other machines
_MAX_VALUES = 100_000  # values that are read: with more tests, fewer runs are read


class RecentRun(msgspec.Struct, frozen=True):
    """A run to which values belong."""

    id: str
    scm_ref: str
    started_at: datetime


class RecentTest(msgspec.Struct, frozen=True):
    """A test: its value in each of the runs, None where it has none, and `usual`, the median before the last run.

    `variant` has the class of a method, as verdicts have it.
    """

    item_id: str
    path: str
    item: str
    variant: str
    values: list[float | None]
    usual: float | None


class RecentReport(msgspec.Struct, frozen=True):
    """Runs of one machine, oldest first, and the values of their tests in the unit of the resource."""

    resource: Resource
    unit: str
    runs: list[RecentRun]
    tests: list[RecentTest]


class RecentValues:
    """The use case that lists the recent values of tests."""

    def __init__(self, reader: HistoryReader, runs: RunFinder) -> None:
        self._reader = reader
        self._runs = runs

    async def of_run(self, ident: str, resource: Resource) -> RecentReport:
        """Return the values of the tests of a run and of the runs before it. Raises NotFound."""
        head = await self._runs.run(ident)
        position = (head.started_at, head.sessions[0].session_h)
        names = {place.name for place in head.places}
        earlier = [
            run
            for run in await self._runs.before(position, MAX_RUNS * _RUNS_PER_MACHINE)
            if names & {place.name for place in run.places}
        ]
        number = max(2, min(MAX_RUNS, _MAX_VALUES // max(1, head.metrics)))
        runs = [*earlier[: number - 1][::-1], head]
        tests = await self._tests(runs, resource)
        found = [RecentRun(run.id, run.scm_ref, run.started_at) for run in runs]
        return RecentReport(resource, SCALES[resource].unit, found, tests)

    async def _tests(self, runs: Sequence[Run], resource: Resource) -> list[RecentTest]:
        sessions = [session.session_h for run in runs for session in run.sessions]
        contexts = sorted({context for run in runs for context in run.contexts})
        by_session = await self._reader.values(resource, sessions, contexts)
        by_run = [_least(run, by_session) for run in runs]
        idents = sorted(by_run[-1], key=lambda ident: (-by_run[-1][ident], ident))[:MAX_TESTS]
        return [_recent(row["item_id"], item_name(row)[:3], by_run) for row in await self._reader.items(idents)]


def _least(run: Run, by_session: Mapping[str, Mapping[uuid.UUID, float]]) -> dict[uuid.UUID, float]:
    """Return the value of each test in a run: the least of its sessions."""
    least: dict[uuid.UUID, float] = {}
    for session in run.sessions:
        for ident, value in by_session.get(session.session_h, {}).items():
            least[ident] = min(value, least.get(ident, value))
    return least


def _recent(ident: uuid.UUID, name: tuple[str, str, str], by_run: Sequence[Mapping[uuid.UUID, float]]) -> RecentTest:
    values = [values.get(ident) for values in by_run]
    before = [value for value in values[:-1] if value is not None]
    return RecentTest(str(ident), *name, values, median(before) if before else None)
