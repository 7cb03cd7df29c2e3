"""Encodes metrics for the route that appends to a session, within the limits of that route, so that it refuses none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import orjson

from smartmob.errors import InvalidInput
from smartmob.metrics import model, protocol

MAX_LINE_BYTES = 1024 * 1024  # the limit with which the service reads lines (kernel.http.ndjson)


def encode(row: Mapping[str, Any]) -> bytes:
    """Return a metric as a line of JSON. Raises InvalidInput if the service would refuse it."""
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidInput(f"{name} is {value}")
        if isinstance(value, str) and "\0" in value:
            raise InvalidInput(f"{name} contains the NUL character")
    try:
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError as error:
        raise InvalidInput(f"it cannot be written as JSON: {error}") from None
    if len(line) > MAX_LINE_BYTES:
        raise InvalidInput(f"it has more than {MAX_LINE_BYTES} bytes")
    try:
        model.metric_row(protocol.IMPORTED.decode(line), None)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error)) from None
    return line


def check_context(document: Mapping[str, Any]) -> None:
    """Check a context as the service does. Raises InvalidInput."""
    _check(document, protocol.CONTEXT)


def check_session(document: Mapping[str, Any]) -> None:
    """Check a session as the service does. Raises InvalidInput."""
    _check(document, protocol.SESSION)


def _check(document: Mapping[str, Any], decoder: msgspec.json.Decoder[Any]) -> None:
    try:
        data = orjson.dumps(document)
        decoder.decode(data)
    except (TypeError, msgspec.ValidationError) as error:
        raise InvalidInput(str(error)) from None
    if "\\u0000" in data.decode():
        raise InvalidInput("a text contains the NUL character")


def moment_of(value: datetime) -> datetime | None:
    """Return a time with its zone; without one it is a local time of this machine. None if it means no moment.

    A time in the hour that is repeated when clocks go back means the first one. A time that is skipped when clocks go
    forward gets the earlier offset (PEP 495).
    """
    try:
        if value.tzinfo is not None:
            value.astimezone(UTC)
            return value
        # Not value.astimezone(): for a skipped time it takes the offset after the change.
        whole = datetime.fromtimestamp(value.replace(microsecond=0).timestamp(), UTC)
        return whole + timedelta(microseconds=value.microsecond)
    except (OverflowError, ValueError, OSError):
        return None
