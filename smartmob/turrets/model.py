"""The data of load tests ("runs"): their configuration, state, turrets, statistics and live frames. No I/O.

Durations are in seconds, times are aware UTC times, `cpu` and `busiest` are shares of one core (0.66 means 66 %).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from smartmob.turrets.names import ALL_TRANSACTIONS, INVISIBLE
from smartmob.turrets.protocol import ArrivalRate, Report

__all__ = ["ALL_TRANSACTIONS"]

SUMMARY_VERSION = 2
"""The version of new summaries. In version 1, the durations of a timer are those of successes and failures."""

STATES = ("waiting", "running", "draining", "finished", "failed", "stopped")
ENDED = ("finished", "failed", "stopped")

PERCENTILES = (50.0, 75.0, 80.0, 90.0, 95.0, 99.0, 99.9, 99.99)

MOST_CONDITIONS = 100
"""Conditions of a run."""

ABORTED = "aborted by the condition "
"""The beginning of the reason of a run that a condition of its project has stopped."""

State = Literal["waiting", "running", "draining", "finished", "failed", "stopped"]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=366 * 86_400)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class TurretConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One turret of a project; further keys go to its script. `canons` is the protocol's own spelling of `cannons`."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    script: str = ""
    cannons: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None
    canons: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None
    rampup: Seconds = 0.0


class ConditionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition that a run must not meet, such as `p99>200ms`.

    With `abort`, the run is stopped as soon as it is met, but not in the first `abort_after` seconds.
    """

    condition: Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
    abort: bool = False
    abort_after: Annotated[float, msgspec.Meta(ge=0, le=31 * 86_400)] = 0.0


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of a project (its `config.json`), with the keys of OCT; unknown keys are stored, too.

    `warm_up`: seconds after the start that the statistics leave out. `total_rate`: transactions that
    all turrets together start per second, in equal shares, in place of their own rates.
    """

    run_time: Annotated[float, msgspec.Meta(gt=0, le=31 * 86_400)]
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    results_ts_interval: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 10.0
    min_turrets: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    turrets: list[TurretConfig | str] = []
    progress_bar: bool = True
    console_logging: bool = False
    testing: bool = False
    publish_port: Port | None = None
    rc_port: Port | None = None
    turrets_requirements: list[str] = []
    extra_turret_config: dict[str, Any] = {}
    results: Literal["slices", "raw"] = "slices"
    transaction_context: dict[str, Any] = {}
    wait: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None
    warm_up: Seconds = 0.0
    total_rate: ArrivalRate | None = None
    fail_if: Annotated[list[ConditionConfig | str], msgspec.Meta(max_length=MOST_CONDITIONS)] = []


def visible_name(given: str, created_at: datetime) -> str:
    """Return the name under which a run is shown: the given one if it is visible, otherwise one from its creation."""
    if any(char.isprintable() and not char.isspace() and char not in INVISIBLE for char in given):
        return given
    return f"Load test {created_at:%Y-%m-%d %H:%M:%S} UTC"


class Absence(msgspec.Struct, frozen=True):
    """A span in which a turret was silent; while `until` is null, it has not come back."""

    since: datetime
    until: datetime | None = None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A turret in a run. `lost` lists the spans in which it was silent; `report` is the last one of a smartmob turret.

    `busiest` and `lag` are the highest reported values: cores used by its busiest process, and seconds for which its
    event loop delayed a due call. `received` of its `expected` numbered messages are stored. `twice` means that two
    turrets use its uuid.
    """

    uuid: str
    name: str
    script: str
    cannons: int | None
    rampup: float | None
    status: str
    status_at: datetime
    first_seen: datetime
    ours: bool
    alive: bool = True
    lost: list[Absence] = []
    twice: bool = False
    expected: int | None = None
    received: int = 0
    busiest: float = 0.0
    lag: float = 0.0
    report: Report | None = None


class Counters(msgspec.Struct, kw_only=True):
    """The counts of irregular messages in a run.

    `malformed`: messages that could not be read; `stale`: results of an earlier run; `again`: repeated numbered
    messages; `dropped`: results that could not be stored; `restarts`: restarts of the headquarters during the run.
    `clock_offset`: the largest difference of a turret's clock from that of the headquarters in seconds, negative if it
    is behind, as far as results show this.
    """

    malformed: int = 0
    stale: int = 0
    again: int = 0
    dropped: int = 0
    restarts: int = 0
    clock_offset: float = 0.0


