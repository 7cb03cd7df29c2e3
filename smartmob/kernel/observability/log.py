"""Structured logging. No other module configures it.

An event has a fixed name (`bind`, `http.access`, `stop`, `process.exited`) and fields. All events go to the logging
endpoint. Warnings and errors go to standard error as well, and only there if the endpoint is a standard stream itself
(seed: "Errors and warnings are sent to stderr").
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import select
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec
import orjson
import structlog

from smartmob.errors import SettingsError
from smartmob.kernel.observability.event_logger import DESTINATION
from smartmob.kernel.runtime import clock

T = TypeVar("T")

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being handled; every log line of its handler contains it."""

_STANDARD_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_MAX_REMEMBERED_PATHS = 256  # rendered paths of requests
_CHECK_SECONDS = 1.0
_FLUENT_PORT = 24224  # the default port of fluentd's forward input
_MAX_QUEUED_EVENTS = 10_000  # for a fluentd that is not reachable; the oldest are dropped
_ORDER = ("@timestamp", "level", "event")

FinishedRequest = tuple[str, str, int, float, str]
"""Method, path, status, duration in seconds, request id."""

Rendering = Callable[[Mapping[str, Any]], str]
"""Returns an event as a line; an empty one is not written."""

AccessLog = Callable[[list[FinishedRequest]], None]
"""Writes finished requests to the log."""


class LogSink(Protocol):
    """The destination of log events."""

    def write(self, event: MutableMapping[str, Any]) -> None:
        """Write one event; must return at once and never raise."""

    def close(self) -> None:
        """Write all buffered events and release the destination."""


def timestamp(utc: bool) -> Callable[[], str]:
    """Return a function that returns the present time for a log line (ISO 8601 with milliseconds and offset)."""
    second, text, suffix = -1, "", ""

    def stamp() -> str:
        nonlocal second, text, suffix
        moment = clock.epoch()
        whole = int(moment)
        if whole != second:
            aware = datetime.fromtimestamp(whole, UTC)
            formatted = (aware if utc else clock.local(aware)).isoformat()
            second, text, suffix = whole, formatted[:19], "Z" if utc else formatted[19:]
        return f"{text}.{int((moment - whole) * 1000):03d}{suffix}"

    return stamp


def render_json(event: Mapping[str, Any]) -> str:
    """Return `event` as one JSON object."""
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        # orjson refuses texts that are not UTF-8 (file names) and integers beyond 64 bits; json is slower.
        text = json.dumps(event, default=str, skipkeys=True, ensure_ascii=False)
        return text.encode(errors="replace").decode()


def render_kv(event: Mapping[str, Any]) -> str:
    """Return `event` as `key=value` words; a value with blanks, quotes or control characters becomes a JSON string."""
    return " ".join(f"{key}={_word(value)}" for key, value in event.items())


_PLAIN = re.compile(r"[A-Za-z0-9/._:-]+")
"""Texts that certainly need no quotes, as most paths and ids of requests; all other texts are checked further."""
_NEEDS_QUOTES = re.compile(r'[ "=\\]')


def _word(value: object) -> str:
    if value.__class__ is str:
        text = str(value)
        if _PLAIN.fullmatch(text):
            return text
    elif isinstance(value, float):
        return f"{value:.6f}"
    elif value is None or isinstance(value, bool | int):
        return str(value).lower()
    else:
        text = str(value)
    plain = text and text.isprintable() and not _NEEDS_QUOTES.search(text)
    return text if plain else orjson.dumps(text.encode(errors="backslashreplace").decode()).decode()


_ATOMIC_BYTES = select.PIPE_BUF
"""Bytes that one write puts into a pipe in one piece, so that lines of several processes are not mixed (pipe(7))."""


class StreamSink:
    """Writes lines to a file descriptor; all lines of one turn of the event loop are one write.

    To a descriptor that is `shared` with other processes, lines are written in pieces that are not mixed with theirs.
    """

    def __init__(
        self, descriptor: int, render: Callable[[Mapping[str, Any]], str], owned: bool, *, shared: bool = False
    ) -> None:
        self._descriptor = descriptor
        self._render = render
        self._owned = owned
        self._shared = shared
        self._pending: list[str] = []

    def write(self, event: MutableMapping[str, Any]) -> None:
        if line := self._render(event):
            self.write_lines((line,))

    def write_lines(self, lines: Iterable[str]) -> None:
        """Write rendered lines."""
        is_first = not self._pending
        self._pending.extend(lines)
        if is_first:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        """Write the pending lines."""
        lines, self._pending = self._pending, []
        data = "\n".join([*lines, ""]).encode(errors="backslashreplace")
        try:
            while self._shared and len(data) > _ATOMIC_BYTES:
                end = data.rfind(b"\n", 0, _ATOMIC_BYTES) + 1 or data.find(b"\n") + 1
                os.write(self._descriptor, data[:end])
                data = data[end:]
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            # A log that cannot be written must not stop the service, and it can be reported nowhere else.
            pass

    def close(self) -> None:
        self.flush()
        if self._owned:
            os.close(self._descriptor)


