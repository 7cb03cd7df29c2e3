"""The logger of all modules of the service. Each service may have a destination of its own for its events.

A service sets `DESTINATION` in its own context, which all its tasks, callbacks and threads inherit. So a service inside
another program leaves the configuration of that program's logs alone. A service that is a program of its own configures
structlog as well, for its events before and after that and for those of libraries; both ways lead to the same logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol

import structlog


class LogDestination(Protocol):
    """The destination of the events of one service."""

    def __call__(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        """Take an event; `level` is debug, info, warning or error. Must return at once and never raise."""


DESTINATION: ContextVar[LogDestination | None] = ContextVar("log_destination", default=None)
"""The destination of the events in this context; None means structlog as configured in this process."""


class EventLogger:
    """Sends events to the destination of the present context."""

    def debug(self, event: str, **fields: Any) -> None:
        """Log an event that only developers need."""
        self._send("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log an event of normal operation."""
        self._send("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log an event that a person should look at."""
        self._send("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log a failure."""
        self._send("error", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Log a failure with the exception that is being handled."""
        self._send("error", event, {"exc_info": True} | fields)

    def _send(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        destination = DESTINATION.get()
        if destination is None:
            getattr(structlog.get_logger(), level)(event, **fields)
        else:
            destination(level, event, fields)


_LOGGER = EventLogger()


def get_logger() -> EventLogger:
    """Return the logger of a module."""
    return _LOGGER
