"""The timeline: all data of a time span in lanes and curves, at the resolution of a screen."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from urllib.parse import quote

import msgspec

from smartmob.commands.model import Job
from smartmob.console import node_timeline
from smartmob.console.changes import changes, process_events
from smartmob.console.model import LoadTimeSeries, Timeline, TimelineSpan
from smartmob.console.run_texts import run_machines, run_name
from smartmob.console.service import MAX_HOSTS, ConsoleService
from smartmob.console.services import Services
from smartmob.console.timeline_spans import experiment_span, process_spans, running_programs
from smartmob.counts import counted
from smartmob.kernel.runtime import clock
from smartmob.metrics.model import ExecutedTest
from smartmob.metrics.model import Run as TestRun
from smartmob.turrets.model import Run as LoadRun

TESTS_SPAN = timedelta(hours=2)
"""The longest span in which single tests are shown: in a longer span they are too short to be visible."""

# The largest number of items of each kind; beyond it only the newest are included.
MAX_RUNS = 200  # test runs
MAX_TESTS = 2_000  # executions of tests
MAX_JOBS = 500  # jobs
MAX_EXPERIMENTS = 200  # experiments
MAX_LOADS = 20  # load tests
MAX_PROCESS_EVENTS = 5_000  # events
MAX_CHANGES = 500  # changes of each feature
MAX_MARKS = 1_000  # notes
_OWN_LANES = ("process ", "jobs")
"""The beginnings of the lanes of this service's own machine."""


async def timeline(
    service: ConsoleService, start: datetime, end: datetime, points: int, machines: Collection[str] = ()
) -> Timeline:
    """Return the data of the span from `start` until before `end`; curves have at most `points` values.

    With `machines` the curves, programs and jobs are those of these machines only.
    """
    if machines:
        return await _of_machines(service, start, end, points, machines)
    services = service.services
    time_series, runs, loads, jobs, experiments = await asyncio.gather(
        service.time_series(start, end, points),
        services.metrics.runs.between(start, end, MAX_RUNS),
        services.turrets.queries.runs_between(start, end, MAX_LOADS),
        services.commands.jobs.between(start, end, MAX_JOBS),
        services.experiments.between(start, end, MAX_EXPERIMENTS),
    )
    events, changed, marks = await asyncio.gather(
        process_events(services, start, end, MAX_PROCESS_EVENTS),
        changes(services, service.alerts, start, end, MAX_CHANGES),
        services.marks.marks(start, end, MAX_MARKS),
    )
    tests = await _tests(services, runs, start, end)
    limits = (
        ("tests", runs, MAX_RUNS),
        ("tests", tests, MAX_TESTS),
        ("load", loads, MAX_LOADS),
        ("jobs", jobs, MAX_JOBS),
        ("experiments", experiments, MAX_EXPERIMENTS),
        ("processes", events, MAX_PROCESS_EVENTS),
        ("marks", marks, MAX_MARKS),
    )
    return Timeline(
        start=start,
        end=end,
        time_series=time_series,
        spans=[
            *map(_run_span, runs),
            *map(_test_span, tests),
            *process_spans(events, running_programs(services.processes.processes()), start, end),
            *map(_load_span, loads),
            *map(_job_span, jobs),
            *map(experiment_span, experiments),
        ],
        changes=changed,
        marks=[msgspec.to_builtins(mark, builtin_types=(datetime,)) for mark in marks],
        loads=[load for run in loads if (load := await _load_time_series(services, run)) is not None],
        partial=sorted({lane for lane, found, most in limits if len(found) >= most}),
    )


