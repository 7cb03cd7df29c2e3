"""Data about processes: definitions, states, events, samples and snapshots."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from smartmob.processes.health import targets

# The states of a process; it is in exactly one of them. smartmob-agent (seed 002) names nine of them; the others are
# ours. docs/reference/process-runner.md explains each.
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
WAITING = "waiting"
DEPENDENCY_FAILURE = "dependency failure"
START_FAILURE = "start failure"
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
        DEPENDENCY_FAILURE,
        START_FAILURE,
    }
)
# The cases in which a program that has ended by itself is started again.
ALWAYS: Final = "always"
ON_FAILURE: Final = "on-failure"  # unless its exit status was 0
NEVER: Final = "never"
RestartPolicy: TypeAlias = Literal["always", "on-failure", "never"]

STATES = (*sorted(PREPARING), *sorted(FAILURES), WAITING, RUNNING, BACKOFF, STOPPING, STOPPED)

# The conditions for which a process waits before it is started.
STARTED: Final = "started"
READY: Final = "ready"
COMPLETED: Final = "completed"  # ended by itself with exit status 0, and not started again
Condition: TypeAlias = Literal["started", "ready", "completed"]

# The kinds of checks, and the states of a check.
READINESS = "readiness"
LIVENESS = "liveness"
STARTING = "starting"
PASSING = "passing"
FAILING = "failing"

_LONGEST_TARGET = 4_096  # characters
_Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=3600)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=_LONGEST_TARGET)]


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A health check of a running program: exactly one of `http`, `tcp` and `command`; times are in seconds.

    `http` is a path of the program's own port or an address, `tcp` a port or `HOST:PORT`, `command` a command as in a
    Procfile. The defaults are those of Kubernetes (Probe v1), except `timeout`, because a machine under test is busy.
    Raises ValueError for a combination that is not possible.
    """

    http: _Text | None = None
    tcp: int | _Text | None = None
    command: _Text | None = None
    initial_delay: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    interval: _Seconds = 10.0
    timeout: _Seconds = 5.0
    success_threshold: _Count = 1
    failure_threshold: _Count = 3

    def __post_init__(self) -> None:
        """Check what the types cannot express; raises ValueError."""
        if sum(each is not None for each in (self.http, self.tcp, self.command)) != 1:
            raise ValueError("expected exactly one of http, tcp and command")
        if self.http is not None:
            targets.url(self.http, "1")
        if self.tcp is not None:
            targets.address(self.tcp, "1")
        if self.command is not None and ("\0" in self.command or not self.command.strip()):
            raise ValueError("command: expected a command without zero bytes")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The rules by which a process is started and supervised, from the request and from the file of its source."""

    restart: RestartPolicy = ALWAYS
    readiness: HealthCheck | None = None
    liveness: HealthCheck | None = None
    depends_on: dict[str, Condition] = {}


_MIB = 1024 * 1024  # bytes


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of a program with all its descendants; None means no limit.

    `memory` is in bytes, `cpu` in processors (0.5 is half of one), `tasks` counts processes and their threads.
    """

    memory: Annotated[int, msgspec.Meta(ge=_MIB, le=1 << 50)] | None = None
    cpu: Annotated[float, msgspec.Meta(ge=0.01, le=1024)] | None = None
    tasks: Annotated[int, msgspec.Meta(ge=1, le=4_194_304)] | None = None  # the most that Linux has, PID_MAX_LIMIT


CGROUP: Final = "cgroup"  # by the kernel
SAMPLING: Final = "sampling"  # each sample is compared with the limits: a program above a limit is killed
NOT_ENFORCED: Final = "none"
Enforcement: TypeAlias = Literal["cgroup", "sampling", "none"]
"""The means that hold a program to a limit."""


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A process as a client asked for it, and whether it should run.

    `slug` is `app.node`. `grace` is the number of seconds between SIGTERM and SIGKILL. `digest` is the SHA-256 of the
    source archive, or None before the first download; with it a stored archive is found without another download.
    `wanted` is whether the process should run. `command`, unless None, is run instead of the line of the Procfile.
    `restart`, `readiness`, `liveness` and `depends_on` are those of `Options`, or None for the values in the file of
    the source. `completed` is whether the program has ended by itself with exit status 0 and is not started again.
    `limits` are those of the program with all its descendants. `lease` is the number of seconds after which the program
    is deleted when no client renews it, or None.
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
    restart: RestartPolicy | None = None
    command: str | None = None
    readiness: HealthCheck | None = None
    liveness: HealthCheck | None = None
    depends_on: dict[str, Condition] | None = None
    completed: bool = False
    limits: Limits = Limits()
    lease: float | None = None


class ProcessEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event in the life of a process, as the timeline shows it.

    `kind` is created, waiting, started, restarted, ready, "not ready", unhealthy, exited, backoff, failed, stopping,
    stopped or deleted. `detail` has `text`, a sentence for people, and for some kinds `pid`, `port` or `status`.
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


class PreparedProcess(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a preparation: the data needed to start a process."""

    argv: list[str]
    env: dict[str, str]
    folder: str
    port: int
    digest: str
    options: Options = Options()


class CheckState(msgspec.Struct, frozen=True, kw_only=True):
    """A check and its state: STARTING, PASSING or FAILING, None while the program does not run.

    `failures` is the number of failures in a row, `detail` the reason of the last one, "" after a success.
    """

    check: HealthCheck
    state: str | None
    failures: int = 0
    detail: str = ""


class ProcessSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A process at one moment.

    `downloaded` is (bytes received, bytes in total or None) during a download, else None. `uptime` is in seconds.
    `last_status` is the exit status of the last program that ended, or the negative number of the signal. `ready` is
    whether the program runs and its readiness check, if there is one, passes. `enforcement` has the means that enforce
    each limit of the program, by the names of the limits.
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
    options: Options = Options()
    ready: bool = False
    readiness: CheckState | None = None
    liveness: CheckState | None = None
    enforcement: dict[str, Enforcement] = {}
