"""The data of the feature `metrics`: contexts, sessions and metrics of pytest-monitor, and runs made of sessions.

Fields have the names that pytest-monitor sends (seed 000). Times are in seconds, memory is in MB of 2**20 bytes, and
`cpu_usage` is a share of one core (0.66 means 66 %). This module does no I/O.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from smartmob.errors import InvalidInput
from smartmob.metrics.start_times import local_to_utc, moment_to_utc

# In characters: a hash is a key, and an index entry of PostgreSQL holds at most 2,704 bytes.
MAX_KEY_CHARACTERS = 256
Hash = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_KEY_CHARACTERS)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
TagName = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
TagValue = Annotated[str, msgspec.Meta(max_length=100_000)]

MEASURES = ("total_time", "user_time", "kernel_time", "cpu_usage", "mem_usage")
BENCHMARK = "benchmark"
"""The `kind` of a test whose value is the average of many iterations, such as the nanoseconds of one call."""
BYTES_PER_MB = 2**20  # as pytest-monitor counts (memory_profiler divides by 2**20)
PIPELINE_TAG = "pipeline_branch"
BUILD_TAG = "pipeline_build_no"


class NewContext(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and the Python on which tests run, as pytest-monitor describes it."""

    h: Hash
    cpu_count: Int
    cpu_frequency: float
    cpu_type: str
    cpu_vendor: str | None = None
    ram_total: Int | None = None
    ram_tota: Int | None = None
    machine_node: str
    machine_type: str
    machine_arch: str
    system_info: str
    python_info: str

    def memory(self) -> int:
        """Return the memory in MB, from the plugin's field or the seed's misspelt one. Raises InvalidInput."""
        value = self.ram_total if self.ram_total is not None else self.ram_tota
        if value is None:
            raise InvalidInput.at("$.ram_total", "this field is required")
        return value


class Context(msgspec.Struct, frozen=True):
    """A stored context. `h` and `context_h` are equal, because each of two clients reads a different one."""

    h: str
    context_h: str
    cpu_count: int
    cpu_frequency: float
    cpu_type: str
    cpu_vendor: str
    ram_total: int
    machine_node: str
    machine_type: str
    machine_arch: str
    system_info: str
    python_info: str


ENVIRONMENT_FIELDS = (
    "cpu_count",
    "cpu_type",
    "cpu_vendor",
    "ram_total",
    "machine_node",
    "machine_type",
    "machine_arch",
    "system_info",
    "python_info",
)
"""The fields that describe an environment: a machine with a Python; `verdict.place` decides which are the same.

`cpu_frequency` is not among them. The plugin sends its momentary value, so on many machines each session has its own
context.
"""


class Place(msgspec.Struct, frozen=True):
    """The machine and the Python of a measure, with the rule that decided it, and its reason.

    `doubt` says why it may be several machines; null if it is certainly one. `host` is the name under which the machine
    reports its load, null if it is not known.
    """

    name: str
    rule: Literal["tag", "host_name", "address", "hardware", "unknown"]
    python: str
    explanation: str
    doubt: str | None
    host: str | None


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """One pytest process. `description` is an object of tags from the plugin, and a text in the seed.

    `started_at` is the moment that `run_date` means. It is sent for sessions from files, which are not recent; without
    it, the zone of `run_date` is derived from the time of arrival.
    """

    session_h: Hash
    run_date: str
    scm_ref: str | None
    description: dict[str, Any] | str
    started_at: Moment | None = None


class SessionChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a stored session: tags to set, or to remove where the value is null, and another commit."""

    tags: dict[TagName, TagValue | None] = {}
    scm_ref: TagValue | None = None


class Tag(msgspec.Struct, frozen=True):
    """A tag of a session."""

    name: str
    value: str


class Session(msgspec.Struct, frozen=True):
    """A stored session."""

    session_h: str
    run_date: str
    scm_ref: str
    tags: list[Tag]


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a test: where and when it ran, and which test it was."""

    session_h: Hash
    context_h: Hash
    item_start_time: str
    item_path: str
    item: str
    item_variant: str
    item_fs_loc: str
    kind: str
    component: str | None


class NewMetric(Execution, frozen=True, kw_only=True):
    """The time that one execution of a test took, and the resources that it used."""

    total_time: float
    user_time: float
    kernel_time: float
    cpu_usage: float
    mem_usage: float