async def _of_machines(
    service: ConsoleService, start: datetime, end: datetime, points: int, machines: Collection[str]
) -> Timeline:
    """Return the timeline of some machines; the own one also has its programs and jobs."""
    own = {host.name for host in await service.services.hosts.queries.hosts("", MAX_HOSTS) if host.own}
    whole = await timeline(service, start, end, points)
    kept = bool(own & set(machines))
    time_series = await service.time_series(start, end, points, sorted(machines))
    spans = [span for span in whole.spans if kept or not span.lane.startswith(_OWN_LANES)]
    changed = [change for change in whole.changes if kept or change.kind not in ("process", "job")]
    partial = set(whole.partial)
    nodes = service.services.nodes
    for node, activity in await nodes.with_activity():
        if node.name not in machines:
            continue
        events = await nodes.records.events(node.name, start, end, node_timeline.MAX_EVENTS)
        jobs = await nodes.records.jobs(node.name, start, end, node_timeline.MAX_JOBS)
        present = activity if end >= clock.now() else None
        spans += node_timeline.event_spans(node.name, events, present, start, end)
        spans += node_timeline.job_spans(jobs)
        changed += node_timeline.event_changes(node.name, events)
        partial |= {"processes"} if len(events) >= node_timeline.MAX_EVENTS else set()
        partial |= {"jobs"} if len(jobs) >= node_timeline.MAX_JOBS else set()
    changed.sort(key=lambda change: change.at)
    return msgspec.structs.replace(
        whole, time_series=time_series, spans=spans, changes=changed, partial=sorted(partial)
    )


async def _tests(services: Services, runs: Sequence[TestRun], start: datetime, end: datetime) -> list[ExecutedTest]:
    if end - start > TESTS_SPAN or not runs:
        return []
    sessions = [session.session_h for run in runs for session in run.sessions]
    return await services.metrics.runs.executions(sessions, start, end, MAX_TESTS)


def _run_span(run: TestRun) -> TimelineSpan:
    return TimelineSpan(
        lane="test runs",
        label=run_name(run.id, run.scm_ref),
        start=run.started_at,
        end=run.ended_at,
        detail=f"{counted(run.metrics, 'test')}, {_duration(run.total_time)}, {', '.join(run_machines(run))}",
        href=f"/console/tests/runs/{quote(run.id, safe='')}",
    )


def _duration(seconds: float | None) -> str:
    return "unknown time" if seconds is None else f"{seconds:.3f} s"


def _test_span(test: ExecutedTest) -> TimelineSpan:
    path = quote(test.item_path, safe="")
    return TimelineSpan(
        lane="tests",
        label=test.item_variant or test.item,
        start=test.started_at,
        end=_after(test.started_at, test.total_time or 0.0),
        detail="unknown time" if test.total_time is None else f"{test.total_time:.6g} s",
        href=f"/console/tests/items?path={path}&variant={quote(test.item_variant, safe='')}",
    )


def _load_span(run: LoadRun) -> TimelineSpan:
    return TimelineSpan(
        lane="load",
        label=run.name,
        start=run.started_at or run.created_at,
        end=run.ended_at,
        level="bad" if run.state == "failed" else "good" if run.state == "finished" else "plain",
        detail=f"{run.state}, {counted(run.transactions, 'transaction')}, {counted(run.errors, 'error')}",
        href=f"/console/load/{run.id}",
    )


def _job_span(job: Job) -> TimelineSpan:
    return TimelineSpan(
        lane="jobs",
        label=job.command_line[:200],
        start=job.started_at,
        end=job.ended_at,
        level="plain" if job.exit_code in (0, None) else "warning",
        detail=f"{job.state}, {job.client}",
        href=f"/console/commands/{job.id}",
    )


async def _load_time_series(services: Services, run: LoadRun) -> LoadTimeSeries | None:
    if run.started_at is None:
        return None
    begun = run.started_at.timestamp()
    points = (await services.turrets.reports.time_series(run.id)).points
    return LoadTimeSeries(
        id=run.id,
        name=run.name,
        times=[begun + point.at for point in points],
        rate=[point.rate for point in points],
        errors=[point.error_rate for point in points],
        p50=[point.p50 for point in points],
        p99=[point.p99 for point in points],
    )


def _after(moment: datetime, seconds: float) -> datetime:
    try:
        return moment + timedelta(seconds=max(0.0, seconds))
    except OverflowError:
        return clock.now()
