"""Structured logging: configured here and nowhere else.

An event is a fixed name (`bind`, `http.access`, `stop`, `process.exited`) with key-values. Everything goes to the
logging endpoint; warnings and errors go to standard error as well, and only there when the endpoint is a standard
stream itself (seed: "Errors and warnings are sent to stderr").
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson
import structlog

from smartmob.errors import SettingsError
from smartmob.kernel.runtime import clock

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that the running code serves: it is in every line logged meanwhile."""

_STANDARD_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_REMEMBERED_PATHS = 256
_LOOK_SECONDS = 1.0
_ORDER = ("@timestamp", "level", "event")


AccessLog = Callable[[list[tuple[str, str, int, float, str]]], None]
"""Takes finished requests: method, path, status, duration in seconds, request id."""


class Sink(Protocol):
    """Takes finished events."""

    def write(self, event: MutableMapping[str, Any]) -> None:
        """Keep one event; must return quickly and never raise."""

    def close(self) -> None:
        """Write what is still held back."""


def timestamp(utc: bool) -> Callable[[], str]:
    """Return the function that tells the time of a log line (ISO 8601 with milliseconds and offset)."""
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
        # Texts with bytes of no UTF-8 (names of files) and integers beyond 64 bits: rare, and slower.
        text = json.dumps(event, default=str, skipkeys=True, ensure_ascii=False)
        return text.encode(errors="replace").decode()


def render_kv(event: Mapping[str, Any]) -> str:
    """Return `event` as `key=value` words; a value with blanks, quotes or control characters is a JSON text."""
    return " ".join(f"{key}={_word(value)}" for key, value in event.items())


def _word(value: object) -> str:
    if value.__class__ is str:
        text = str(value)
        if text.isalnum():
            return text
    elif isinstance(value, float):
        return f"{value:.6f}"
    elif value is None or isinstance(value, bool | int):
        return str(value).lower()
    else:
        text = str(value)
    plain = text and text.isprintable() and not any(mark in text for mark in ' "=\\')
    return text if plain else orjson.dumps(text.encode(errors="backslashreplace").decode()).decode()


class StreamSink:
    """Writes lines to an open file; what arrives in one turn of the event loop is one write."""

    def __init__(self, descriptor: int, render: Callable[[Mapping[str, Any]], str], owned: bool) -> None:
        self._descriptor = descriptor
        self._render = render
        self._owned = owned
        self._held: list[str] = []

    def write(self, event: MutableMapping[str, Any]) -> None:
        self.write_line(self._render(event))

    def write_line(self, line: str) -> None:
        """Write an already rendered line."""
        self._held.append(line)
        if len(self._held) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        """Write the lines of this turn."""
        lines, self._held = self._held, []
        data = "".join(line + "\n" for line in lines).encode(errors="backslashreplace")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            # Nobody can be told that the log cannot be written; the service is worth more than its log.
            pass

    def close(self) -> None:
        self.flush()
        if self._owned:
            os.close(self._descriptor)


class FileSink(StreamSink):
    """Writes lines to a file by its name: when that was moved or removed (logrotate), the file is made anew.

    `steady` counts seconds; the name is looked at once in each of them, before something is written.
    """

    def __init__(
        self, path: str, render: Callable[[Mapping[str, Any]], str], steady: Callable[[], float] = clock.steady
    ) -> None:
        super().__init__(_open_file(path), render, owned=True)
        self._path = path
        self._steady = steady
        self._looked_at = steady()

    def flush(self) -> None:
        """Write the lines of this turn, to the file that has the name now."""
        now = self._steady()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._follow()
        super().flush()

    def _follow(self) -> None:
        try:
            if _is_named(self._path, self._descriptor):
                return
            descriptor = _open_file(self._path)
        except OSError:
            # The name cannot be had now: the lines go on into the file that is open, and it is tried again.
            return
        os.close(self._descriptor)
        self._descriptor = descriptor


