"""Summaries, time series and report pages of runs, computed from their slices."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec.structs import replace

from smartmob.errors import Conflict
from smartmob.kernel.runtime import clock
from smartmob.turrets.conditions import not_evaluated, results_of
from smartmob.turrets.host_load import HostLoadSource, loads_in_run
from smartmob.turrets.hq.live_conditions import LiveConditions
from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.hq.reaggregation import reaggregate
from smartmob.turrets.load_plan import plan_of
from smartmob.turrets.model import (
    ENDED,
    SUMMARY_VERSION,
    ErrorText,
    LoadPlan,
    MachineLoad,
    Member,
    RunTimeSeries,
    Summary,
    TurretConfig,
)
from smartmob.turrets.project_archive import script_digests
from smartmob.turrets.report.evidence import RunEvidence
from smartmob.turrets.report.findings import Findings
from smartmob.turrets.report.fired import fired
from smartmob.turrets.report.given_findings import GivenFindings
from smartmob.turrets.report.run_comparison import LEAST_EFFECT, RunComparison
from smartmob.turrets.service.comparisons import RunComparisons
from smartmob.turrets.service.queries import CurrentRun, RunQueries
from smartmob.turrets.slices import TRANSACTION
from smartmob.turrets.store.reader import TurretsReader
from smartmob.turrets.store.writer import TurretsWriter

if TYPE_CHECKING:  # the modules of pages and charts are imported with the first report
    from smartmob.turrets.report.charts import Chart

_CACHED_TIME_SERIES_COUNT = 32


class RunReports:
    """Computes reports; `host_load` is None if nothing measures the load of hosts. Raises NotFound for unknown runs."""

    def __init__(
        self,
        queries: RunQueries,
        reader: TurretsReader,
        writer: TurretsWriter,
        host_load: HostLoadSource | None = None,
        comparisons: RunComparisons | None = None,
    ) -> None:
        self._comparisons = comparisons
        self._host_load = host_load
        self._queries = queries
        self._reader = reader
        self._writer = writer
        # A report takes much memory, so one is computed at a time.
        self._reporting = asyncio.Semaphore(1)
        self._time_series: dict[str, RunTimeSeries] = {}

    async def summary(self, ident: str, warm_up: float | None = None) -> Summary:
        """Return the statistics of a run; of an active run, those so far.

        `warm_up`: seconds after the start to leave out, instead of those of its configuration.
        """
        run = await self._queries.find(ident)
        if run.state.state in ENDED and warm_up is None:
            stored = await self._stored_summary(run.uuid)
            if stored is not None and stored.version == SUMMARY_VERSION:
                return msgspec.structs.replace(stored, name=run.state.name)
        return (await self._compute(run, warm_up))[0]

    async def errors(self, ident: str, warm_up: float | None = None) -> dict[str, list[ErrorText]]:
        """Return all different errors of a run by the names of their timers, the most frequent first."""
        findings = await self._findings(await self._queries.find(ident), None, warm_up)
        return findings.all_errors()

    async def time_series(self, ident: str) -> RunTimeSeries:
        """Return the transactions of a run over time; of an active run, those so far."""
        run = await self._queries.find(ident)
        cached = self._time_series.get(run.state.id)
        if cached is not None:
            return cached
        findings = await self._findings(run, TRANSACTION)
        points = findings.timers[TRANSACTION].points if TRANSACTION in findings.timers else []
        plan = _plan(run, await self._queries.members(run))
        time_series = RunTimeSeries(
            id=run.state.id,
            started_at=run.state.started_at,
            points=points,
            step=findings.step,
            warm_up=findings.warm_up,
            planned=plan.rates,
        )
        if run.state.state in ENDED:
            if len(self._time_series) >= _CACHED_TIME_SERIES_COUNT:
                del self._time_series[next(iter(self._time_series))]
            self._time_series[run.state.id] = time_series
        return time_series

    async def report(self, ident: str, against: str | None = None, warm_up: float | None = None) -> str:
        """Return the report of a run as a page, or of two runs side by side: A against B."""
        from smartmob.turrets.report.page import compare, render

        async with self._reporting:
            runs, loads = [], []
            for each in (ident, against) if against is not None else (ident,):
                run = await self._queries.find(each)
                summary, findings = await self._compute(run, warm_up)
                health = await self._reader.health(run.uuid)
                runs.append((summary, findings, [dict(row) for row in health]))
                loads.append(fired(msgspec.json.decode(run.config), summary.name))
            if against is not None:
                comparison = await self._comparison(ident, against)
                return await asyncio.to_thread(compare, runs[0], runs[1], comparison, loads)
            return await asyncio.to_thread(render, *runs[0], loads)

    async def charts(self, ident: str) -> dict[str, Chart]:
        """Return the charts of the report of a run by their names, as objects for plotly."""
        from smartmob.turrets.report.page import charts_of

        async with self._reporting:
            run = await self._queries.find(ident)
            summary, findings = await self._compute(run)
            health = [dict(row) for row in await self._reader.health(run.uuid)]
            return await asyncio.to_thread(charts_of, (summary, findings, health))

    async def _comparison(self, ident: str, against: str) -> RunComparison | None:
        """Return the comparison of a run, A, with the run `against`, B; None while one of them is active.

        Its changes are those from B to A, as in the tables of the page.
        """
        try:
            found = self._comparisons
            return None if found is None else await found.compare(against, ident, 0.0, LEAST_EFFECT, "BA")
        except Conflict:
            return None

    async def rebuild(self, ident: str) -> Summary:
        """Recompute the slices of a run from its single results, and its summary from the slices.

        Raises Conflict while the run is active.
        """
        run = await self._queries.find(ident)
        if run.state.state not in ENDED:
            raise Conflict(f"run {ident} is {run.state.state}; wait for its end")
        if run.state.started_at is not None and run.source is None:
            await reaggregate(self._reader, self._writer, run.uuid, run.state.started_at)
        self._time_series.pop(run.state.id, None)
        return await self.store_summary(ident)

    async def store_summary(self, ident: str) -> Summary:
        """Compute the summary of a run, store it and return it."""
        run = await self._queries.find(ident)
        summary, _ = await self._compute(run)
        await self._writer.update_summary(run.uuid, msgspec.json.encode(summary))
        return summary

    async def _compute(self, run: CurrentRun, warm_up: float | None = None) -> tuple[Summary, Findings]:
        findings = await self._findings(run, None, warm_up)
        members = await self._queries.members(run)
        digests: dict[str, str] = {}
        if run.package and (package := await self._reader.package(run.uuid)) is not None:
            digests = await asyncio.to_thread(script_digests, package, [each.script for each in _planned(run.state)])
        loads = await self._machine_loads(run.state, members)
        return _summary(run, findings, members, loads, digests), findings

    async def _findings(self, run: CurrentRun, timer: str | None = None, warm_up: float | None = None) -> Findings:
        """Return the findings of a run, or of one of its timers."""
        if run.source is not None and run.source.aggregated:
            return GivenFindings(await self._reader.given(run.uuid), run.state.config.run_time)
        seconds = run.firing_seconds()
        late = run.late_stop_seconds()
        if late > seconds and any(not member.ours for member in await self._queries.members(run)):
            # Turrets of OCT fire until they are ordered to stop; those of smartmob had stopped by themselves.
            seconds = min(late, max(seconds, await self._reader.last_second(run.uuid) + 1.0))
        config = run.state.config
        given = config.warm_up if warm_up is None else warm_up
        findings = Findings(seconds, config.results_ts_interval, given)
        async for slices in self._reader.slices(run.uuid, timer):
            await asyncio.to_thread(findings.add, slices)
        await asyncio.to_thread(findings.close)
        return findings

    async def _machine_loads(self, state: RunState, members: list[Member]) -> list[MachineLoad]:
        """Return the load of machines while a run fired.

        The samples of a machine may have expired; in that case its load is taken from the stored summary.
        """
        if self._host_load is None or state.started_at is None:
            return []
        until = state.ceased_at or state.ended_at or clock.now()
        loads = loads_in_run(await self._host_load.busy(state.started_at, until), members)
        stored = await self._stored_summary(UUID(state.id))
        hosts = {load.host for load in loads}
        return [*loads, *(load for load in (stored.machines if stored else ()) if load.host not in hosts)]

    async def _stored_summary(self, run: UUID) -> Summary | None:
        stored = await self._reader.summary(run)
        return None if stored is None else msgspec.json.decode(stored, type=Summary)


def _planned(state: RunState) -> list[TurretConfig]:
    """Return the turrets of the project, without those that are files of their own."""
    return [turret for turret in state.config.turrets if isinstance(turret, TurretConfig)]


def _plan(run: CurrentRun, members: list[Member]) -> LoadPlan:
    return plan_of(run.state.config, msgspec.json.decode(run.config), members)


def _evidence(run: CurrentRun, findings: Findings, plan: LoadPlan) -> RunEvidence:
    return RunEvidence(
        ended=run.state.state in ENDED,
        plan=plan,
        duration=findings.duration,
        warm_up=findings.warm_up,
        imported=run.source is not None,
    )


def _summary(
    run: CurrentRun,
    findings: Findings,
    members: list[Member],
    machines: list[MachineLoad],
    digests: Mapping[str, str],
) -> Summary:
    from smartmob.turrets.report.trust import judge

    state, plan = run.state, _plan(run, members)
    own, timers = findings.stats(TRANSACTION), findings.all_stats()
    texts, errors = findings.other_errors()
    evidence = _evidence(run, findings, plan)
    summary = Summary(
        id=state.id,
        name=state.name,
        state=state.state,
        reason=state.reason,
        started_at=state.started_at,
        ended_at=state.ended_at,
        duration=findings.duration,
        interval=findings.interval,
        transactions=own.count,
        errors=own.errors,
        rate=own.rate,
        timers=timers,
        intervals=findings.all_intervals(),
        error_texts=findings.error_texts(),
        timer_errors=findings.timer_errors(),
        sent=sum(member.report.sent for member in members if member.report is not None),
        received=sum(member.report.received for member in members if member.report is not None),
        version=SUMMARY_VERSION,
        turrets=members,
        counters=run.counters,
        source=run.source,
        trust=judge(
            members,
            run.counters,
            own.count,
            state.reason,
            findings.damaged,
            machines,
            planned=_planned(state),
            digests=digests,
            timers=timers,
            evidence=evidence,
            source=run.source,
        ),
        machines=machines,
        plan=plan,
        warm_up=findings.warm_up,
        other_error_texts=texts,
        other_errors=errors,
    )
    conditions = LiveConditions.of(state.config).conditions
    if not conditions:
        return summary
    if state.state not in ENDED:
        return replace(summary, conditions=list(run.conditions) or not_evaluated(conditions))
    return replace(summary, conditions=results_of(conditions, msgspec.to_builtins(summary), state.reason))
