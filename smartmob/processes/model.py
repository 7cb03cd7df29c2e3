"""Data about processes: definitions, states, events, samples and snapshots."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

# The states of a process; it is in exactly one of them. smartmob-agent (seed 002) names nine of them; "unpack failure",
# "running", "backoff", "stopping" and "stopped" are ours. docs/reference/process-runner.md explains each.
PENDING = "pending"
DOWNLOADING = "downloading"
DOWNLOAD_FAILURE = "download failure"
UNPACKING = "unpacking"
UNPACK_FAILURE = "unpack failure"
PROCESSING = "processing"
NO_PROCFILE = "no procfile"
UNKNOWN_PROCESS_TYPE = "unknown process type"
VIRTUAL_ENVIRONMENT_FAILURE = "virtual environment failure"
PIP_INSTALL_FAILURE = "pip install failure"
RUNNING = "running"
BACKOFF = "backoff"
STOPPING = "stopping"
STOPPED = "stopped"

PREPARING = frozenset({PENDING, DOWNLOADING, UNPACKING, PROCESSING})
FAILURES = frozenset(
    {
        DOWNLOAD_FAILURE,
        UNPACK_FAILURE,
        NO_PROCFILE,
        UNKNOWN_PROCESS_TYPE,
        VIRTUAL_ENVIRONMENT_FAILURE,
        PIP_INSTALL_FAILURE,
    }
)
# When a program that has ended by itself is started again.
ALWAYS: Final = "always"
ON_FAILURE: Final = "on-failure"  # unless its exit status was 0
NEVER: Final = "never"
RestartPolicy: TypeAlias = Literal["always", "on-failure", "never"]

STATES = (*sorted(PREPARING), *sorted(FAILURES), RUNNING, BACKOFF, STOPPING, STOPPED)


_MIB = 1024 * 1024  # bytes


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of a program with all its descendants; None means no limit.

    `memory` is in bytes, `cpu` in processors (0.5 is half of one), `tasks` counts processes and their threads.
    """

    memory: Annotated[int, msgspec.Meta(ge=_MIB, le=1 << 50)] | None = None
    cpu: Annotated[float, msgspec.Meta(ge=0.01, le=1024)] | None = None
    tasks: Annotated[int, msgspec.Meta(ge=1, le=4_194_304)] | None = None  # the most that Linux has, PID_MAX_LIMIT


CGROUP: Final = "cgroup"  # by the kernel
SAMPLING: Final = "sampling"  # compared with each sample: a program above its limit is killed
NOT_ENFORCED: Final = "none"
Enforcement: TypeAlias = Literal["cgroup", "sampling", "none"]
"""What holds a program to a limit."""


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A process as a client asked for it, and whether it should run.

    `slug` is `app.node`. `grace` is the number of seconds between SIGTERM and SIGKILL. `digest` is the SHA-256 of the
    source archive, or None before the first download; with it a stored archive is found without another download.
    `wanted` is whether the process should run. `restart` is when a program that has ended is started again. `command`
    is run in place of the line of the Procfile, unless it is None. `limits` are those of the program with all its
    descendants.
    """

    slug: str
    app: str
    node: str
    process_type: str
    source_url: str
    env: dict[str, str]
    grace: float
    created_at: datetime
    request_id: str = ""
    digest: str | None = None
    wanted: bool = True
    restart: RestartPolicy = ALWAYS
    command: str | None = None
    limits: Limits = Limits()


class ProcessEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event in the life of a process, as the timeline shows it.

    `kind` is created, started, restarted, exited, backoff, failed, stopping, stopped or deleted. `detail` has `text`,
    a sentence for people, and for some kinds `pid`, `port` or `status`.
    """

    slug: str
    at: datetime
    kind: str
    detail: dict[str, Any] = {}


class Sample(msgspec.Struct, frozen=True):
    """The resource use of a process and all its descendants.

    `cpu_percent` is the average since the sample before, in percent of one core; `memory` is in bytes; `processes`
    is the number of processes in the tree, `tasks` that of their threads.
    """

    cpu_percent: float
    memory: int
    processes: int
    tasks: int = 0


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a preparation: everything that is needed to start a process."""

    argv: list[str]
    env: dict[str, str]
    folder: str
    port: int
    digest: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A process at one moment.

    `downloaded` is (bytes received, bytes in total or None) during a download, else None. `uptime` is in seconds.
    `last_status` is the exit status of the last program that ended, or the negative number of the signal.
    `enforcement` is what holds the program to its limits, by their names.
    """

    definition: Definition
    state: str
    detail: str
    output: list[str]
    downloaded: tuple[int, int | None] | None
    pid: int | None
    port: int | None
    started_at: datetime | None
    uptime: float | None
    restarts: int
    last_status: int | None
    next_try_at: datetime | None
    sample: Sample | None
    viewers: int
    enforcement: dict[str, Enforcement] = {}
