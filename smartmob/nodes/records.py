"""The records of nodes: process events and jobs, which the service stores once and in their order. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from smartmob.errors import InvalidInput
from smartmob.nodes.protocol import MAX_TEXT, Record

PROCESS_EVENT, JOB = "process_event", "job"
"""The kinds of records that are stored; other kinds are of a later version, and are skipped."""

_MAX_LIST = 50
"""Items of a list or object of a record that is shortened."""


class NodeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event in the life of a process of a node; the fields are those of `ProcessEvent`."""

    node: str
    slug: str
    at: datetime
    id: UUID
    kind: str
    detail: dict[str, Any]


class NodeJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job of a node. `record` has the fields of `Job`."""

    node: str
    job_id: int
    record: dict[str, Any]


class _Event(msgspec.Struct, frozen=True):
    slug: str
    at: datetime
    kind: str
    detail: dict[str, Any] = {}


class _StoredEvent(msgspec.Struct, frozen=True):
    id: UUID
    event: _Event


class _Job(msgspec.Struct, frozen=True):
    id: int
    state: str
    started_at: datetime
    ended_at: datetime | None = None


def shortened(value: bytes) -> bytes:
    """Return a record with its longest texts and lists cut, because the size of a message is limited."""
    return msgspec.json.encode(_cut(msgspec.json.decode(value)))


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return f"{value[:MAX_TEXT]}… ({len(value) - MAX_TEXT} more characters)"
    if isinstance(value, list):
        more = [f"… ({len(value) - _MAX_LIST} more)"] if len(value) > _MAX_LIST else []
        return [_cut(each) for each in value[:_MAX_LIST]] + more
    if isinstance(value, dict):
        return {key[:MAX_TEXT]: _cut(each) for key, each in list(value.items())[:_MAX_LIST]}
    return value


class RecordBatch:
    """The rows of some records of a node. Times are corrected by `offset`, the seconds that its clock is behind."""

    def __init__(self, node: str, offset: float | None) -> None:
        self.events: dict[UUID, NodeEvent] = {}
        self.jobs: dict[int, tuple[_Job, NodeJob]] = {}
        self._node = node
        self._offset = timedelta(seconds=offset or 0.0)

    def add(self, record: Record) -> None:
        """Add a record; if a job has several, the last one counts. Raises InvalidInput."""
        # PostgreSQL stores no zero bytes in texts.
        value = bytes(record.value).replace(b"\\u0000", b"\\ufffd")
        try:
            if record.kind == PROCESS_EVENT:
                stored = msgspec.json.decode(value, type=_StoredEvent)
                event = msgspec.structs.asdict(stored.event) | {"at": self._corrected(stored.event.at)}
                self.events[stored.id] = NodeEvent(node=self._node, id=stored.id, **event)
            elif record.kind == JOB:
                job = msgspec.json.decode(value, type=_Job)
                if not 1 <= job.id <= 2**62:
                    raise ValueError("the number of a job is out of range")
                times = {"started_at": self._corrected(job.started_at)}
                if job.ended_at is not None:
                    times["ended_at"] = self._corrected(job.ended_at)
                whole = msgspec.json.decode(value, type=dict[str, Any]) | times
                self.jobs[job.id] = (
                    msgspec.structs.replace(job, **times),
                    NodeJob(node=self._node, job_id=job.id, record=whole),
                )
        except (msgspec.MsgspecError, ValueError, OverflowError) as error:
            raise InvalidInput(f"record {record.number} of the node {self._node} is not valid: {error}") from None

    def _corrected(self, at: datetime) -> datetime:
        if at.tzinfo is None:
            raise ValueError("a time has no offset from UTC")
        return at + self._offset

    def event_columns(self) -> Sequence[Sequence[object]]:
        """Return the columns slug, at, id, kind and detail of the events."""
        rows = self.events.values()
        return (
            [row.slug for row in rows],
            [row.at for row in rows],
            [row.id for row in rows],
            [row.kind for row in rows],
            [msgspec.json.encode(row.detail).decode() for row in rows],
        )

    def job_columns(self) -> Sequence[Sequence[object]]:
        """Return the columns job_id, state, started_at, ended_at and record of the jobs."""
        rows = self.jobs.values()
        return (
            [job.id for job, _ in rows],
            [job.state for job, _ in rows],
            [job.started_at for job, _ in rows],
            [job.ended_at for job, _ in rows],
            [msgspec.json.encode(node_job.record).decode() for _, node_job in rows],
        )
