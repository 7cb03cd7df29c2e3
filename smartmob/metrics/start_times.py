"""The start of a test in seconds since 1970, from the date and time that its sender writes."""

from __future__ import annotations

from datetime import UTC, datetime

from smartmob.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1)


_EPOCH_UTC = _EPOCH.replace(tzinfo=UTC)


_FIRST_SECOND = -62_135_596_800.0  # 0001-01-01


_LAST_SECOND = 253_402_300_799.0  # 9999-12-31T23:59:59


_OFFSET_STEP_SECONDS = 900.0  # all offsets from UTC that are in use are multiples of 15 minutes


_OFFSET_TOLERANCE_SECONDS = 120.0  # for wrong clocks and the time from the end of a test to the arrival of its metric


_LARGEST_OFFSET_SECONDS = 14 * 3600.0  # UTC+14, Line Islands


_LONGEST_TEST_SECONDS = 7 * 24 * 3600.0


def local_to_utc(field: str, text: str, duration: float, received_at: float | None) -> float:
    """Return the start of a test in seconds since 1970; `text` is a date and time, often without a time zone.

    pytest-monitor sends local times without a zone, as soon as a test has ended. So the difference between the end of
    the test by the sender's clock (`text` and `duration` in seconds) and its arrival by ours (`received_at`, seconds
    since 1970) is the sender's offset from UTC, if it is near a multiple of 15 minutes and not too large for one.
    Otherwise, and for metrics from files (`received_at` is None), the time is taken as local time of this machine.
    Raises InvalidInput at `field` if `text` is not an ISO 8601 date.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput.at(field, f"expected a date and time in ISO 8601, got {text[:80]!r}") from None
    if moment.tzinfo is not None:
        return _within_calendar((moment - _EPOCH_UTC).total_seconds())
    as_utc = (moment - _EPOCH).total_seconds()
    if received_at is not None:
        ahead = as_utc + (duration if 0.0 < duration < _LONGEST_TEST_SECONDS else 0.0) - received_at
        if (
            -_LARGEST_OFFSET_SECONDS - _OFFSET_TOLERANCE_SECONDS
            <= ahead
            <= _LARGEST_OFFSET_SECONDS + _OFFSET_TOLERANCE_SECONDS
        ):
            offset = round(ahead / _OFFSET_STEP_SECONDS) * _OFFSET_STEP_SECONDS
            if (
                -_LARGEST_OFFSET_SECONDS <= offset <= _LARGEST_OFFSET_SECONDS
                and -_OFFSET_TOLERANCE_SECONDS <= ahead - offset <= _OFFSET_TOLERANCE_SECONDS
            ):
                return as_utc - offset
    try:
        return _within_calendar(moment.timestamp())
    except (OverflowError, ValueError, OSError):
        return _within_calendar(as_utc)


def moment_to_utc(field: str, text: str, moment: datetime) -> float:
    """Return `moment`, the sender's own meaning of `text`, in seconds since 1970.

    Raises InvalidInput at `field` if `text` is not an ISO 8601 date.
    """
    local_to_utc(field, text, 0.0, None)
    return _within_calendar((moment - _EPOCH_UTC).total_seconds())


def _within_calendar(seconds: float) -> float:
    """Return `seconds`, limited to the years 1 to 9999, because an offset or a rounding can exceed them."""
    return max(_FIRST_SECOND, min(seconds, _LAST_SECOND))