class ImportedMetric(Execution, frozen=True, kw_only=True):
    """A metric from a file; a measure that the file does not have is null.

    `started_at` is the moment that `item_start_time` means; without it, a time without a zone is in the zone of the
    service's machine.
    """

    total_time: float | None
    user_time: float | None
    kernel_time: float | None
    cpu_usage: float | None
    mem_usage: float | None
    started_at: Moment | None = None


class Metric(msgspec.Struct, frozen=True):
    """A stored metric; a measure is null if it was imported from a file that does not have it."""

    session_h: str
    context_h: str
    item_start_time: str
    item_path: str
    item: str
    item_variant: str
    item_fs_loc: str
    kind: str
    component: str
    total_time: float | None
    user_time: float | None
    kernel_time: float | None
    cpu_usage: float | None
    mem_usage: float | None


class MetricFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A selection of metrics: those that match all fields that are not None."""

    session_h: str | None = None
    sessions: tuple[str, ...] | None = None
    context_h: str | None = None
    item: str | None = None
    item_like: str | None = None
    variant: str | None = None
    variant_like: str | None = None
    component: str | None = None
    kind: str | None = None
    scm_prefix: str | None = None
    pipeline: str | None = None
    build: str | None = None


class SessionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A selection of sessions. `tags` are pairs of name and value; an empty value matches any non-empty value."""

    prefix: str | None = None
    scm_prefix: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    match_any: bool = True


ItemKey = tuple[str, str, str, str, str, str]
"""item_path, item, item_variant, item_fs_loc, kind, component: the key of a test."""


class MetricRow(msgspec.Struct, frozen=True, gc=False):
    """A metric as it is written; `started_at` is in seconds since 1970."""

    session_h: str
    context_h: str
    item: ItemKey
    item_start_time: str
    started_at: float
    total_time: float | None
    user_time: float | None
    kernel_time: float | None
    cpu_usage: float | None
    mem_usage: float | None


def item_id(key: ItemKey) -> uuid.UUID:
    """Return the id of a test: a digest of its key, so that all services compute the same one."""
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=16, person=b"smartmob-item")
    return uuid.UUID(bytes=digest.digest())


def metric_row(metric: NewMetric | ImportedMetric, received_at: float | None) -> MetricRow:
    """Return the row to write for `metric` (see `local_to_utc` for `received_at`). Raises InvalidInput."""
    component = metric.component or ""
    moment = metric.started_at if isinstance(metric, ImportedMetric) else None
    if moment is not None:
        began = moment_to_utc("$.item_start_time", metric.item_start_time, moment)
    else:
        began = local_to_utc("$.item_start_time", metric.item_start_time, metric.total_time or 0.0, received_at)
    return MetricRow(
        session_h=metric.session_h,
        context_h=metric.context_h,
        item=(metric.item_path, metric.item, metric.item_variant, metric.item_fs_loc, metric.kind, component),
        item_start_time=metric.item_start_time,
        started_at=began,
        total_time=metric.total_time,
        user_time=metric.user_time,
        kernel_time=metric.kernel_time,
        cpu_usage=metric.cpu_usage,
        mem_usage=metric.mem_usage,
    )


class ExecutedTest(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a test on the timeline; `total_time` is in seconds, null if unknown."""

    session_h: str
    started_at: datetime
    item_path: str
    item: str
    item_variant: str
    total_time: float | None


class RunSession(msgspec.Struct, frozen=True):
    """A session of a run, with the number of its metrics and the sum of their `total_time` in seconds.

    Unknown times are not counted; the sum is null if all are.
    """

    session_h: str
    run_date: str
    metrics: int
    total_time: float | None


class Run(msgspec.Struct, frozen=True):
    """The sessions of one test run. `id` is its tag `run`, or the hash of its first session.

    `clock` says why the run is ordered by its arrival, null if it is ordered by its sender's time. In the answer for a
    single run, `unlinked` says why no machine that reported its load is linked to it, and how to link one; null if one
    is linked.
    """

    id: str
    started_at: datetime
    ended_at: datetime
    scm_ref: str
    tags: list[Tag]
    nodes: list[str]
    contexts: list[str]
    sessions: list[RunSession]
    metrics: int
    total_time: float | None
    places: list[Place]
    clock: str | None
    unlinked: str | None = None
