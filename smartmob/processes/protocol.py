"""The messages of the process runner (seed 002): requests, statuses, and the frames of an attached console. No I/O."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec

from smartmob.errors import InvalidInput
from smartmob.kernel.http.ws_frames import SHORT_HEADS, text_head
from smartmob.kernel.subprocesses import variables
from smartmob.processes.model import (
    PENDING,
    STOPPED,
    STOPPING,
    CheckState,
    Condition,
    Enforcement,
    HealthCheck,
    Limits,
    ProcessEvent,
    ProcessSnapshot,
    RestartPolicy,
)

LONGEST_LINE = 1024 * 1024
"""Bytes; a longer line is delivered in several frames."""

NOTE = b"[smartmob] "
"""The beginning of each line about the process itself, and of the line with the number of skipped lines."""

# The sources of a line on the console. With `marks`, its number is the first character of each frame; the streams have
# those of their file descriptors (POSIX.1-2017, XBD 3.379 and 3.374).
STDOUT = 1
"""The number of standard output."""
STDERR = 2
"""The number of standard error."""
NOTES = 3
"""The number of the lines about the process itself."""
STREAMS = {"stdout": STDOUT, "stderr": STDERR, "all": None}

LONGEST_GRACE = 3600.0
"""Seconds between SIGTERM and SIGKILL."""

LONGEST_LEASE = 86_400.0
"""Seconds."""

LONGEST_COMMAND = 64 * 1024
"""Characters, as for a line of a Procfile."""

NEW_SECONDS = 1.0
"""Seconds for which the listing of smartmob-agent names a created process `pending`, as seed 002 prints it."""
# A name is part of a URL path and is shown to people: no separators, no controls, no bidirectional overrides.
_NOT_IN_A_NAME = re.compile(r"[/\\{}\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_MOST_CONTINUATIONS = 3  # bytes of a UTF-8 character after which its last one follows (RFC 3629, section 3)
_HIDDEN = "***"
_SHOWN_NAME = re.compile(r"[A-Za-z0-9_.\[\]%-]{1,64}")

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100, description="Without slashes, braces and controls.")]


class CreateRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A process to create (seed 002); `grace` and all fields after it are additions.

    `grace` is the number of seconds between SIGTERM and SIGKILL, `restart` says when an ended program is started again,
    and `command` is run instead of the line of the Procfile. `restart`, `readiness`, `liveness` and `depends_on`
    replace the values in smartmob.toml of the source. A limit that is null is that of the settings. A program with a
    `lease` is deleted when it is not renewed for that number of seconds. Unknown fields are refused, because a misspelt
    field would be lost silently.
    """

    app: _Name
    node: _Name
    process_type: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    source_url: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]
    env: dict[str, str] = {}
    grace: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_GRACE)] | None = None
    restart: RestartPolicy | None = None
    command: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_COMMAND)] | None = None
    readiness: HealthCheck | None = None
    liveness: HealthCheck | None = None
    depends_on: Annotated[dict[_Name, Condition], msgspec.Meta(max_length=100)] | None = None
    limits: Limits = Limits()
    lease: Annotated[float, msgspec.Meta(ge=1, le=LONGEST_LEASE)] | None = None

    @property
    def slug(self) -> str:
        """Return the unique name of the process."""
        return f"{self.app}.{self.node}"


class SignalRequest(msgspec.Struct, frozen=True):
    """A signal to send: its name (`HUP` or `SIGHUP`) or number."""

    signal: str | int


class Empty(msgspec.Struct, frozen=True):
    """An empty document; in a request, any fields are accepted and ignored."""


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """The addresses that the root of the service names."""

    create: str
    list: str


class Download(msgspec.Struct, frozen=True):
    """The progress of a download, in bytes; `total` is null when the server does not tell it."""

    received: int
    total: int | None


class CheckStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A check of a process: its definition, and its state `starting`, `passing` or `failing`, null while nothing runs.

    `failures` is the number of failures in a row, `detail` the reason of the last one.
    """

    check: HealthCheck
    state: str | None
    failures: int
    detail: str | None


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process as smartmob-agent shows it in answers to create requests and in its listing (seed 002)."""

    app: str
    attach: str
    delete: str
    details: str
    slug: str
    state: str


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of a process. Addresses are absolute, times are ISO 8601 in UTC, `env` has only names of variables."""

    app: str
    node: str
    slug: str
    state: str
    attach: str
    status: str
    details: str
    delete: str
    restart: str
    stop: str
    signal: str
    renew: str
    process_type: str
    source_url: str
    digest: str | None
    created_at: datetime
    env: list[str]
    grace: float
    restart_policy: RestartPolicy
    command: str | None
    detail: str | None
    output: list[str]
    download: Download | None
    pid: int | None
    port: int | None
    started_at: datetime | None
    uptime: float | None
    restarts: int
    exit_status: int | None
    exit_signal: int | None
    next_try_at: datetime | None
    cpu_percent: float | None
    memory: int | None
    processes: int | None
    viewers: int
    ready: bool
    readiness: CheckStatus | None
    liveness: CheckStatus | None
    depends_on: dict[str, Condition]
    limits: Limits
    limits_enforced: dict[str, Enforcement]
    lease: float | None


class ProcessListing(msgspec.Struct, frozen=True):
    """All processes, as smartmob-agent shows them."""

    processes: list[Process]


class Statuses(msgspec.Struct, frozen=True):
    """The status of all processes."""

    processes: list[ProcessStatus]


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """A stored source archive: `source_url` is for create requests, `digest` is SHA-256, `size` is in bytes."""

    source_url: str
    digest: str
    size: int


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event in the life of a process."""

    slug: str
    at: datetime
    kind: str
    detail: dict[str, Any]


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """A page of events, oldest first; `next` is the value of `after` for the following page."""

    events: list[Event]
    next: str | None = None


class AttachQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The query of attach-console.

    `tail` is the number of kept lines to send first. With `events`, lines about the process itself are included.
    Without `follow`, the connection is closed after the kept lines. With `partial`, frames keep their line ends, and a
    line that is not complete yet comes in several frames, as it is written. `stream` is the only stream of the process
    that is sent. With `marks`, each frame begins with `1` for standard output, `2` for standard error, or `3` for a
    line about the process itself.
    """

    tail: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    events: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0
    follow: Annotated[int, msgspec.Meta(ge=0, le=1)] = 1
    partial: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0
    stream: Literal["all", "stdout", "stderr"] = "all"
    marks: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A filter of events: one process, a time range (ISO 8601), and the `next` of the page before."""

    slug: str | None = None
    since: str | None = None
    until: str | None = None
    after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 200


CREATE = msgspec.json.Decoder(CreateRequest)
SIGNAL = msgspec.json.Decoder(SignalRequest)


def check(request: CreateRequest) -> None:
    """Check what the types cannot express; raises InvalidInput."""
    for field, value in (("app", request.app), ("node", request.node)):
        if _NOT_IN_A_NAME.search(value):
            raise InvalidInput.at(
                f"$.{field}", "a name is part of an address: use no slash, brace or control character"
            )
    _check_source_url(request.source_url)
    variables.check(request.env, "$.env")
    if request.command is not None and ("\0" in request.command or not request.command.strip()):
        raise InvalidInput.at("$.command", "expected a command without zero bytes")


def _check_source_url(url: str) -> None:
    scheme = url.partition("://")[0].lower()
    if scheme not in ("http", "https"):
        raise InvalidInput.at("$.source_url", "expected an http:// or https:// address")
    if _is_shown(url):
        raise InvalidInput.at(
            "$.source_url",
            "this is the address as a status shows it, without its secrets; give the whole address, or /archives/ and "
            "the digest below the service's own address",
        )


def listed(process: ProcessSnapshot, base: str, now: datetime) -> Process:
    """Return the document of a process in the listing at the time `now`.

    Seed 002 lists a process right after its creation and prints `pending`, so a new process that no client has stopped
    is listed as `pending` for NEW_SECONDS, regardless of the progress of its preparation. Its status is exact from the
    beginning.
    """
    new = now - process.definition.created_at < timedelta(seconds=NEW_SECONDS)
    state = PENDING if new and process.state not in (STOPPING, STOPPED) else process.state
    return created(msgspec.structs.replace(process, state=state), base)


def created(process: ProcessSnapshot, base: str) -> Process:
    """Return the answer to a create request; `base` is the address under which the client knows the service."""
    full = status(process, base)
    return Process(**{name: getattr(full, name) for name in Process.__struct_fields__})


def status(process: ProcessSnapshot, base: str) -> ProcessStatus:
    """Return the status document of a process; `base` is the address under which the client knows the service."""
    definition, exit_status, sample = process.definition, process.last_status, process.sample
    slug = quote(definition.slug, safe="")
    details = f"{base}/process-status/{slug}"
    return ProcessStatus(
        app=definition.app,
        node=definition.node,
        slug=definition.slug,
        state=process.state,
        attach=f"ws{base.removeprefix('http')}/attach-console/{slug}",
        status=details,
        details=details,
        delete=f"{base}/delete-process/{slug}",
        restart=f"{base}/restart-process/{slug}",
        stop=f"{base}/stop-process/{slug}",
        signal=f"{base}/signal-process/{slug}",
        renew=f"{base}/renew-process/{slug}",
        process_type=definition.process_type,
        source_url=shown_address(definition.source_url),
        digest=definition.digest,
        created_at=definition.created_at,
        env=sorted(definition.env),
        grace=definition.grace,
        restart_policy=process.options.restart,
        command=definition.command,
        detail=process.detail or None,
        output=process.output,
        download=None if process.downloaded is None else Download(*process.downloaded),
        pid=process.pid,
        port=process.port,
        started_at=process.started_at,
        uptime=None if process.uptime is None else round(process.uptime, 3),
        restarts=process.restarts,
        exit_status=exit_status if exit_status is not None and exit_status >= 0 else None,
        exit_signal=-exit_status if exit_status is not None and exit_status < 0 else None,
        next_try_at=process.next_try_at,
        cpu_percent=None if sample is None else sample.cpu_percent,
        memory=None if sample is None else sample.memory,
        processes=None if sample is None else sample.processes,
        viewers=process.viewers,
        ready=process.ready,
        readiness=_check_status(process.readiness),
        liveness=_check_status(process.liveness),
        depends_on=process.options.depends_on,
        limits=definition.limits,
        limits_enforced=process.enforcement,
        lease=definition.lease,
    )


