"""The trend service: reads the history of each machine and finds the tests whose level changed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from smartmob.kernel.runtime import clock
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.verdict import trends
from smartmob.metrics.verdict.baseline_runs import BaselineRun, BaselineRuns
from smartmob.metrics.verdict.cache import VerdictCache
from smartmob.metrics.verdict.change_detection import ChangeLimits, ItemName
from smartmob.metrics.verdict.environment_finder import EnvironmentFinder
from smartmob.metrics.verdict.scales import SCALES
from smartmob.metrics.verdict.trends import MeasuredPlace, MeasuredRun, Trend, TrendPlace, TrendReport, TrendRequest
from smartmob.metrics.verdict.verdicts import item_name

MAX_RUNS = 200
"""Latest runs of a machine that are searched."""

_MAX_PLACES = 20  # places that measured last
_MAX_VALUES = 400_000  # values of tests that are read for one machine: some tens of MB
_VALUES_AT_ONCE = 5_000  # values that one query reads, so that its answer takes the event loop some 10 ms
_MAX_SESSIONS = 5_000  # latest sessions among which machines are searched
_CACHE_SECONDS = 20.0
_SEARCHES_AT_ONCE = 1  # each keeps a thread busy
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class TrendService:
    """The use case that lists tests whose level changed. `cache` is that of the comparisons, which new data clears."""

    def __init__(
        self,
        reader: HistoryReader,
        environments: EnvironmentFinder,
        baseline_runs: BaselineRuns,
        cache: VerdictCache[Any],
    ) -> None:
        self._reader = reader
        self._environments = environments
        self._baseline_runs = baseline_runs
        self._cache = cache
        self._slots = asyncio.Semaphore(_SEARCHES_AT_ONCE)

    async def _cached(self, request: TrendRequest) -> tuple[list[Trend], list[TrendPlace]]:
        key = ("trends", msgspec.json.encode(request))
        async with self._slots:
            # Another request may have computed the same in the meantime.
            found: tuple[list[Trend], list[TrendPlace]] | None = self._cache.get(key, clock.epoch())
            if found is None:
                with self._cache.track_changes() as changed:
                    found, sessions, contexts = await self._search(request)
                    self._cache.put(key, found, clock.epoch() + _CACHE_SECONDS, changed, sessions, contexts)
        return found

    async def trends(self, request: TrendRequest, names: Sequence[str] = ()) -> TrendReport:
        """Return the trends of all tests, or of those that have one of `names` in their name."""
        everything = msgspec.structs.replace(request, name=None, item=None, limit=1)
        rows, places = await self._cached(everything)
        if request.item is not None:
            same = await self._same_test(request.item)
            rows = [one for one in rows if (one.path, one.item, one.variant, one.kind) in same]
        if names:
            rows = [one for one in rows if any(name in f"{one.path}::{one.variant or one.item}" for name in names)]
        unit = SCALES[request.resource].unit
        words = trends.explain(rows, places, selected=request.branch is not None or request.since is not None)
        return TrendReport(request.resource, unit, words, len(rows), places, rows[: request.limit])

    async def _same_test(self, ident: str) -> set[ItemName]:
        """Return the name of a test by its id, in a set that is empty for another text."""
        try:
            rows = await self._reader.items([uuid.UUID(ident)])
        except ValueError:
            return set()
        return {item_name(row) for row in rows}

    async def _search(
        self, request: TrendRequest
    ) -> tuple[tuple[list[Trend], list[TrendPlace]], frozenset[str], frozenset[str]]:
        """Return the trends and the places, and the sessions and contexts that they depend on."""
        found: list[Trend] = []
        places: list[TrendPlace] = []
        sessions: set[str] = set()
        contexts: set[str] = set()
        since = request.since or _LONG_AGO
        for measured_in in await self._environments.latest(since, _MAX_SESSIONS, _MAX_PLACES):
            selection = await self._environments.selection(measured_in)
            hashes = selection.fit
            every_run = await self._baseline_runs.latest(selection, since, MAX_RUNS)
            branch, runs = _of_branch(every_run, request.branch)
            contexts.update(hashes)
            sessions.update(session for run in every_run for session in run.hashes)
            if not runs:
                continue
            measured, ids = await self._measured(runs, hashes, request.resource)
            context = measured_in.context
            node, python = ("", "") if context is None else (context.machine_node, context.python_info)
            place = MeasuredPlace(measured_in.context_h, node, python, ids)
            scale = SCALES[request.resource]
            limits = ChangeLimits(request.min_effect)
            found += await asyncio.to_thread(trends.find_trends, measured, place, scale, limits)
            span = (measured[0].started_at, measured[-1].started_at) if measured else (since, since)
            places.append(TrendPlace(*place[:3], branch, len(measured), len(ids), *span))
        return (trends.by_importance(found), places), frozenset(sessions), frozenset(contexts)

    async def _measured(
        self, runs: Sequence[BaselineRun], contexts: Sequence[str], resource: str
    ) -> tuple[list[MeasuredRun], dict[ItemName, str]]:
        """Return the latest of some runs with their values, in the order of time, and the ids of the tests."""
        measured: list[MeasuredRun] = []
        names: dict[uuid.UUID, ItemName] = {}
        total, index, at_once = 0, len(runs), 1
        while index > 0 and total < _MAX_VALUES:
            chunk = runs[max(0, index - at_once) : index]
            index -= len(chunk)
            hashes = [name for run in chunk for name in run.hashes]
            by_session = await self._reader.values(resource, hashes, contexts)
            await self._name(by_session, names)
            read = sum(map(len, by_session.values()))
            total += read
            at_once = max(1, min(len(runs), _VALUES_AT_ONCE * len(chunk) // max(read, 1)))
            measured = [
                *(run for run in (_measured_run(run, by_session, names) for run in chunk) if run.values),
                *measured,
            ]
        return measured, {name: str(ident) for ident, name in names.items()}

    async def _name(
        self, by_session: Mapping[str, Mapping[uuid.UUID, float]], names: dict[uuid.UUID, ItemName]
    ) -> None:
        """Add the names of tests that are not in `names` yet."""
        unknown = {ident for found in by_session.values() for ident in found} - names.keys()
        if unknown:
            for row in await self._reader.items(list(unknown)):
                names[row["item_id"]] = item_name(row)


def _of_branch(runs: Sequence[BaselineRun], wanted: str | None) -> tuple[str | None, list[BaselineRun]]:
    """Return the branch that is wanted, or else the one with the most runs, and its runs."""
    if wanted is None:
        by_number: dict[str | None, int] = {}
        for run in runs:
            by_number[run.branch] = by_number.get(run.branch, 0) + 1
        wanted = max(by_number, key=lambda branch: by_number[branch], default=None)
    return wanted, [run for run in runs if run.branch == wanted]


def _measured_run(
    run: BaselineRun, by_session: Mapping[str, Mapping[uuid.UUID, float]], names: Mapping[uuid.UUID, ItemName]
) -> MeasuredRun:
    least: dict[ItemName, float] = {}
    for session_h in run.hashes:
        for ident, value in by_session.get(session_h, {}).items():
            name = names[ident]
            least[name] = min(value, least.get(name, value))
    return MeasuredRun(run.first[0], run.sessions[0].run_tag or run.sessions[0].session_h, run.scm_ref, least)
