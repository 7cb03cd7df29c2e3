"""Compares sides: gathers what was measured, asks how busy the machine was, and applies the rule."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from smartmob.errors import InvalidInput
from smartmob.kernel.runtime import clock
from smartmob.metrics import model
from smartmob.metrics.runs import RunFinder
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.verdict import change_detection, verdicts
from smartmob.metrics.verdict.baseline_runs import BaselineRun, BaselineRuns, ComparisonPlan, Moment
from smartmob.metrics.verdict.cache import VerdictCache
from smartmob.metrics.verdict.change_detection import LEAST_HISTORY, SCALES, ItemName, RunHistory, Values
from smartmob.metrics.verdict.host_load import HostLoadFound, HostLoadSource, SuiteLoad, judge_load, load_on
from smartmob.metrics.verdict.references import ReferenceResolver
from smartmob.metrics.verdict.verdicts import (
    ComparedContext,
    Comparison,
    ComparisonRequest,
    ItemVerdict,
    MeasuredContext,
    Side,
)

_VALUES = 400_000
_READ_AT_ONCE = 10
_WATCHED = 5
_AT_ONCE = 2
_TOLD_OF_RUN = 100
_REMEMBERED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Contexts:
    """The contexts of both sides: those that are known, and in which each session measured."""

    known: Mapping[str, model.Context]
    used: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What was found in one place; `unfit` tells why its tests cannot be judged.

    It may change with anything that is stored for these `sessions`, or as soon as one of `contexts` measures again.
    """

    context: ComparedContext | None
    items: list[ItemVerdict]
    unfit: str | None
    sessions: frozenset[str]
    contexts: frozenset[str]


