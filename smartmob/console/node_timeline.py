"""The programs and jobs of nodes on the timeline: spans and changes from what the nodes have recorded. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from urllib.parse import quote

import msgspec

from smartmob.commands.model import RUNNING
from smartmob.console.changes import process_change
from smartmob.console.model import Change, TimelineSpan
from smartmob.console.timeline_spans import process_spans
from smartmob.nodes.model import NodeActivity
from smartmob.nodes.records import NodeEvent, NodeJob
from smartmob.processes.model import ProcessEvent

MAX_EVENTS = 2_000  # process events of a node
MAX_JOBS = 200  # jobs of a node
_LABEL = 200  # characters


def event_spans(
    node: str, events: Sequence[NodeEvent], activity: NodeActivity | None, start: datetime, end: datetime
) -> list[TimelineSpan]:
    """Return the spans in which the programs of a node ran, each program in its own lane.

    `activity` is the present one, or None if the span has already ended.
    """
    programs = () if activity is None else activity.programs
    running = {program.slug: (None, f"pid {program.pid}") for program in programs if program.pid is not None}
    spans = process_spans(map(_as_own, events), running, start, end)
    return [
        msgspec.structs.replace(span, lane=f"process {node}: {span.label}", href=_program(node, span.label))
        for span in spans
    ]


def event_changes(node: str, events: Iterable[NodeEvent]) -> Iterator[Change]:
    """Yield the changes of the programs of a node."""
    for event in events:
        change = process_change(_as_own(event))
        if change is not None:
            href = None if change.href is None else _program(node, event.slug)
            topic = f"{node}: {change.topic}" if change.topic else ""
            yield msgspec.structs.replace(change, text=f"{node}: {change.text}", href=href, topic=topic)


def job_spans(jobs: Iterable[NodeJob]) -> list[TimelineSpan]:
    """Return the spans of jobs of nodes."""
    return [_job(job, msgspec.convert(job.record, _Job)) for job in jobs]


class _Job(msgspec.Struct, frozen=True):
    state: str
    started_at: datetime
    argv: list[str] = []
    client: str = ""
    ended_at: datetime | None = None
    exit_code: int | None = None


def _job(job: NodeJob, record: _Job) -> TimelineSpan:
    return TimelineSpan(
        lane=f"jobs {job.node}",
        label=" ".join(record.argv)[:_LABEL],
        start=record.started_at,
        end=None if record.state == RUNNING else record.ended_at,
        level="plain" if record.exit_code in (0, None) else "warning",
        detail=f"{record.state}, {record.client}",
        href=f"{_page(job.node)}/jobs/{job.job_id}",
    )


def _as_own(event: NodeEvent) -> ProcessEvent:
    return ProcessEvent(slug=event.slug, at=event.at, kind=event.kind, detail=event.detail)


def _page(node: str) -> str:
    return f"/console/hosts/{quote(node, safe='')}"


def _program(node: str, slug: str) -> str:
    return f"{_page(node)}/processes/{quote(slug, safe='')}"
