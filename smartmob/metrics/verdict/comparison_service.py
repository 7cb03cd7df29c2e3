"""The comparison service: reads the runs of both sides and the host load, and detects what changed between them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from smartmob.errors import InvalidInput, NotFound
from smartmob.kernel.runtime import clock
from smartmob.metrics.runs import RunFinder
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.verdict import change_detection, place, series, verdicts
from smartmob.metrics.verdict.baseline_runs import BaselineRun, BaselineRuns, ComparisonPlan, Position
from smartmob.metrics.verdict.cache import VerdictCache
from smartmob.metrics.verdict.change_detection import MIN_HISTORY, SCALES, ItemName, RunHistory, Values
from smartmob.metrics.verdict.environment_finder import EnvironmentFinder, Environments, MeasuredEnvironment, why_unfit
from smartmob.metrics.verdict.host_load import HostLoadFound, HostLoadSource, SuiteLoad, assess_load, cpu_of_node
from smartmob.metrics.verdict.place import ComparedPlaces, PlaceRules
from smartmob.metrics.verdict.references import ReferenceResolver
from smartmob.metrics.verdict.verdicts import (
    ComparedContext,
    Comparison,
    ComparisonRequest,
    Environment,
    ItemVerdict,
    Side,
)

_MAX_VALUES = 400_000  # values of tests that one comparison reads: some tens of MB
_RUNS_AT_ONCE = 10  # earlier runs that one query reads
_LOAD_RUNS = 5  # earlier runs whose host load is read; older ones hardly change a median
_COMPARISONS_AT_ONCE = 2  # each keeps a thread busy
_RUN_VERDICT_ITEMS = 100  # tests in the verdict on a run
_CACHE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _EnvironmentResult:
    """The result in one environment; `unfit` is the reason why its tests cannot be judged, or None.

    It may change with anything that is stored for these `sessions`, or as soon as one of `contexts` measures again.
    """

    context: ComparedContext | None
    items: list[ItemVerdict]
    unfit: str | None
    sessions: frozenset[str]
    contexts: frozenset[str]


class ComparisonService:
    """The use cases that compare runs and tests. `host_load` is None if nothing watches machines."""

    def __init__(
        self,
        reader: HistoryReader,
        runs: RunFinder,
        window: timedelta,
        rules: PlaceRules,
        host_load: HostLoadSource | None = None,
    ) -> None:
        self._reader = reader
        self._environments = EnvironmentFinder(reader, rules)
        self._references = ReferenceResolver(reader, runs)
        self._baseline_runs = BaselineRuns(reader, window)
        self._slots = asyncio.Semaphore(_COMPARISONS_AT_ONCE)
        self._cache: VerdictCache[Comparison] = VerdictCache()
        self.host_load = host_load

    async def compare(self, request: ComparisonRequest) -> Comparison:
        """Return what changed from the base to the head. Raises InvalidInput and NotFound for either name."""
        base = await self._references.resolve("base", request.base)
        head = await self._references.resolve("head", request.head)
        if set(base.sessions) <= set(head.sessions):
            raise InvalidInput.at("head", f"{request.head} has all sessions of {request.base}; compare it with another")
        found = await self._environments.of_sides(base, head)
        places = self._environments.compared(found, across=request.across)
        return _comparison((base, head, places), request, await self._results(base, head, request, found))

    async def verdict_of_run(self, ident: str, resource: verdicts.Resource = "total_time") -> Comparison:
        """Return what changed in a run against all runs before it, without noise, from the cache. Raises NotFound."""
        head = await self._references.run(ident)
        key = (head.id, resource)
        if (cached := self._cache.get(key, clock.epoch())) is not None:
            return cached
        with self._cache.track_changes() as changed:
            request = ComparisonRequest(resource=resource, limit=_RUN_VERDICT_ITEMS)
            measured = await self._environments.of_sides(None, head)
            results = await self._results(None, head, request, measured)
            places = self._environments.compared(measured, across=False)
            found = _comparison((None, head, places), request, results, noise=False)
            sessions = frozenset(head.sessions).union(*(result.sessions for result in results))
            contexts = frozenset[str]().union(*(result.contexts for result in results))
            self._cache.put(key, found, clock.epoch() + _CACHE_SECONDS, changed, sessions, contexts)
        return found

    async def series(self, item_id: uuid.UUID, limit: int) -> series.Series:
        """Return the latest executions of a test by its id, oldest first. Raises NotFound."""
        rows = await self._reader.items([item_id])
        if not rows:
            raise NotFound(f"there is no test {item_id}; a comparison has the ids of its tests")
        name = (rows[0]["item_path"], rows[0]["item"], rows[0]["item_variant"], rows[0]["kind"])
        found = await self._reader.series(await self._reader.same_items(*name), limit)
        contexts = await self._reader.contexts(sorted({row["context_h"] for row in found}))
        places = await self._environments.places({row["session_h"] for row in found}, contexts)
        points = [dict(row) for row in reversed(found)]
        return series.time_series(str(item_id), name, points, contexts, places.is_same)

    def invalidate(self, session_h: str, context_h: str) -> None:
        """Drop the cached verdicts that a new metric could change."""
        self._cache.invalidate(session_h, context_h)

    def invalidate_all(self) -> None:
        """Drop all cached verdicts, because many metrics were stored or removed."""
        self._cache.invalidate_all()

    # -- environments -------------------------------------------------------------------------------------------------

    async def _results(
        self, base: Side | None, head: Side, request: ComparisonRequest, found: Environments
    ) -> list[_EnvironmentResult]:
        async with self._slots:
            return [await self._result(one, found, base, head, request) for one in found.head]

    async def _result(
        self, ours: MeasuredEnvironment, found: Environments, base: Side | None, head: Side, request: ComparisonRequest
    ) -> _EnvironmentResult:
        selection = await self._environments.selection(ours)
        plan = await self._baseline_runs.plan(selection, base, head)
        doubt = self._environments.doubt(ours, found.base)
        if plan is None and request.across and found.base:
            doubt = place.different(self._environments.nearest(ours, found.base))
            selection = await self._environments.across(ours, found.base)
            plan = await self._baseline_runs.plan(selection, base, head)
        if plan is None or not (plan.earlier or plan.base):
            reason = "there is no earlier run of this machine and Python"
            if base is not None:
                reason = why_unfit(self._environments, ours, found.base)
            return await self._without_history(ours, selection.fit, head, request, reason)
        contexts = selection.fit
        plan, values, ids = await self._values(plan, contexts, request.resource)
        environment = _environment(ours, ids)
        host, busy = await self._assess_loads(ours, contexts, plan)
        history = _run_history(plan, values, busy)
        changes = await asyncio.to_thread(
            change_detection.detect_changes, history, SCALES[request.resource], request.limits()
        )
        unfit = host.explanation if host is not None and host.busy else None
        if unfit is None and len(history.history) < MIN_HISTORY and busy & {run.first for run in plan.base}:
            unfit = f"the processors of {ours.place.host} were busy with something else while the base ran"
        shift = verdicts.describe_shift(changes.shift, request.resource)
        items = verdicts.item_verdicts(changes, environment, unfit, "history" if base is None else "base")
        return _EnvironmentResult(
            context=ComparedContext(
                ours.context_h,
                environment.machine_node,
                environment.python_info,
                len(history.history),
                shift,
                host,
                ours.place,
            ),
            items=items if doubt is None else verdicts.with_low_confidence(items, _short(doubt)),
            unfit=unfit,
            sessions=frozenset(name for run in plan.all_runs() for name in run.hashes),
            contexts=frozenset(contexts) if plan.after is None else frozenset(),
        )

    async def _without_history(
        self,
        ours: MeasuredEnvironment,
        contexts: Sequence[str],
        head: Side,
        request: ComparisonRequest,
        reason: str,
    ) -> _EnvironmentResult:
        by_session = await self._reader.values(request.resource, head.sessions, contexts)
        names = await self._names(by_session)
        values = {names[ident]: value for found in by_session.values() for ident, value in found.items()}
        ids = {name: str(ident) for ident, name in names.items()}
        items = verdicts.unfit_verdicts(values, _environment(ours, ids), reason)
        return _EnvironmentResult(None, items, reason, frozenset(head.sessions), frozenset(contexts))

    # -- values and loads ---------------------------------------------------------------------------------------------

    async def _values(
        self, plan: ComparisonPlan, contexts: Sequence[str], resource: str
    ) -> tuple[ComparisonPlan, dict[Position, Values], dict[ItemName, str]]:
        """Return the plan, the values of its runs, and the ids of the tests.

        The history of a suite with very many tests is cut, so that the number of values is bounded.
        """
        by_session: dict[str, dict[uuid.UUID, float]] = {}

        async def read(runs: Sequence[BaselineRun]) -> None:
            hashes = [name for run in runs for name in run.hashes]
            by_session.update(await self._reader.values(resource, hashes, contexts))

        await read([*plan.base, *plan.head, *plan.confirming])
        kept = 0
        while kept < len(plan.earlier) and sum(map(len, by_session.values())) < _MAX_VALUES:
            kept = min(kept + _RUNS_AT_ONCE, len(plan.earlier))
            await read(plan.earlier[len(plan.earlier) - kept :][:_RUNS_AT_ONCE])
        plan = replace(plan, earlier=plan.earlier[len(plan.earlier) - kept :])
        names = await self._names(by_session)
        values: dict[Position, Values] = {run.first: _least_values(run, by_session, names) for run in plan.all_runs()}
        return plan, values, {name: str(ident) for ident, name in names.items()}

    async def _names(self, by_session: Mapping[str, Mapping[uuid.UUID, float]]) -> dict[uuid.UUID, ItemName]:
        rows = await self._reader.items(list({ident for found in by_session.values() for ident in found}))
        return {row["item_id"]: (row["item_path"], row["item"], row["item_variant"], row["kind"]) for row in rows}

    async def _assess_loads(
        self, ours: MeasuredEnvironment, contexts: Sequence[str], plan: ComparisonPlan
    ) -> tuple[HostLoadFound | None, set[Position]]:
        """Return the host load of the head, and the other runs during which the machine was unusually busy."""
        node = ours.place.host
        if self.host_load is None or ours.context is None or node is None:
            return None, set()
        head, others = plan.head[-1], [*plan.earlier[-_LOAD_RUNS:], *plan.base[-_LOAD_RUNS:]]
        runs = [head, *others, *plan.confirming]
        rows = await self._reader.suite_loads([name for run in runs for name in run.hashes], contexts)
        by_session = {row["session_h"]: SuiteLoad(*tuple(row.values())[1:]) for row in rows}
        loads: dict[Position, tuple[float, float]] = {}
        for run in runs:
            suite = SuiteLoad.combined([by_session[name] for name in run.hashes if name in by_session])
            if suite is not None:
                hosts = await self.host_load.busy(suite.started_at, suite.ended_at)
                cpu = cpu_of_node(node, hosts)
                if cpu is not None:
                    loads[run.first] = (cpu, suite.cpu_percent(ours.context.cpu_count))
        earlier = [max(0.0, cpu - tests) for cpu, tests in (loads[run.first] for run in others if run.first in loads)]
        found = {first: assess_load(node, *load, earlier) for first, load in loads.items()}
        busy = {first for first, load in found.items() if load.busy and first != head.first}
        return found.get(head.first), busy


def _comparison(
    sides: tuple[Side | None, Side, ComparedPlaces],
    request: ComparisonRequest,
    results: Sequence[_EnvironmentResult],
    *,
    noise: bool = True,
) -> Comparison:
    base, head, places = sides
    items = verdicts.by_severity(item for result in results for item in result.items)
    counts = verdicts.count_verdicts(items)
    contexts = [result.context for result in results if result.context is not None]
    shift = max((context.shift for context in contexts), key=lambda each: each.tests, default=verdicts.UNKNOWN_SHIFT)
    unfit = [result.unfit for result in results if result.unfit is not None]
    verdict, explanation = verdicts.overall_verdict(counts, shift, unfit)
    reported = items if noise else [item for item in items if item.verdict != "noise"]
    return Comparison(
        base=base,
        head=head,
        places=places,
        resource=request.resource,
        unit=SCALES[request.resource].unit,
        verdict=verdict,
        explanation=explanation,
        counts=counts,
        shift=shift,
        contexts=contexts,
        items=reported[: request.limit],
    )


def _environment(ours: MeasuredEnvironment, ids: dict[ItemName, str]) -> Environment:
    if ours.context is None:
        return Environment(ours.context_h, "", "", ids)
    return Environment(ours.context_h, ours.context.machine_node, ours.context.python_info, ids)


def _short(doubt: str) -> str:
    """Return a doubt without the advice what to do, which is given once for the whole comparison."""
    return doubt.partition(": give")[0]


def _run_history(plan: ComparisonPlan, values: Mapping[Position, Values], busy: set[Position]) -> RunHistory:
    """Return the input of the change detection; besides the two sides, it has no runs of a busy machine."""

    def unless_busy(run: BaselineRun | None) -> Values | None:
        return None if run is None or run.first in busy else values[run.first]

    earlier = [run for run in plan.earlier if run.first not in busy]
    if not plan.base and not earlier:
        earlier = list(plan.earlier)
    return RunHistory(
        history=[values[run.first] for run in (*earlier, *plan.base)],
        head=[values[run.first] for run in plan.head],
        base=len(plan.base),
        between=unless_busy(plan.between),
        after=unless_busy(plan.after),
    )


def _least_values(
    run: BaselineRun, by_session: Mapping[str, Mapping[uuid.UUID, float]], names: Mapping[uuid.UUID, ItemName]
) -> dict[ItemName, float]:
    """Return the least value of each test in the sessions of a run."""
    least: dict[ItemName, float] = {}
    for session_h in run.hashes:
        for ident, value in by_session.get(session_h, {}).items():
            name = names[ident]
            least[name] = min(value, least.get(name, value))
    return least