class ComparisonService:
    """Compares sides; `watch` knows how busy machines were, if somebody does."""

    def __init__(
        self, reader: HistoryReader, runs: RunFinder, window: timedelta, host_load: HostLoadSource | None = None
    ) -> None:
        self._reader = reader
        self._sides = ReferenceResolver(reader, runs)
        self._occasions = BaselineRuns(reader, window)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._memory: VerdictCache[Comparison] = VerdictCache()
        self.watch = host_load

    async def compare(self, asked: ComparisonRequest) -> Comparison:
        """Return what became slower from the base to the head; raises InvalidInput and NotFound."""
        base, head = await self._sides.find("base", asked.base), await self._sides.find("head", asked.head)
        if set(base.sessions) <= set(head.sessions):
            raise InvalidInput.at("head", f"{asked.head} has all sessions of {asked.base}; compare it with another")
        return _comparison(base, head, asked, await self._outcomes(base, head, asked))

    async def verdict_of_run(self, ident: str, resource: verdicts.Resource) -> Comparison:
        """Return what became slower in a run against what was before it, without the noise; raises NotFound."""
        head = await self._sides.run(ident)
        key = (head.id, resource)
        if (known := self._memory.get(key, clock.epoch())) is not None:
            return known
        with self._memory.watch() as changed:
            asked = ComparisonRequest(resource=resource, limit=_TOLD_OF_RUN)
            outcomes = await self._outcomes(None, head, asked)
            found = _comparison(None, head, asked, outcomes, noise=False)
            sessions = frozenset(head.sessions).union(*(outcome.sessions for outcome in outcomes))
            contexts = frozenset[str]().union(*(outcome.contexts for outcome in outcomes))
            self._memory.put(key, found, clock.epoch() + _REMEMBERED_SECONDS, changed, sessions, contexts)
        return found

    def forget(self, session_h: str, context_h: str) -> None:
        """Take note that a metric was stored."""
        self._memory.forget(session_h, context_h)

    def forget_all(self) -> None:
        """Take note that many metrics were stored or removed."""
        self._memory.clear()

    # -- places -------------------------------------------------------------------------------------------------------

    async def _outcomes(self, base: Side | None, head: Side, asked: ComparisonRequest) -> list[_Outcome]:
        async with self._turns:
            used = await self._reader.contexts_of([*(base.sessions if base else ()), *head.sessions])
            known = await self._reader.contexts(sorted({h for hashes in used.values() for h in hashes}))
            contexts = _Contexts(known, used)
            return [await self._outcome(h, contexts, base, head, asked) for h in _places(contexts, head)]

    async def _outcome(
        self, context_h: str, found: _Contexts, base: Side | None, head: Side, asked: ComparisonRequest
    ) -> _Outcome:
        contexts = await self._reader.contexts_like(context_h)
        plan = await self._occasions.plan(contexts, base, head)
        if plan is None or not (plan.earlier or plan.base):
            return await self._without_history(context_h, found, contexts, base, head, asked)
        plan, values, ids = await self._values(plan, contexts, asked.resource)
        context = found.known.get(context_h)
        place = _place(context_h, context, ids)
        host, busy = await self._load(context, contexts, plan)
        timeline = _timeline(plan, values, busy)
        judged = await asyncio.to_thread(change_detection.judge, timeline, SCALES[asked.resource], asked.limits())
        unfit = host.explanation if host is not None and host.busy else None
        if unfit is None and len(timeline.history) < LEAST_HISTORY and busy & {one.first for one in plan.base}:
            unfit = f"the processors of {place.machine_node} were busy with something else while the base ran"
        shift = verdicts.shift_found(judged.shift, asked.resource)
        items = verdicts.item_verdicts(judged, place, unfit, "history" if base is None else "base")
        return _Outcome(
            ComparedContext(context_h, place.machine_node, place.python_info, len(timeline.history), shift, host),
            *(items, unfit, frozenset(name for occasion in plan.every() for name in occasion.hashes)),
            frozenset(contexts) if plan.after is None else frozenset(),
        )

    async def _without_history(
        self,
        context_h: str,
        found: _Contexts,
        contexts: Sequence[str],
        base: Side | None,
        head: Side,
        asked: ComparisonRequest,
    ) -> _Outcome:
        reason = _nothing_before(base, context_h, found)
        by_session = await self._reader.values(asked.resource, head.sessions, contexts)
        names = await self._names(by_session)
        tested = {names[ident]: value for values in by_session.values() for ident, value in values.items()}
        place = _place(context_h, found.known.get(context_h), {name: str(ident) for ident, name in names.items()})
        items = verdicts.unmatched(tested, place, reason)
        return _Outcome(None, items, reason, frozenset(head.sessions), frozenset(contexts))

    # -- values and loads ---------------------------------------------------------------------------------------------

    async def _values(
        self, plan: ComparisonPlan, contexts: Sequence[str], resource: str
    ) -> tuple[ComparisonPlan, dict[Moment, Values], dict[ItemName, str]]:
        """Return what each test took on each occasion, and the ids of the tests.

        Of a suite with very many tests the history is cut, so that what is read has a bound.
        """
        by_session: dict[str, dict[uuid.UUID, float]] = {}

        async def read(occasions: Sequence[BaselineRun]) -> None:
            hashes = [name for occasion in occasions for name in occasion.hashes]
            by_session.update(await self._reader.values(resource, hashes, contexts))

        await read([*plan.base, *plan.head, *plan.further])
        kept = 0
        while kept < len(plan.earlier) and sum(map(len, by_session.values())) < _VALUES:
            kept = min(kept + _READ_AT_ONCE, len(plan.earlier))
            await read(plan.earlier[len(plan.earlier) - kept :][:_READ_AT_ONCE])
        plan = ComparisonPlan(plan.earlier[len(plan.earlier) - kept :], plan.base, plan.head, plan.between, plan.after)
        names = await self._names(by_session)
        values: dict[Moment, Values] = {
            occasion.first: _least(occasion, by_session, names) for occasion in plan.every()
        }
        return plan, values, {name: str(ident) for ident, name in names.items()}

    async def _names(self, by_session: Mapping[str, Mapping[uuid.UUID, float]]) -> dict[uuid.UUID, ItemName]:
        rows = await self._reader.items(list({ident for found in by_session.values() for ident in found}))
        return {row["item_id"]: (row["item_path"], row["item"], row["item_variant"], row["kind"]) for row in rows}

    async def _load(
        self, context: model.Context | None, contexts: Sequence[str], plan: ComparisonPlan
    ) -> tuple[HostLoadFound | None, set[Moment]]:
        """Return how busy the machine was while the head ran, and which other occasions it was unusually busy on."""
        if self.watch is None or context is None:
            return None, set()
        head, others = plan.head[-1], [*plan.earlier[-_WATCHED:], *plan.base[-_WATCHED:]]
        watched = [head, *others, *plan.further]
        rows = await self._reader.efforts([name for occasion in watched for name in occasion.hashes], contexts)
        efforts = {row["session_h"]: SuiteLoad(*tuple(row.values())[1:]) for row in rows}
        loads: dict[Moment, tuple[float, float]] = {}
        for occasion in watched:
            effort = SuiteLoad.together([efforts[name] for name in occasion.hashes if name in efforts])
            if effort is not None:
                cpu = load_on(context.machine_node, await self.watch.busy(effort.started_at, effort.ended_at))
                if cpu is not None:
                    loads[occasion.first] = (cpu, effort.share(context.cpu_count))
        earlier = [max(0.0, cpu - own) for cpu, own in (loads[one.first] for one in others if one.first in loads)]
        found = {moment: judge_load(context.machine_node, *load, earlier) for moment, load in loads.items()}
        busy = {moment for moment, host in found.items() if host.busy and moment != head.first}
        return found.get(head.first), busy


