"""The documents that the pages show: the current state of the lab, its changes, and the timeline.

Times are ISO 8601 in UTC, durations are in seconds, memory and storage in megabytes as the machines report them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from smartmob.hosts.fields import FileSystem, StaleField
from smartmob.metrics.model import Place
from smartmob.nodes.model import NodeActivity, NodeFacts
from smartmob.nodes.records import NodeJob


class HostNow(msgspec.Struct, frozen=True, kw_only=True):
    """A machine with its newest sample, whose time is `at`; all values are None before the first one.

    `stale` has the fields that could not be measured, with their last value, and `unread` the fields that the machine
    sends but the service does not store. `totals` has the total sizes of memory, swap and storage, `file_systems` the
    parts of the storage.
    """

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
    totals: dict[str, float] = msgspec.field(default_factory=dict)
    file_systems: dict[str, FileSystem] = msgspec.field(default_factory=dict)
    stale: dict[str, StaleField] = msgspec.field(default_factory=dict)
    unread: list[str] = msgspec.field(default_factory=list)


class ProcessNow(msgspec.Struct, frozen=True, kw_only=True):
    """A process that the service supervises. `ready` is None when it has no readiness check."""

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
    ready: bool | None = None
    ready_detail: str = ""


class JobNow(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is running; `output` is the length of its output so far, in bytes."""

    id: int
    line: str
    client: str
    started_at: datetime
    output: int = 0


class LoadNow(msgspec.Struct, frozen=True, kw_only=True):
    """The load test that is running."""

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


class NodeNow(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that has joined, or another service, with the programs and running jobs of its last report."""

    name: str
    labels: dict[str, str]
    connected: bool
    drained: bool
    seen_at: datetime | None
    facts: NodeFacts
    activity: NodeActivity
    service: bool = False


class NodeJobs(msgspec.Struct, frozen=True):
    """The jobs of all nodes, newest first."""

    jobs: list[NodeJob]


class LabState(msgspec.Struct, frozen=True, kw_only=True):
    """The current state of the lab; each viewer gets one such frame a second.

    `change_number` changes after each event that is a reason for a page to load its other documents again. `services`
    are the other services on the database, in the form of nodes; their names begin with @. `node_records` changes when
    a record of any node is stored, whichever service it is connected to.
    """

    at: datetime
    change_number: int = msgspec.field(name="news")
    hosts: list[HostNow]
    processes: list[ProcessNow]
    jobs: list[JobNow]
    load: LoadNow | None
    nodes: list[NodeNow] = []
    services: list[NodeNow] = []
    node_records: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An event. `kind` is process, tests, load, job, host, mark or alert; `href` is the page with the details.

    Events of the same `topic` repeat each other. `count` is the number of events that this one replaces, and `since`
    the time of the first of them, null for a single event.
    """

    at: datetime
    kind: str
    text: str
    level: str = "plain"
    href: str | None = None
    topic: str = ""
    count: int = 1
    since: datetime | None = None


class TestRun(msgspec.Struct, frozen=True, kw_only=True):
    """A test run, with the verdict from its comparison with earlier runs, and its word.

    `since` is set if tests are still slower than before an earlier run.
    """

    id: str
    scm_ref: str
    started_at: datetime
    ended_at: datetime
    nodes: list[str]
    metrics: int
    total_time: float | None
    verdict: str | None = None
    word: str | None = None
    since: bool = False
    reason: str | None = None
    places: list[Place] = msgspec.field(default_factory=list)


class FoundEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An item that a search found: its name, further facts about it, and its page."""

    name: str
    detail: str
    href: str


class FoundGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The items of one kind that a search found; `more` is whether further ones exist."""

    kind: str
    entries: list[FoundEntry]
    more: bool


class SearchResults(msgspec.Struct, frozen=True, kw_only=True):
    """The results of a search, by kind; kinds without results are left out."""

    text: str
    groups: list[FoundGroup]


class HostTimeSeries(msgspec.Struct, frozen=True, kw_only=True):
    """The time series of a machine: a value for each of the times of the document, None if there is no sample."""

    host: str
    cpu: list[float | None]
    cpu_max: list[float | None]
    mem: list[float | None]
    received: list[float | None]
    sent: list[float | None]


class AllHostTimeSeries(msgspec.Struct, frozen=True, kw_only=True):
    """The time series of several machines at the same times, `width` seconds apart."""

    width: float
    times: list[float]
    hosts: list[HostTimeSeries]


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of the overview page that are not in the live frames."""

    time_series: AllHostTimeSeries = msgspec.field(name="courses")
    runs: list[TestRun]
    changes: list[Change]


class TimelineSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A bar in a lane of the timeline, from `start` to `end`, which is None while it goes on."""

    lane: str
    label: str
    start: datetime
    end: datetime | None
    level: str = "plain"
    detail: str = ""
    href: str | None = None


class LoadTimeSeries(msgspec.Struct, frozen=True, kw_only=True):
    """The time series of a load test: transactions and errors a second, and percentiles in seconds."""

    id: str
    name: str
    times: list[float]
    rate: list[float]
    errors: list[float]
    p50: list[float | None]
    p99: list[float | None]


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """All data of a time span, at the resolution of a screen.

    `partial` names the lanes of which only the newest part is included, because there were too many items.
    """

    start: datetime = msgspec.field(name="from")
    end: datetime = msgspec.field(name="to")
    time_series: AllHostTimeSeries = msgspec.field(name="courses")
    spans: list[TimelineSpan]
    changes: list[Change]
    marks: list[dict[str, Any]]
    loads: list[LoadTimeSeries]
    partial: list[str]