def _check_status(found: CheckState | None) -> CheckStatus | None:
    if found is None:
        return None
    check = msgspec.structs.replace(
        found.check, http=None if found.check.http is None else _shown_target(found.check.http)
    )
    return CheckStatus(check=check, state=found.state, failures=found.failures, detail=found.detail or None)


def event(process_event: ProcessEvent) -> Event:
    """Return the document of an event."""
    return Event(slug=process_event.slug, at=process_event.at, kind=process_event.kind, detail=process_event.detail)


def shown_address(url: str) -> str:
    """Return the address of a source without its secrets: user, password and the values of the query become `***`.

    The names in a query stay; a part without a name and a fragment become `***`, too.
    """
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        authority = f"{_HIDDEN}@{authority.rpartition('@')[2]}"
    plain, question_mark, query = f"{authority}{slash}{path}".partition("?")
    if question_mark:
        # A fragment follows the last value and is hidden with it.
        return f"{scheme}{separator}{plain.partition('#')[0]}?{'&'.join(map(_shown_part, query.split('&')))}"
    plain, hash_sign, _ = plain.partition("#")
    return f"{scheme}{separator}{plain}{'#' + _HIDDEN if hash_sign else ''}"


def _shown_target(text: str) -> str:
    """Return the target of an HTTP check without its secrets; it may be a path."""
    if not text.startswith("/"):
        return shown_address(text)
    return shown_address(f"http://x{text}").removeprefix("http://x")


def _is_shown(url: str) -> bool:
    """Return whether an address is a result of `shown_address` that hides something."""
    known = url.replace(_HIDDEN, "x")
    return _HIDDEN in url and shown_address(url) == url and shown_address(known) != known


def _shown_part(part: str) -> str:
    name, separator, _ = part.partition("=")
    return f"{name}={_HIDDEN}" if separator and _SHOWN_NAME.fullmatch(name) else _HIDDEN if part else ""


def encode_lines(block: bytes, prefix: bytes = b"") -> tuple[bytes, int]:
    """Return one text frame for each line of `block`, and the number of frames. Each begins with `prefix`.

    The last line of `block` has no line end. Bytes that are not UTF-8 are replaced by U+FFFD, a carriage return at the
    end of a line is removed, and a line of more than LONGEST_LINE bytes is split into several frames.
    """
    if not block.isascii():
        block = _valid(block)
    lines = block.replace(b"\r\n", b"\n").removesuffix(b"\r").split(b"\n") if b"\r" in block else block.split(b"\n")
    if prefix:
        lines = [prefix + line for line in lines]
    try:
        heads = [SHORT_HEADS[len(line)] for line in lines]
    except IndexError:
        lines = [piece for line in lines for piece in _pieces(line, prefix)]
        heads = [text_head(len(line)) for line in lines]
    parts = [b""] * (2 * len(lines))
    parts[0::2] = heads
    parts[1::2] = lines
    return b"".join(parts), len(lines)


def encode_pieces(block: bytes, prefix: bytes = b"") -> tuple[bytes, int]:
    """Return one text frame for each line of `block`, with its line end, and the number of frames.

    Each frame begins with `prefix`.

    The last piece may be a line without an end. Bytes that are not UTF-8 are replaced as by `encode_lines`; a carriage
    return stays.
    """
    lines = [piece for line in _LINE.findall(_valid(block)) for piece in _pieces(prefix + line, prefix)]
    return b"".join(part for line in lines for part in (text_head(len(line)), line)), len(lines)


def whole_characters(data: bytes) -> int:
    """Return the length of `data` without an incomplete UTF-8 character at its end."""
    for back in range(1, min(_MOST_CONTINUATIONS, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            size = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return len(data) - back if size > back else len(data)
    return len(data)


def _pieces(line: bytes, prefix: bytes) -> list[bytes]:
    """Split a line of UTF-8 into pieces of at most LONGEST_LINE bytes, between characters.

    The first one begins as `line`, each further one with `prefix`.
    """
    pieces = []
    while len(line) > LONGEST_LINE:
        cut = LONGEST_LINE
        while line[cut] & 0xC0 == 0x80:
            cut -= 1
        pieces.append(line[:cut])
        line = prefix + line[cut:]
    return [*pieces, line]


def _valid(block: bytes) -> bytes:
    """Return the block with bytes that are not UTF-8 replaced, line by line."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return b"\n".join(line.decode(errors="replace").encode() for line in block.split(b"\n"))
    return block
