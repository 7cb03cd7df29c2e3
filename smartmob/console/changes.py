"""The changes in a time span, gathered from all features, in the order of time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from urllib.parse import quote

import msgspec

from smartmob.alerts.model import Alert
from smartmob.alerts.service import AlertsService
from smartmob.commands.model import RUNNING, Job
from smartmob.console.model import Change
from smartmob.console.run_texts import run_machines
from smartmob.console.services import Services
from smartmob.counts import counted
from smartmob.kernel.runtime import clock
from smartmob.metrics.model import Run as TestRun
from smartmob.processes.model import ProcessEvent
from smartmob.turrets.model import Run as LoadRun

_PROCESS_LEVELS = {
    "created": "plain",
    "started": "good",
    "restarted": "warning",
    "exited": "plain",
    "backoff": "warning",
    "failed": "bad",
    "ready": "good",
    "not ready": "warning",
    "unhealthy": "bad",
    "stopped": "plain",
    "deleted": "plain",
}
"""The level of each kind of process event; other kinds are not shown."""
_REPEATED = ("started", "restarted", "exited", "backoff", "ready", "not ready", "unhealthy")
"""The kinds of process events that repeat when a program is restarted."""
_LEVELS = ("plain", "good", "warning", "bad")
MANY = 8
"""Changes of one topic from which on one stands for all: a program that was restarted twice has seven events."""
_ALERTS = "/console/alerts"
_MAX_HOSTS = 1_000  # machines
_EVENTS_AT_ONCE = 1_000  # process events that one query reads
_EXPECTED_STATUSES = (0, None, -signal.SIGTERM, -signal.SIGINT)
"""Exit statuses of a process that succeeded or was asked to end."""


async def changes(services: Services, alerts: AlertsService, start: datetime, end: datetime, most: int) -> list[Change]:
    """Return the changes from `start` until before `end`: the newest `most` of each feature."""
    events, runs, loads, jobs, hosts, marks = await asyncio.gather(
        process_events(services, start, end, most),
        services.metrics.runs.between(start, end, most),
        services.turrets.queries.runs_between(start, end, most),
        services.commands.jobs.between(start, end, most),
        services.hosts.queries.hosts("", _MAX_HOSTS),
        services.marks.marks(start, end, most),
    )
    fired = await alerts.history(start, end, most)
    found = [
        *_of_processes(events),
        *_of_tests(runs),
        *_of_loads(loads),
        *_of_jobs(jobs),
        *_of_alerts(fired),
        *(Change(at=h.registered_at, kind="host", text=f"{h.name} was registered", href=_host(h.name)) for h in hosts),
        *(Change(at=m.at, kind="mark", text=m.text + (f" ({m.author})" if m.author else "")) for m in marks),
    ]
    return sorted((change for change in found if start <= change.at < end), key=lambda change: change.at)


def grouped(found: Sequence[Change]) -> list[Change]:
    """Return changes in the order of time; `MANY` or more of the same topic are replaced by one.

    That one has the time of the newest and the worst level of all.
    """
    topics: dict[str, list[Change]] = {}
    for change in found:
        if change.topic:
            topics.setdefault(change.topic, []).append(change)
    many = {topic: group for topic, group in topics.items() if len(group) >= MANY}
    single = [change for change in found if change.topic not in many]
    return sorted([*single, *map(_together, many.values())], key=lambda change: change.at)


def _together(group: Sequence[Change]) -> Change:
    newest = group[-1]
    level = max((change.level for change in group), key=_LEVELS.index)
    count, text = len(group), newest.text
    if newest.kind == "process":
        slug = newest.topic.partition(" ")[2]
        starts = sum(change.text.startswith(f"{slug}: started") for change in group)
        what = f"restarted {starts} times" if starts > 1 else f"{counted(count, 'event')}"
        count, text = max(starts, 1), f"{slug} {what}; last: {text.removeprefix(f'{slug}: ')}"
    else:
        text = f"{text} ({count} times)"
    return msgspec.structs.replace(newest, text=text, level=level, count=count, since=group[0].at)


async def process_events(services: Services, start: datetime, end: datetime, most: int) -> list[ProcessEvent]:
    """Return the newest `most` process events of a span, in the order of time.

    The service lists them oldest first, so all events of the span are read.
    """
    found: list[ProcessEvent] = []
    after = None
    while True:
        page = await services.processes.events(None, start, end, after, _EVENTS_AT_ONCE)
        found = [*found, *(kept.event for kept in page)][-most:]
        if len(page) < _EVENTS_AT_ONCE:
            return found
        after = (page[-1].event.at, page[-1].id)


def _of_processes(events: Iterable[ProcessEvent]) -> Iterator[Change]:
    return filter(None, map(process_change, events))


def process_change(event: ProcessEvent) -> Change | None:
    """Return a process event as a change, or None for a kind that is not shown."""
    level = _PROCESS_LEVELS.get(event.kind)
    if level is None:
        return None
    if event.kind == "exited" and event.detail.get("status") not in _EXPECTED_STATUSES:
        level = "warning"
    text = str(event.detail.get("text") or event.kind)
    href = None if event.kind == "deleted" else f"/console/processes/{quote(event.slug, safe='')}"
    topic = f"process {event.slug}" if event.kind in _REPEATED else ""
    return Change(at=event.at, kind="process", text=f"{event.slug}: {text}", level=level, href=href, topic=topic)


def _of_tests(runs: Iterable[TestRun]) -> Iterator[Change]:
    for run in runs:
        commit = f" of {run.scm_ref[:12]}" if run.scm_ref else ""
        names = run_machines(run)
        machines = f" on {', '.join(names)}" if names else ""
        text = f"{run.metrics} test{'' if run.metrics == 1 else 's'}{commit}{machines}"
        yield Change(at=run.started_at, kind="tests", text=text, href=f"/console/tests/runs/{quote(run.id, safe='')}")


def _of_loads(runs: Iterable[LoadRun]) -> Iterator[Change]:
    for run in runs:
        href = f"/console/load/{run.id}"
        if run.started_at is not None:
            yield Change(at=run.started_at, kind="load", text=f"{run.name} started", href=href)
        if run.ended_at is not None:
            level = {"finished": "good", "failed": "bad"}.get(run.state, "plain")
            text = f"{run.name} {run.state}: {counted(run.transactions, 'transaction')}, {counted(run.errors, 'error')}"
            yield Change(at=run.ended_at, kind="load", text=text, level=level, href=href)


def _of_jobs(jobs: Iterable[Job]) -> Iterator[Change]:
    for job in jobs:
        href = f"/console/commands/{job.id}"
        if job.state == RUNNING:
            yield Change(at=job.started_at, kind="job", text=f"{job.command_line} is running", href=href)
        else:
            status = f" {job.exit_code}" if job.exit_code is not None else ""
            level = "plain" if job.exit_code == 0 else "warning"
            text = f"{job.command_line}: {job.state}{status}"
            at = job.ended_at or clock.now()
            yield Change(at=at, kind="job", text=text, level=level, href=href, topic=f"job {text}")


def _of_alerts(alerts: Iterable[Alert]) -> Iterator[Change]:
    for alert in alerts:
        text, topic = f"{alert.rule}: {alert.summary}", f"alert {alert.rule} {alert.subject}"
        yield Change(at=alert.fired_at, kind="alert", text=text, level="bad", href=_ALERTS, topic=topic)
        if alert.resolved_at is not None:
            text = f"{alert.rule}: {alert.subject} is resolved ({alert.reason})"
            yield Change(at=alert.resolved_at, kind="alert", text=text, level="good", href=_ALERTS, topic=topic)


def _host(name: str) -> str:
    return f"/console/hosts/{quote(name, safe='')}"
