"""The comparison service: reads the runs of both sides and the host load, and detects what changed between them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from smartmob import verdict_words
from smartmob.errors import InvalidInput, NotFound
from smartmob.kernel.runtime import clock
from smartmob.metrics.runs import RunFinder
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.verdict import change_detection, place, renames, series, summary, verdicts
from smartmob.metrics.verdict.baseline_runs import BaselineRun, BaselineRuns, ComparisonPlan, Position
from smartmob.metrics.verdict.cache import VerdictCache
from smartmob.metrics.verdict.change_detection import MIN_HISTORY, ItemName, RunHistory, Values
from smartmob.metrics.verdict.environment_finder import (
    ComparedEnvironments,
    EnvironmentFinder,
    MeasuredEnvironment,
    why_unfit,
)
from smartmob.metrics.verdict.host_load import HostLoadFound, HostLoadSource, SuiteLoad, assess_load, cpu_of_node
from smartmob.metrics.verdict.place import ComparedPlaces
from smartmob.metrics.verdict.references import ReferenceResolver
from smartmob.metrics.verdict.robust_statistics import median
from smartmob.metrics.verdict.scales import SCALES
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


class _Items(msgspec.Struct, frozen=True):
    """The tests of some sessions: their names by id, and the id and the file of each name."""

    names: dict[uuid.UUID, ItemName]
    ids: dict[ItemName, str]
    locations: dict[ItemName, str]


class _EnvironmentResult(msgspec.Struct, frozen=True):
    """The result in one environment.

    It may change with anything that is stored for these `sessions`, or with new metrics of one of `contexts`.
    """

    context: ComparedContext | None
    items: list[ItemVerdict]
    sessions: frozenset[str]
    contexts: frozenset[str]


class ComparisonService:
    """The use cases that compare runs and tests. `host_load` is None if machines are not watched.

    `cache` may be shared with other services whose answers new data changes.
    """

    def __init__(
        self,
        reader: HistoryReader,
        runs: RunFinder,
        window: timedelta,
        environments: EnvironmentFinder,
        host_load: HostLoadSource | None = None,
        cache: VerdictCache[Any] | None = None,
    ) -> None:
        self._reader = reader
        self._environments = environments
        self._references = ReferenceResolver(reader, runs)
        self._baseline_runs = BaselineRuns(reader, window)
        self._slots = asyncio.Semaphore(_COMPARISONS_AT_ONCE)
        self._cache: VerdictCache[Any] = VerdictCache() if cache is None else cache
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
        cached: Comparison | None = self._cache.get(key, clock.epoch())
        if cached is not None:
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
        stored = (rows[0]["item_path"], rows[0]["item"], rows[0]["item_variant"], rows[0]["kind"])
        name = verdicts.item_name(rows[0])
        same = [row["item_id"] for row in await self._reader.same_items(*stored) if verdicts.item_name(row) == name]
        found = await self._reader.series(same, limit)
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
        self, base: Side | None, head: Side, request: ComparisonRequest, found: ComparedEnvironments
    ) -> list[_EnvironmentResult]:
        async with self._slots:
            results = [await self._result(one, found, base, head, request) for one in found.head]
            if base is not None and not request.across:
                results += [
                    await self._only_in_base(theirs, base, request)
                    for theirs in found.base
                    if all(self._environments.differences(theirs, ours) for ours in found.head)
                ]
            return results

    async def _result(
        self,
        ours: MeasuredEnvironment,
        found: ComparedEnvironments,
        base: Side | None,
        head: Side,
        request: ComparisonRequest,
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
        plan, values, items = await self._values(plan, contexts, request.resource)
        host, busy = await self._assess_loads(ours, contexts, plan)
        history = _run_history(plan, values, busy)
        renamed = _renamed(history, items, request)
        history = _with_new_names(history, renamed)
        environment = _environment(ours, items, renamed)
        changes = await asyncio.to_thread(
            change_detection.detect_changes, history, SCALES[request.resource], request.limits()
        )
        unfit = host.explanation.rstrip(".") if host is not None and host.busy else None
        if unfit is None and len(history.history) < MIN_HISTORY and busy & {run.first for run in plan.base}:
            unfit = f"the processors of {ours.place.host} were busy with something else while the base ran"
        shift = verdicts.describe_shift(changes.shift, request.resource)
        rows = verdicts.item_verdicts(
            changes, environment, unfit, "history" if base is None else "base", request.resource
        )
        rows = await self._without_value(rows, contexts, plan, request.resource)
        rows = await self._with_merged_names(rows, contexts, plan)
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
            items=rows if doubt is None else verdicts.with_low_confidence(rows, _short(doubt)),
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
        values, environment = await self._side_values(ours, contexts, head, request)
        items = verdicts.unfit_verdicts(values, environment, reason)
        return _EnvironmentResult(None, items, frozenset(head.sessions), frozenset(contexts))

    async def _only_in_base(
        self, theirs: MeasuredEnvironment, base: Side, request: ComparisonRequest
    ) -> _EnvironmentResult:
        """Return the tests of an environment in which the head has no metrics."""
        contexts = (await self._environments.selection(theirs)).fit
        values, environment = await self._side_values(theirs, contexts, base, request)
        nothing = change_detection.DetectedChanges(change_detection.Shift(None, None, 0), {}, {}, values)
        items = verdicts.item_verdicts(nothing, environment, None, "base", request.resource)
        return _EnvironmentResult(None, items, frozenset(base.sessions), frozenset(contexts))

    async def _side_values(
        self, measured: MeasuredEnvironment, contexts: Sequence[str], side: Side, request: ComparisonRequest
    ) -> tuple[dict[ItemName, float], Environment]:
        """Return the least value of each test of a side in one environment."""
        by_session = await self._reader.values(request.resource, side.sessions, contexts)
        items = await self._items(by_session)
        values = _least(by_session.values(), items.names)
        return values, _environment(measured, items, {})

    # -- values and loads ---------------------------------------------------------------------------------------------

    async def _values(
        self, plan: ComparisonPlan, contexts: Sequence[str], resource: str
    ) -> tuple[ComparisonPlan, dict[Position, Values], _Items]:
        """Return the plan, the values of its runs, and their tests.

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
        items = await self._items(by_session)
        values: dict[Position, Values] = {
            run.first: _least([by_session[name] for name in run.hashes if name in by_session], items.names)
            for run in plan.all_runs()
        }
        return plan, values, items

    async def _items(self, by_session: Mapping[str, Mapping[uuid.UUID, float]]) -> _Items:
        rows = await self._reader.items(list({ident for found in by_session.values() for ident in found}))
        names = {row["item_id"]: verdicts.item_name(row) for row in rows}
        ids = {name: str(ident) for ident, name in names.items()}
        return _Items(names, ids, {verdicts.item_name(row): row["item_fs_loc"] for row in rows})

    async def _without_value(
        self, rows: list[ItemVerdict], contexts: Sequence[str], plan: ComparisonPlan, resource: str
    ) -> list[ItemVerdict]:
        """Return the rows; a test that one side executed without a value of the resource is neither gone nor new."""

        async def executed(runs: Sequence[BaselineRun]) -> set[ItemName]:
            hashes = [name for run in runs for name in run.hashes]
            idents = await self._reader.items_without_value(resource, hashes, contexts)
            return {verdicts.item_name(row) for row in await self._reader.items(idents)}

        if not any(row.verdict in ("gone", "new") for row in rows):
            return rows
        return summary.without_value(
            rows, await executed(plan.head), await executed(plan.base or plan.earlier[-1:]), resource
        )

    async def _with_merged_names(
        self, rows: list[ItemVerdict], contexts: Sequence[str], plan: ComparisonPlan
    ) -> list[ItemVerdict]:
        """Return the rows; a name that stands for several executions in a session of the head says so."""
        hashes = [name for run in plan.head for name in run.hashes]
        numbers = await self._reader.repeated_items(hashes, contexts)
        named = {verdicts.item_name(row): numbers[row["item_id"]] for row in await self._reader.items(list(numbers))}
        return verdicts.with_merged_names(rows, named)

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
    rows = summary.resolve_other_machines([item for result in results for item in result.items])
    items = verdicts.by_severity(rows)
    contexts = [result.context for result in results if result.context is not None]
    shift = max((context.shift for context in contexts), key=lambda each: each.tests, default=verdicts.UNKNOWN_SHIFT)
    found = summary.summarise(items, contexts, request.resource)
    reported = items if noise else [item for item in items if verdicts.is_notable(item)]
    return Comparison(
        base=base,
        head=head,
        places=places,
        resource=request.resource,
        unit=SCALES[request.resource].unit,
        verdict=found.verdict,
        explanation=found.explanation,
        counts=found.counts,
        shift=shift,
        contexts=contexts,
        items=verdicts.worded(reported[: request.limit], request.resource),
        renamed=found.renamed,
        alarms=found.alarms,
        word=found.word,
        words={verdict: verdict_words.word(verdict, request.resource) for verdict in verdicts.VERDICTS},
    )


