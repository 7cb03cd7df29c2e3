"""What happened in a span, of every feature, in the order of time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Iterator
from datetime import datetime
from urllib.parse import quote

from smartmob.commands.model import RUNNING, Job
from smartmob.console.model import Change
from smartmob.console.services import Services
from smartmob.kernel.runtime import clock
from smartmob.metrics.model import Run as TestRun
from smartmob.processes.model import ProcessEvent
from smartmob.turrets.model import Run as LoadRun

_TOLD_OF_PROCESSES = {
    "created": "plain",
    "started": "good",
    "restarted": "warning",
    "exited": "plain",
    "backoff": "warning",
    "failed": "bad",
    "stopped": "plain",
    "deleted": "plain",
}
_MOST_HOSTS = 1_000
_PEACEFUL = (0, None, -signal.SIGTERM, -signal.SIGINT)
"""How programs end that were asked to."""


async def changes(services: Services, start: datetime, end: datetime, most: int) -> list[Change]:
    """Return what happened from `start` until before `end`; of each room at most so many, the newest."""
    happened, runs, loads, jobs, hosts, marks = await asyncio.gather(
        happenings(services, start, end, most),
        services.metrics.runs_between(start, end, most),
        services.turrets.queries.runs_between(start, end, most),
        services.commands.jobs_between(start, end, most),
        services.hosts.hosts("", _MOST_HOSTS),
        services.marks.marks(start, end, most),
    )
    found = [
        *_of_processes(happened),
        *_of_tests(runs),
        *_of_loads(loads),
        *_of_jobs(jobs),
        *(Change(at=h.registered_at, kind="host", text=f"{h.name} was registered", href=_host(h.name)) for h in hosts),
        *(Change(at=m.at, kind="mark", text=m.text + (f" ({m.author})" if m.author else "")) for m in marks),
    ]
    return sorted((change for change in found if start <= change.at < end), key=lambda change: change.at)


async def happenings(services: Services, start: datetime, end: datetime, most: int) -> list[ProcessEvent]:
    """Return the newest events of processes; they are read in the order of time, so all of a span are gone through."""
    found: list[ProcessEvent] = []
    after = None
    while True:
        page = await services.processes.events(None, start, end, after, 1_000)
        found = [*found, *(kept.happening for kept in page)][-most:]
        if len(page) < 1_000:
            return found
        after = (page[-1].happening.at, page[-1].id)


def _of_processes(happened: Iterable[ProcessEvent]) -> Iterator[Change]:
    for happening in happened:
        level = _TOLD_OF_PROCESSES.get(happening.kind)
        if level is None:
            continue
        if happening.kind == "exited" and happening.detail.get("status") not in _PEACEFUL:
            level = "warning"
        text = str(happening.detail.get("text") or happening.kind)
        href = None if happening.kind == "deleted" else f"/console/processes/{quote(happening.slug, safe='')}"
        yield Change(at=happening.at, kind="process", text=f"{happening.slug}: {text}", level=level, href=href)


def _of_tests(runs: Iterable[TestRun]) -> Iterator[Change]:
    for run in runs:
        commit = f" of {run.scm_ref[:12]}" if run.scm_ref else ""
        machines = f" on {', '.join(run.nodes)}" if run.nodes else ""
        text = f"{run.metrics} test{'' if run.metrics == 1 else 's'}{commit}{machines}"
        yield Change(at=run.started_at, kind="tests", text=text, href=f"/console/tests/runs/{quote(run.id, safe='')}")


def _of_loads(runs: Iterable[LoadRun]) -> Iterator[Change]:
    for run in runs:
        href = f"/console/load/{run.id}"
        if run.started_at is not None:
            yield Change(at=run.started_at, kind="load", text=f"{run.name} began to fire", href=href)
        if run.ended_at is not None:
            level = {"finished": "good", "failed": "bad"}.get(run.state, "plain")
            text = f"{run.name} {run.state}: {run.transactions:,} transactions, {run.errors:,} errors"
            yield Change(at=run.ended_at, kind="load", text=text, level=level, href=href)


def _of_jobs(jobs: Iterable[Job]) -> Iterator[Change]:
    for job in jobs:
        href = f"/console/commands/{job.id}"
        if job.state == RUNNING:
            yield Change(at=job.started_at, kind="job", text=f"{job.line} runs", href=href)
        else:
            status = f" {job.exit_code}" if job.exit_code is not None else ""
            level = "plain" if job.exit_code == 0 else "warning"
            text = f"{job.line}: {job.state}{status}"
            yield Change(at=job.ended_at or clock.now(), kind="job", text=text, level=level, href=href)


def _host(name: str) -> str:
    return f"/console/hosts/{quote(name, safe='')}"
