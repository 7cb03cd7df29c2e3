"""What the pages show: the lab as it is now, what changed, and the timeline. Frozen data, and rules about it.

Times are ISO 8601 in UTC, durations seconds, memory and storage megabytes as the machines report them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class HostNow(msgspec.Struct, frozen=True, kw_only=True):
    """A machine with its newest figures; `at` is None before its first sample."""

    name: str
    own: bool
    at: datetime | None
    cpu: float | None
    mem: float | None
    storage: float | None
    load: float | None
    net_received: float | None
    net_sent: float | None
    cores: list[float] | None


class ProcessNow(msgspec.Struct, frozen=True, kw_only=True):
    """A program that the service runs."""

    slug: str
    app: str
    node: str
    state: str
    detail: str
    pid: int | None
    port: int | None
    uptime: float | None
    restarts: int
    last_status: int | None
    next_try_at: datetime | None
    cpu: float | None
    memory: int | None


class JobNow(msgspec.Struct, frozen=True, kw_only=True):
    """A command that runs."""

    id: int
    line: str
    client: str
    started_at: datetime


class LoadNow(msgspec.Struct, frozen=True, kw_only=True):
    """The load test that is on."""

    id: str
    name: str
    state: str
    elapsed: float
    run_time: float
    turrets: int
    transactions: int
    errors: int
    rate: int
    error_rate: int
    p50: float | None
    p99: float | None


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """The lab at one moment; one such frame a second goes to whoever watches.

    `news` is another number whenever something has happened that a page may want to ask about anew.
    """

    at: datetime
    news: int
    hosts: list[HostNow]
    processes: list[ProcessNow]
    jobs: list[JobNow]
    load: LoadNow | None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. `kind` is process, tests, load, job, host or mark; `href` is where to read on."""

    at: datetime
    kind: str
    text: str
    level: str = "plain"
    href: str | None = None


class TestRun(msgspec.Struct, frozen=True, kw_only=True):
    """A test run, and what was found when it was compared with those before it."""

    id: str
    scm_ref: str
    started_at: datetime
    ended_at: datetime
    nodes: list[str]
    metrics: int
    total_time: float
    verdict: str | None = None
    reason: str | None = None


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of a machine over time: one value for each of the times of its document, None where there is none."""

    host: str
    cpu: list[float | None]
    cpu_max: list[float | None]
    mem: list[float | None]
    received: list[float | None]
    sent: list[float | None]


class Courses(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of machines over the same times, `width` seconds apart."""

    width: float
    times: list[float]
    hosts: list[Course]


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What the first page shows beside the lab as it is now."""

    courses: Courses
    runs: list[TestRun]
    changes: list[Change]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Something that went on from `start` to `end`, which is None while it goes on, in a lane of the timeline."""

    lane: str
    label: str
    start: datetime
    end: datetime | None
    level: str = "plain"
    detail: str = ""
    href: str | None = None


class LoadCourse(msgspec.Struct, frozen=True, kw_only=True):
    """How a load test did over time: transactions and errors a second, and percentiles in seconds."""

    id: str
    name: str
    times: list[float]
    rate: list[float]
    errors: list[float]
    p50: list[float | None]
    p99: list[float | None]


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of a span, at the resolution at which it can be seen.

    `partial` names the lanes of which only the newest part is told, because there was too much.
    """

    start: datetime = msgspec.field(name="from")
    end: datetime = msgspec.field(name="to")
    courses: Courses
    spans: list[Span]
    changes: list[Change]
    marks: list[dict[str, Any]]
    loads: list[LoadCourse]
    partial: list[str]
