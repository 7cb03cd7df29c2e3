"""Times as clients write them: seconds since 1970, or ISO 8601 with an offset."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

from smartmob.errors import InvalidInput

D = TypeVar("D", datetime, None)


def moment(name: str, given: str | None, default: D) -> datetime | D:
    """Return a time that a client names, or `default` when it names none; raises InvalidInput for what is no time."""
    text = (given or "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        pass
    else:
        return from_seconds(name, value)
    try:
        # A plus sign that was not quoted arrives as a blank.
        found = datetime.fromisoformat(text.replace(" ", "+") if text.count(" ") == 1 and "T" in text else text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput.at(name, f"expected seconds since 1970 or a time such as {_EXAMPLE}, got {text!r}") from None
    raise InvalidInput.at(name, f"{text!r} does not say in which time zone: add Z or an offset, as in {_EXAMPLE}")


_EXAMPLE = "2026-11-23T08:30:00+01:00"


def from_seconds(name: str, value: float) -> datetime:
    """Return seconds since 1970 as a time; raises InvalidInput where there is no such time."""
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidInput.at(name, f"{value:g} is no time in seconds since 1970") from None
