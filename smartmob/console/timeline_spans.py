"""The spans of programs on the timeline, from the events of their processes, and those of experiments. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from urllib.parse import quote

from smartmob.console.model import TimelineSpan
from smartmob.counts import counted
from smartmob.experiments.stored_experiment import ExperimentSummary
from smartmob.processes.model import ProcessEvent, ProcessSnapshot

_START_KINDS = ("started", "restarted")

Running = Mapping[str, tuple[datetime | None, str]]
"""The programs that run: their start, None if unknown, and a detail."""


def running_programs(present: Iterable[ProcessSnapshot]) -> Running:
    """Return the running programs by their slugs."""
    return {
        snapshot.definition.slug: (snapshot.started_at, f"pid {snapshot.pid}")
        for snapshot in present
        if snapshot.pid is not None
    }


def process_spans(
    events: Iterable[ProcessEvent], running: Running, start: datetime, end: datetime
) -> list[TimelineSpan]:
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
    for slug, (known, detail) in running.items():
        since = started.pop(slug, None) or known or (start if slug not in seen else None)
        if since is not None and since < end:
            spans.append(_process_span(slug, since, None, detail, "good"))
    # If the service was killed, no event records the exit.
    spans += [_process_span(slug, since, since, "ended with the service", "warning") for slug, since in started.items()]
    return spans


def _process_span(slug: str, start: datetime, end: datetime | None, detail: str, level: str) -> TimelineSpan:
    href = f"/console/processes/{quote(slug, safe='')}"
    return TimelineSpan(lane=f"process {slug}", label=slug, start=start, end=end, level=level, detail=detail, href=href)


_EXPERIMENT_LEVELS = {"slower": "bad", "unfit": "warning", "undecided": "warning", "faster": "good", "same": "good"}


def experiment_span(found: ExperimentSummary) -> TimelineSpan:
    """Return the span of an experiment."""
    counts = ", ".join(f"{number:,} {verdict}" for verdict, number in found.counts.items())
    return TimelineSpan(
        lane="experiments",
        label=f"{found.base.given} → {found.head.given}",
        start=found.started_at,
        end=found.ended_at,
        level=_EXPERIMENT_LEVELS[found.verdict],
        detail=f"{counted(found.tests, 'test')}: {counts}; {found.machine}",
        href=f"/console/experiments/{found.id}",
    )