def _environment(measured: MeasuredEnvironment, items: _Items, renamed: dict[ItemName, ItemName]) -> Environment:
    context = measured.context
    if context is None:
        return Environment(measured.context_h, "", "", items.ids, renamed)
    return Environment(measured.context_h, context.machine_node, context.python_info, items.ids, renamed)


def _short(doubt: str) -> str:
    """Return a doubt without its advice, which is stated once for the whole comparison."""
    return doubt.partition(": give")[0]


def _renamed(history: RunHistory, items: _Items, request: ComparisonRequest) -> dict[ItemName, ItemName]:
    """Return the name in the base of each test that has another name in the head."""
    base = _median_cost(history.history[-max(history.base, 1) :])
    head = _median_cost(history.head)
    earlier = {name for values in history.history for name in values}

    def traits(costs: Mapping[ItemName, float], without: Collection[ItemName]) -> dict[ItemName, renames.Traits]:
        return {
            name: renames.Traits(items.locations[name], cost) for name, cost in costs.items() if name not in without
        }

    gone, new = traits(base, head), traits(head, earlier)
    scale = SCALES[request.resource]
    return renames.match_renames(gone, new, base.keys() & head.keys(), scale) if gone and new else {}


def _median_cost(runs: Sequence[Values]) -> dict[ItemName, float]:
    gathered: dict[ItemName, list[float]] = {}
    for values in runs:
        for name, value in values.items():
            gathered.setdefault(name, []).append(value)
    return {name: median(found) for name, found in gathered.items()}


def _with_new_names(history: RunHistory, renamed: Mapping[ItemName, ItemName]) -> RunHistory:
    """Return the history, in which each renamed test has the name that it has in the head."""
    if not renamed:
        return history
    new_names = {old: new for new, old in renamed.items()}

    def translated(values: Values) -> Values:
        return {new_names.get(name, name): value for name, value in values.items()}

    return replace(
        history,
        history=[translated(values) for values in history.history],
        between=None if history.between is None else {**translated(history.between), **history.between},
        after=None if history.after is None else {**translated(history.after), **history.after},
    )


def _run_history(plan: ComparisonPlan, values: Mapping[Position, Values], busy: set[Position]) -> RunHistory:
    """Return the input of the change detection; except for the two sides, runs on a busy machine are left out."""

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
        names=[run.scm_ref or f"run {run.hashes[0]}" for run in (*earlier, *plan.base)],
    )


def _least(sessions: Iterable[Mapping[uuid.UUID, float]], names: Mapping[uuid.UUID, ItemName]) -> dict[ItemName, float]:
    """Return the least value of each test in some sessions."""
    least: dict[ItemName, float] = {}
    for found in sessions:
        for ident, value in found.items():
            name = names[ident]
            least[name] = min(value, least.get(name, value))
    return least