class Doubt(msgspec.Struct, frozen=True):
    """A reason not to trust the statistics of a run; `level` is `warning` or `bad`."""

    level: Literal["warning", "bad"]
    what: str


class ImportSource(msgspec.Struct, frozen=True):
    """The origin of a run that another tool fired: the format and the name of its file, and a digest of its content.

    `notes` are statements of the file about its validity; `doubts` are reasons why its rates may be wrong. `aggregated`
    files have statistics instead of samples. `users` is the number of users over time, if known, as pairs of seconds
    after the start and users.
    """

    format: str
    file: str
    digest: str
    notes: list[str] = []
    aggregated: bool = False
    users: list[tuple[float, int]] = []
    doubts: list[Doubt] = []


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A load test. It fires from `started_at` to `ceased_at` and ends at `ended_at`; `reason` says why it failed.

    `name` is that of its configuration, or the time of its creation if that has none. `source` is null for a run of
    this service, and the origin of a run that was imported.
    """

    id: str
    name: str
    state: State
    reason: str | None
    created_at: datetime
    started_at: datetime | None
    ceased_at: datetime | None
    ended_at: datetime | None
    run_time: float
    min_turrets: int
    results: str
    transactions: int
    errors: int
    counters: Counters
    package: bool
    summary: str
    report: str
    live: str
    source: ImportSource | None = None


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The load that a run is to put on its target, as sentences in `words`.

    In an open `model`, transactions start at a planned rate; in a closed one, when the previous transaction of the same
    cannon is over. `rates` are the corners of the line of the planned rate: seconds after the start, and per second.
    """

    model: Literal["open", "closed", "mixed", "unknown"]
    words: list[str]
    rates: list[tuple[float, float]] = []


class RunDetails(Run, frozen=True, kw_only=True):
    """A load test with its turrets, its load plan, and its configuration as it was received."""

    turrets: list[Member]
    config: dict[str, Any]
    plan: LoadPlan


class RunList(msgspec.Struct, frozen=True, omit_defaults=True):
    """Load tests, newest first."""

    runs: list[Run]
    next_url: str | None = None


class FailedStats(msgspec.Struct, frozen=True, kw_only=True):
    """The durations of the `count` failures of a timer that have one; `untimed` failures have none."""

    count: int
    untimed: int
    min: float | None
    avg: float | None
    percentiles: dict[str, float]
    max: float | None
    stdev: float | None


class TimerStats(msgspec.Struct, frozen=True, kw_only=True):
    """The statistics of one timer: `count` values, of which `errors` failed, and `rate` values a second.

    The durations are those of the `samples` successes; those of failures are in `failed`. `mixed` failures are
    nevertheless counted among the successes, because their turret, or the version that stored them, does not separate
    them. `late` counts late starts, whose delay is part of their latency.
    """

    count: int
    errors: int
    rate: float
    min: float | None
    avg: float | None
    percentiles: dict[str, float]
    max: float | None
    stdev: float | None
    late: int = 0
    samples: int = 0
    mixed: int = 0
    failed: FailedStats | None = None


class RunPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The transactions of a time step that begins `at` seconds after the start; latencies are in seconds.

    `rate` counts all transactions, `error_rate` those that failed. The latencies are those of successes, and null
    without one; with `failed_` they are those of failures. `codes` counts the failures by code, or by kind without one.
    """

    at: float
    rate: float
    error_rate: float
    p50: float | None
    p95: float | None
    p99: float | None
    maximum: float | None
    failed_p50: float | None = None
    failed_p95: float | None = None
    failed_p99: float | None = None
    failed_maximum: float | None = None
    codes: dict[str, int] = {}


class RunTimeSeries(msgspec.Struct, frozen=True, kw_only=True):
    """The transactions of a run over time; steps without a transaction are left out.

    A point is for `step` seconds. `planned` is the line of the planned rate, and `warm_up` ends the seconds that the
    statistics leave out.
    """

    id: str
    started_at: datetime | None
    points: list[RunPoint]
    step: int = 1
    warm_up: float = 0.0
    planned: list[tuple[float, float]] = []


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """The statistics of one timer from `at` (seconds after the start) to the next interval."""

    at: float
    stats: TimerStats = msgspec.field(name="figures")


class ErrorText(msgspec.Struct, frozen=True):
    """The count of errors with the same text, kind (the class of the exception) and code (such as an HTTP status)."""

    text: str
    count: int
    kind: str = ""
    code: str = ""


class ConditionResult(msgspec.Struct, frozen=True, kw_only=True):
    """A condition of a run: `text` says in one line how the measured `value` compares with its `limit`.

    `left` is the distance to the limit as a share of it, negative beyond it. `unit` is `s` for a time, `share` (1 is
    100 %) or empty for a number; `samples` is the number of values behind the statistic. While the run fires, `open`
    means that it is not decided yet.
    """

    condition: str
    state: Literal["passed", "failed", "open"]
    text: str
    value: float | None = None
    limit: float | None = None
    unit: Literal["s", "share", ""] = ""
    left: float | None = None
    samples: int = 0
    abort: bool = False
    aborted: bool = False


class MachineLoad(msgspec.Struct, frozen=True):
    """The load of a machine while the run fired: its processors in percent, on average and at most.

    `fired` means that a turret of the run ran on it, as far as turrets report the names of their machines.
    """

    host: str
    cpu_avg: float
    cpu_max: float
    fired: bool = False


class Trust(msgspec.Struct, frozen=True):
    """The verdict whether a run can be trusted: `yes`, `with care` or `no`, with the reasons against it.

    It is `not yet` until the run has ended. `facts` are sentences about the data behind the verdict.
    """

    verdict: Literal["yes", "with care", "no", "not yet"]
    doubts: list[Doubt]
    facts: list[str] = []


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The statistics of a run. `duration` is for how many seconds it fired, `rate` the transactions per second.

    The first `warm_up` seconds are left out of all statistics. `error_texts` are the errors of transactions, the most
    frequent first, and `timer_errors` those of each timer that failed; `other_error_texts` further texts have
    `other_errors` errors. `sent` and `received` are the bytes of HTTP that turrets of smartmob count; `source` is
    the origin of an imported run. `version` grows when
    the meaning of a statistic changes; a stored summary of an earlier version is computed again.
    """

    id: str
    name: str
    state: State
    reason: str | None
    started_at: datetime | None
    ended_at: datetime | None
    duration: float
    interval: float
    transactions: int
    errors: int
    rate: float
    timers: dict[str, TimerStats]
    intervals: dict[str, list[Interval]]
    error_texts: list[ErrorText]
    turrets: list[Member]
    counters: Counters
    trust: Trust
    machines: list[MachineLoad] = []
    timer_errors: dict[str, list[ErrorText]] = {}
    sent: int = 0
    received: int = 0
    source: ImportSource | None = None
    conditions: list[ConditionResult] = []
    version: int = 1
    plan: LoadPlan | None = None
    warm_up: float = 0.0
    other_error_texts: int = 0
    other_errors: int = 0


class LiveTurret(msgspec.Struct, frozen=True, kw_only=True):
    """A turret in a live frame."""

    uuid: str
    name: str
    status: str
    alive: bool
    cannons: int | None
    users: int | None
    busiest: float | None
    lag: float | None


class LiveTimer(msgspec.Struct, frozen=True, kw_only=True):
    """A timer in the last complete second; `total` and `total_errors` are its counts since the start.

    The percentiles and the maximum are those of successes, `failed_percentiles` those of failures.
    """

    total: int
    count: int
    errors: int
    percentiles: dict[str, float]
    max: float | None
    total_errors: int = 0
    failed_percentiles: dict[str, float] = {}


class LiveFrame(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a run, once a second: `elapsed` since its start, `rate` and `error_rate` of the last second.

    `second` is that second, counted from the start; `codes` counts its failures by code, or by kind without one.
    `other_timers` is the number of timers left out.
    """

    id: str
    state: State
    reason: str | None
    elapsed: float
    run_time: float
    min_turrets: int
    transactions: int
    errors: int
    rate: int
    error_rate: int
    second: int = 0
    timers: dict[str, LiveTimer]
    turrets: list[LiveTurret]
    counters: Counters
    other_timers: int = 0
    codes: dict[str, int] = {}
    conditions: list[ConditionResult] = []


class HeadquartersPorts(msgspec.Struct, frozen=True):
    """The address and ports of the headquarters: for orders, for results, and for republished results."""

    host: str
    publish_port: int
    rc_port: int
    external_port: int


class TurretList(msgspec.Struct, frozen=True):
    """The headquarters, or null if the service is not one, and the turrets that it heard lately."""

    headquarters: HeadquartersPorts | None
    turrets: list[Member]
