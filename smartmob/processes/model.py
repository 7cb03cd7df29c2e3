"""What the feature knows of a process: how it was asked for, what is wanted of it, and what happened."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

# The states of seed 002's upstream, in its words, and ours. A process is in exactly one of them.
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
STATES = (*sorted(PREPARING), *sorted(FAILURES), RUNNING, BACKOFF, STOPPING, STOPPED)


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A process as it was asked for.

    `slug` is `app.node`. `grace` is how many seconds it gets to end after SIGTERM. `digest` is the SHA-256 of the
    source archive once that is known, so that it need not be fetched again. `wanted` is whether it should run.
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


class ProcessEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a process, for the timeline.

    `kind` is created, started, restarted, exited, backoff, failed, stopping, stopped or deleted; `detail` says more.
    """

    slug: str
    at: datetime
    kind: str
    detail: dict[str, Any] = {}


class Sample(msgspec.Struct, frozen=True):
    """What a process with all its descendants uses: percent of one core since the sample before, and bytes."""

    cpu_percent: float
    memory: int
    processes: int


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is needed to start a process."""

    argv: list[str]
    env: dict[str, str]
    folder: str
    port: int
    digest: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A process at one moment. `downloaded` is (bytes, bytes in all or None) while a download is under way."""

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
