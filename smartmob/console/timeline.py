"""The timeline: all data of a time span in lanes and curves, at the resolution of a screen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from urllib.parse import quote

import msgspec

from smartmob.commands.model import Job
from smartmob.console.changes import changes, process_events
from smartmob.console.model import LoadCourse, Span, Timeline
from smartmob.console.run_texts import run_machines, run_name
from smartmob.console.service import ConsoleService
from smartmob.console.services import Services
from smartmob.counts import counted
from smartmob.kernel.runtime import clock
from smartmob.metrics.model import ExecutedTest
from smartmob.metrics.model import Run as TestRun
from smartmob.processes.model import ProcessEvent, Snapshot
from smartmob.turrets.model import Run as LoadRun

TESTS_SPAN = timedelta(hours=2)
"""The longest span in which single tests are shown: in a longer one they are too short to be seen."""

# The largest number of items of each kind; beyond it only the newest are included.
MAX_RUNS = 200  # test runs
MAX_TESTS = 2_000  # executions of tests
MAX_JOBS = 500  # jobs
MAX_LOADS = 20  # load tests
MAX_PROCESS_EVENTS = 5_000  # events
MAX_CHANGES = 500  # changes of each feature
MAX_MARKS = 1_000  # notes

_START_KINDS = ("started", "restarted")


async def timeline(service: ConsoleService, start: datetime, end: datetime, points: int) -> Timeline:
    """Return the data of the span from `start` until before `end`; curves have at most `points` values."""
    services = service.services
    courses, runs, loads, jobs = await asyncio.gather(
        service.courses(start, end, points),
        services.metrics.runs.between(start, end, MAX_RUNS),
        services.turrets.queries.runs_between(start, end, MAX_LOADS),
        services.commands.jobs.between(start, end, MAX_JOBS),
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
        ("processes", events, MAX_PROCESS_EVENTS),
        ("marks", marks, MAX_MARKS),
    )
    return Timeline(
        start=start,
        end=end,
        courses=courses,
        spans=[
            *map(_run_span, runs),
            *map(_test_span, tests),
            *_process_spans(events, services.processes.processes(), start, end),
            *map(_load_span, loads),
            *map(_job_span, jobs),
        ],
        changes=changed,
        marks=[msgspec.to_builtins(mark, builtin_types=(datetime,)) for mark in marks],
        loads=[course for run in loads if (course := await _load_course(services, run)) is not None],
        partial=sorted({lane for lane, found, most in limits if len(found) >= most}),
    )


async def _tests(services: Services, runs: Sequence[TestRun], start: datetime, end: datetime) -> list[ExecutedTest]:
    if end - start > TESTS_SPAN or not runs:
        return []
    sessions = [session.session_h for run in runs for session in run.sessions]
    return await services.metrics.runs.executions(sessions, start, end, MAX_TESTS)


def _run_span(run: TestRun) -> Span:
    return Span(
        lane="test runs",
        label=run_name(run.id, run.scm_ref),
        start=run.started_at,
        end=run.ended_at,
        detail=f"{counted(run.metrics, 'test')}, {_duration(run.total_time)}, {', '.join(run_machines(run))}",
        href=f"/console/tests/runs/{quote(run.id, safe='')}",
    )


def _duration(seconds: float | None) -> str:
    return "unknown time" if seconds is None else f"{seconds:.3f} s"


def _test_span(test: ExecutedTest) -> Span:
    path = quote(test.item_path, safe="")
    return Span(
        lane="tests",
        label=test.item_variant or test.item,
        start=test.started_at,
        end=_after(test.started_at, test.total_time or 0.0),
        detail="unknown time" if test.total_time is None else f"{test.total_time:.6g} s",
        href=f"/console/tests/items?path={path}&variant={quote(test.item_variant, safe='')}",
    )


def _load_span(run: LoadRun) -> Span:
    return Span(
        lane="load",
        label=run.name,
        start=run.started_at or run.created_at,
        end=run.ended_at,
        level="bad" if run.state == "failed" else "good" if run.state == "finished" else "plain",
        detail=f"{run.state}, {counted(run.transactions, 'transaction')}, {counted(run.errors, 'error')}",
        href=f"/console/load/{run.id}",
    )


def _job_span(job: Job) -> Span:
    return Span(
        lane="jobs",
        label=job.command_line[:200],
        start=job.started_at,
        end=job.ended_at,
        level="plain" if job.exit_code in (0, None) else "warning",
        detail=f"{job.state}, {job.client}",
        href=f"/console/commands/{job.id}",
    )


def _process_spans(
    events: Iterable[ProcessEvent], present: Iterable[Snapshot], start: datetime, end: datetime
) -> list[Span]:
    """Return the time spans in which each process ran: from each start to the following exit."""
    started: dict[str, datetime] = {}
    seen: set[str] = set()
    spans = []
    for event in events:
        slug = event.slug
        if event.kind in _START_KINDS:
            started[slug] = event.at
        elif event.kind == "exited":
            # A process whose start is not in the span was running before it.
            since = started.pop(slug, None) or (start if slug not in seen else None)
            if since is not None:
                failed = event.detail.get("status") not in (0, None)
                level = "warning" if failed else "plain"
                spans.append(_process_span(slug, since, event.at, str(event.detail.get("text", "")), level))
        seen.add(slug)
    running = {snapshot.definition.slug: snapshot for snapshot in present if snapshot.pid is not None}
    for slug, snapshot in running.items():
        since = started.pop(slug, None) or snapshot.started_at
        if since is not None and since < end:
            spans.append(_process_span(slug, since, None, f"pid {snapshot.pid}", "good"))
    # If the service was killed, there is no event for the exit.
    spans += [_process_span(slug, since, since, "ended with the service", "warning") for slug, since in started.items()]
    return spans


def _process_span(slug: str, start: datetime, end: datetime | None, detail: str, level: str) -> Span:
    href = f"/console/processes/{quote(slug, safe='')}"
    return Span(lane=f"process {slug}", label=slug, start=start, end=end, level=level, detail=detail, href=href)


async def _load_course(services: Services, run: LoadRun) -> LoadCourse | None:
    if run.started_at is None:
        return None
    begun = run.started_at.timestamp()
    points = (await services.turrets.reports.course(run.id)).points
    return LoadCourse(
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
