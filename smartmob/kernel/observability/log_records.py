"""Log events as records of `logging`, for a service inside another program, whose configuration says where they go."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from smartmob.kernel.observability.log import REQUEST_ID, FinishedRequest, render_json, render_kv

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class LogRecords:
    """Makes one record of each event. Its message has the fields, in `log_format`; the record has time and level."""

    def __init__(self, logger: logging.Logger, log_format: str | None) -> None:
        self._logger = logger
        self._render = render_json if log_format == "json" else render_kv

    def take(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        """Log an event; see `event_logger.LogDestination`."""
        number = _LEVELS[level]
        if not self._logger.isEnabledFor(number):
            return
        shown = {"event": event} | {name: value for name, value in fields.items() if name != "exc_info"}
        if (request := REQUEST_ID.get()) is not None:
            shown.setdefault("request", request)
        self._logger.log(number, self._render(shown), exc_info=fields.get("exc_info"))

    def write(self, event: MutableMapping[str, Any]) -> None:
        """Log an event that has its level and time; see `log.LogSink`."""
        fields = {name: value for name, value in event.items() if name not in ("@timestamp", "level", "event")}
        self.take(event["level"], event["event"], fields)

    def access(self, requests: list[FinishedRequest]) -> None:
        """Log finished requests."""
        if self._logger.isEnabledFor(logging.INFO):
            for method, path, outcome, duration, request in requests:
                fields = {"method": method, "path": path, "outcome": outcome, "duration": duration, "request": request}
                self.take("info", "http.access", fields)

    def close(self) -> None:
        """Do nothing: the destination of records is the caller's."""
