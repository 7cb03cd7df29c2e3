"""Parses times of clients: seconds since 1970, or ISO 8601 with an offset."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

from smartmob.errors import InvalidInput

D = TypeVar("D", datetime, None)


def moment(name: str, given: str | None, default: D) -> datetime | D:
    """Parse a time from a client; return `default` for None or a blank text. Raises InvalidInput naming `name`."""
    text = (given or "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        pass
    else:
        return from_seconds(name, value)
    return _from_iso(name, text)


def _from_iso(name: str, text: str) -> datetime:
    """Return the time of an ISO 8601 text with a time zone; raises InvalidInput naming `name`."""
    try:
        # In a URL, an unquoted plus sign arrives as a blank.
        found = datetime.fromisoformat(text.replace(" ", "+") if text.count(" ") == 1 and "T" in text else text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput.at(name, f"expected seconds since 1970 or a time such as {_EXAMPLE}, got {text!r}") from None
    raise InvalidInput.at(name, f"{text!r} does not say in which time zone: add Z or an offset, as in {_EXAMPLE}")


_EXAMPLE = "2026-11-23T08:30:00+01:00"


def from_seconds(name: str, value: float) -> datetime:
    """Return the time of a number of seconds since 1970; raises InvalidInput for a number out of range."""
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidInput.at(name, f"{value:g} is not a time in seconds since 1970") from None