class FileSink(StreamSink):
    """Writes lines to a file. When the file was moved or removed (logrotate), it is created again.

    This is checked before a write, at most once a second of the clock `steady`.
    """

    def __init__(
        self, path: str, render: Callable[[Mapping[str, Any]], str], steady: Callable[[], float] = clock.steady,
        *, shared: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(_open_file(path), render, owned=True, shared=shared)
        self._path = path
        self._steady = steady
        self._checked_at = steady()

    def flush(self) -> None:
        """Write the pending lines to the file that has the path now."""
        now = self._steady()
        if now - self._checked_at >= _CHECK_SECONDS:
            self._checked_at = now
            self._reopen_if_moved()
        super().flush()

    def _reopen_if_moved(self) -> None:
        try:
            if _is_open_at(self._path, self._descriptor):
                return
            descriptor = _open_file(self._path)
        except OSError:
            # The file cannot be opened now: lines go to the open file, and the next check tries again.
            return
        os.close(self._descriptor)
        self._descriptor = descriptor


def _open_file(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _is_open_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


class FluentSink:
    """Sends events to fluentd or Fluent Bit by the forward protocol, in a thread of the library."""

    def __init__(self, app: str, host: str, port: int) -> None:
        try:
            from fluent import asyncsender
        except ImportError:
            raise SettingsError(
                "--logging-endpoint fluent://… needs the package fluent-logger: pip install 'smartmob[fluent]'"
            ) from None
        self._sender = asyncsender.FluentSender(
            app, host=host, port=port, queue_circular=True, queue_maxsize=_MAX_QUEUED_EVENTS, nanosecond_precision=True
        )

    def write(self, event: MutableMapping[str, Any]) -> None:
        self._sender.emit(str(event.get("event", "")), {key: _plain(value) for key, value in event.items()})

    def close(self) -> None:
        self._sender.close()


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


class Logs(msgspec.Struct):
    """The destinations of the events of this process. Call `close` after use."""

    endpoint: LogSink
    errors: LogSink
    stamp: Callable[[], str]
    all_to_endpoint: bool
    access: AccessLog
    worker: int | None = None
    """The number of the worker that writes the events; each of its lines contains it."""

    def emit(self, event: MutableMapping[str, Any]) -> None:
        """Write one event to its destinations."""
        is_problem = event.get("level") in ("warning", "error", "critical")
        if is_problem:
            self.errors.write(event)
        if self.all_to_endpoint or not is_problem:
            self.endpoint.write(event)

    def finish(self, event: MutableMapping[str, Any]) -> None:
        """Add the time and the request to an event of structlog, and write it."""
        event["@timestamp"] = self.stamp()
        self._write({key: event.pop(key) for key in _ORDER if key in event} | dict(event))

    def take(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        """Write an event; see `event_logger.LogDestination`."""
        if level == "debug":
            return
        whole: MutableMapping[str, Any] = {"@timestamp": self.stamp(), "level": level, "event": event, **fields}
        if "exc_info" in whole:
            whole = structlog.processors.format_exc_info(None, level, whole)
        self._write(whole)

    def _write(self, event: MutableMapping[str, Any]) -> None:
        """Write an event that has its time, with its request and worker."""
        request = REQUEST_ID.get()
        if request is not None:
            event.setdefault("request", request)
        if self.worker is not None:
            event["worker"] = self.worker
        self.emit(event)

    async def during(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`; its events come here directly, not through structlog, which takes longer."""
        DESTINATION.set(self.take)
        return await work

    def close(self) -> None:
        """Write all buffered events and release the endpoint."""
        self.endpoint.close()
        self.errors.close()


def open_logs(
    log_format: str | None,
    utc: bool,
    endpoint: str,
    errors: LogSink | None = None,
    words: Rendering | None = None,
    *,
    worker: int | None = None,
    shared: bool = False,
) -> Logs:
    """Return the destinations of log events: `endpoint`, and `errors` or standard error for warnings and errors.

    `words` renders events for the format "words"; without it they are in the format "kv". `shared` means that other
    processes write to the same destinations. Changes nothing of this process. Raises SettingsError.
    """
    render = render_json if log_format == "json" else words if log_format == "words" and words else render_kv
    stamp = timestamp(utc)
    sink, standard = _open(endpoint, render, shared=shared)
    return Logs(
        endpoint=sink,
        errors=errors or StreamSink(2, render, owned=False, shared=shared),
        stamp=stamp,
        all_to_endpoint=not standard,
        access=_access(sink, stamp, worker, plain=render is render_kv),
        worker=worker,
    )


def configure(
    log_format: str | None, utc: bool, endpoint: str, words: Rendering | None = None, worker: int | None = None,
    *, shared: bool = False,
) -> Logs:  # fmt: skip
    """Send the log events of this process to `endpoint`, as `open_logs` does; raises SettingsError."""
    logs = open_logs(log_format, utc, endpoint, words=words, worker=worker, shared=shared)

    def finish(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        logs.finish(event)
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.processors.format_exc_info, finish],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)
    return logs


class _Bridge(logging.Handler):
    """Forwards warnings and errors that libraries log through `logging` to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info if record.exc_info and record.exc_info[0] else None
        # Libraries define levels of their own; structlog accepts only the five standard ones.
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        try:
            structlog.get_logger().log(
                level, "library.logged", logger=record.name, message=record.getMessage(), exc_info=error
            )
        except Exception:
            self.handleError(record)


def _standard_stream(descriptor: int, render: Callable[[Mapping[str, Any]], str], *, shared: bool) -> StreamSink:
    if (sys.stdout, sys.stderr)[descriptor - 1] is None:
        # The stream was closed when Python started, so another file of this process may have its descriptor number now.
        return StreamSink(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), render, owned=True)
    return StreamSink(descriptor, render, owned=False, shared=shared)


def _open(endpoint: str, render: Callable[[Mapping[str, Any]], str], *, shared: bool) -> tuple[LogSink, bool]:
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        raise _no_endpoint(endpoint) from None
    if parts.scheme == "file" and not parts.netloc and parts.path:
        if (descriptor := _STANDARD_STREAMS.get(parts.path)) is not None:
            return _standard_stream(descriptor, render, shared=shared), True
        try:
            return FileSink(parts.path, render, shared=shared), False
        except OSError as error:
            raise SettingsError(f"--logging-endpoint: cannot write {parts.path}: {error.strerror}") from None
    if parts.scheme == "fluent" and parts.hostname and parts.path.strip("/"):
        return FluentSink(parts.path.strip("/"), parts.hostname, port or _FLUENT_PORT), False
    raise _no_endpoint(endpoint)


def _no_endpoint(endpoint: str) -> SettingsError:
    return SettingsError(
        f"--logging-endpoint: {endpoint!r} is neither file:///PATH (file:///dev/stdout) nor fluent://HOST:PORT/APP"
    )


def _access(sink: LogSink, stamp: Callable[[], str], worker: int | None, *, plain: bool) -> AccessLog:
    """Return the writer of the event `http.access`; `plain` is true for the format "kv".

    There is one event for each request, so the common case is rendered here: the same lines as structlog's, in a tenth
    of the time.
    """

    def write_events(requests: list[FinishedRequest]) -> None:
        timestamp = stamp()
        for method, path, outcome, duration, request in requests:
            event: dict[str, Any] = {"@timestamp": timestamp, "level": "info", "event": "http.access"}
            event |= {"method": method, "path": path, "outcome": outcome}
            event |= {"duration": round(duration, 6), "request": request}
            if worker is not None:
                event["worker"] = worker
            sink.write(event)

    if not isinstance(sink, StreamSink) or not plain:
        return write_events
    words: dict[str, str] = {}
    tail = "" if worker is None else f" worker={worker}"

    def remember(path: str) -> str:
        if len(words) >= _MAX_REMEMBERED_PATHS:
            words.clear()
        word = words[path] = _word(path)
        return word

    def write_lines(requests: list[FinishedRequest]) -> None:
        head = f"@timestamp={stamp()} level=info event=http.access"
        if not _PLAIN.fullmatch("".join([finished[4] for finished in requests])):
            requests = [(*finished[:4], _word(finished[4])) for finished in requests]
        sink.write_lines(
            [
                f"{head} method={method} path={words.get(path) or remember(path)} "
                f"outcome={outcome} duration={duration:.6f} request={request}{tail}"
                for method, path, outcome, duration, request in requests
            ]
        )

    return write_lines