def _open_file(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _is_named(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


class FluentSink:
    """Sends events to a fluentd or Fluent Bit by the forward protocol, from a thread of the library's own."""

    def __init__(self, app: str, host: str, port: int) -> None:
        try:
            from fluent import asyncsender
        except ImportError:
            raise SettingsError(
                "--logging-endpoint fluent://… needs the package fluent-logger: pip install 'smartmob[fluent]'"
            ) from None
        self._sender = asyncsender.FluentSender(
            app, host=host, port=port, queue_circular=True, queue_maxsize=10_000, nanosecond_precision=True
        )

    def write(self, event: MutableMapping[str, Any]) -> None:
        self._sender.emit(str(event.get("event", "")), {key: _plain(value) for key, value in event.items()})

    def close(self) -> None:
        self._sender.close()


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


@dataclass(slots=True)
class Logs:
    """Where the events of this process go. After use you must `close`."""

    endpoint: Sink
    errors: StreamSink
    stamp: Callable[[], str]
    all_to_endpoint: bool
    access: AccessLog

    def emit(self, event: MutableMapping[str, Any]) -> None:
        """Keep one event where it belongs."""
        troubled = event.get("level") in ("warning", "error", "critical")
        if troubled:
            self.errors.write(event)
        if self.all_to_endpoint or not troubled:
            self.endpoint.write(event)

    def close(self) -> None:
        """Write what is held back and release the endpoint."""
        self.endpoint.close()
        self.errors.close()


def configure(log_format: str, utc: bool, endpoint: str) -> Logs:
    """Send the log events of this process to `endpoint`; raises SettingsError."""
    render = render_json if log_format == "json" else render_kv
    stamp = timestamp(utc)
    sink, standard = _open(endpoint, render)
    logs = Logs(
        endpoint=sink,
        errors=StreamSink(2, render, owned=False),
        stamp=stamp,
        all_to_endpoint=not standard,
        access=_access(sink, stamp, log_format),
    )

    def finish(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        request = REQUEST_ID.get()
        if request is not None:
            event.setdefault("request", request)
        event["@timestamp"] = stamp()
        ordered = {key: event.pop(key) for key in _ORDER if key in event} | dict(event)
        logs.emit(ordered)
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
    """Hands what libraries say through `logging` (warnings and worse) to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info if record.exc_info and record.exc_info[0] else None
        # Libraries have levels of their own; structlog knows the five.
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        try:
            structlog.get_logger().log(
                level, "library.logged", logger=record.name, message=record.getMessage(), exc_info=error
            )
        except Exception:
            self.handleError(record)


def _open(endpoint: str, render: Callable[[Mapping[str, Any]], str]) -> tuple[Sink, bool]:
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        raise _no_endpoint(endpoint) from None
    if parts.scheme == "file" and not parts.netloc and parts.path:
        if (descriptor := _STANDARD_STREAMS.get(parts.path)) is not None:
            return StreamSink(descriptor, render, owned=False), True
        try:
            return FileSink(parts.path, render), False
        except OSError as error:
            raise SettingsError(f"--logging-endpoint: cannot write {parts.path}: {error.strerror}") from None
    if parts.scheme == "fluent" and parts.hostname and parts.path.strip("/"):
        return FluentSink(parts.path.strip("/"), parts.hostname, port or 24224), False
    raise _no_endpoint(endpoint)


def _no_endpoint(endpoint: str) -> SettingsError:
    return SettingsError(
        f"--logging-endpoint: {endpoint!r} is neither file:///PATH (file:///dev/stdout) nor fluent://HOST:PORT/APP"
    )


def _access(sink: Sink, stamp: Callable[[], str], log_format: str) -> AccessLog:
    """Return the writer of `http.access`.

    It writes the very lines that structlog's way would give, at a tenth of the cost: there is one for each request.
    """

    def generic(requests: list[tuple[str, str, int, float, str]]) -> None:
        moment = stamp()
        for method, path, outcome, duration, request in requests:
            event: dict[str, Any] = {"@timestamp": moment, "level": "info", "event": "http.access"}
            event |= {"method": method, "path": path, "outcome": outcome}
            event |= {"duration": round(duration, 6), "request": request}
            sink.write(event)

    if not isinstance(sink, StreamSink) or log_format == "json":
        return generic
    write_line = sink.write_line
    words: dict[str, str] = {}

    def quick(requests: list[tuple[str, str, int, float, str]]) -> None:
        head = f"@timestamp={stamp()} level=info event=http.access"
        for method, path, outcome, duration, request in requests:
            word = words.get(path)
            if word is None:
                if len(words) >= _REMEMBERED_PATHS:
                    words.clear()
                word = words[path] = _word(path)
            write_line(
                f"{head} method={method} path={word} outcome={outcome} duration={duration:.6f} request={_word(request)}"
            )

    return quick