def _comparison(
    base: Side | None, head: Side, asked: ComparisonRequest, outcomes: Sequence[_Outcome], *, noise: bool = True
) -> Comparison:
    items = verdicts.ordered(item for outcome in outcomes for item in outcome.items)
    counts = verdicts.counted(items)
    contexts = [outcome.context for outcome in outcomes if outcome.context is not None]
    shift = max((context.shift for context in contexts), key=lambda one: one.tests, default=verdicts.UNKNOWN_SHIFT)
    unfit = [outcome.unfit for outcome in outcomes if outcome.unfit is not None]
    verdict, explanation = verdicts.overall(counts, shift, unfit)
    told = items if noise else [item for item in items if item.verdict != "noise"]
    unit = SCALES[asked.resource].unit
    return Comparison(
        *(base, head, asked.resource, unit, verdict, explanation, counts, shift, contexts, told[: asked.limit])
    )


def _places(contexts: _Contexts, head: Side) -> list[str]:
    """Return one context of each place that the head was measured in."""
    found: list[str] = []
    for h in dict.fromkeys(h for name in head.sessions for h in contexts.used.get(name, ())):
        known = contexts.known
        if not any(h in known and one in known and model.is_alike(known[one], known[h]) for one in found):
            found.append(h)
    return found


def _place(context_h: str, context: model.Context | None, ids: dict[ItemName, str]) -> MeasuredContext:
    if context is None:
        return MeasuredContext(context_h, "", "", ids)
    return MeasuredContext(context_h, context.machine_node, context.python_info, ids)


def _nothing_before(base: Side | None, context_h: str, contexts: _Contexts) -> str:
    """Return in words why there is nothing to compare with."""
    if base is None:
        return "there is no earlier run of this machine and Python"
    ours = contexts.known.get(context_h)
    theirs = [contexts.known[h] for name in base.sessions for h in contexts.used.get(name, ()) if h in contexts.known]
    if not theirs or ours is None:
        return "the base has no measures of this machine and Python"
    differences = [verdicts.context_difference(ours, other) for other in theirs]
    return f"the base was measured elsewhere: {min(differences, key=len)}"


def _timeline(plan: ComparisonPlan, values: Mapping[Moment, Values], busy: set[Moment]) -> RunHistory:
    """Return what the rule is applied to; beside the two sides nothing counts that ran on a busy machine."""

    def of(occasion: BaselineRun | None) -> Values | None:
        return None if occasion is None or occasion.first in busy else values[occasion.first]

    earlier = [occasion for occasion in plan.earlier if occasion.first not in busy]
    if not plan.base and not earlier:
        earlier = list(plan.earlier)
    return RunHistory(
        history=[values[occasion.first] for occasion in (*earlier, *plan.base)],
        head=[values[occasion.first] for occasion in plan.head],
        base=len(plan.base),
        between=of(plan.between),
        after=of(plan.after),
    )


def _least(
    occasion: BaselineRun, by_session: Mapping[str, Mapping[uuid.UUID, float]], names: Mapping[uuid.UUID, ItemName]
) -> dict[ItemName, float]:
    found: dict[ItemName, float] = {}
    for session_h in occasion.hashes:
        for ident, value in by_session.get(session_h, {}).items():
            name = names[ident]
            found[name] = min(value, found.get(name, value))
    return found
