"""Rules for the clocks of senders: the times that are plausible, and the time that is used where one is not.

A clock with a wrong year would make a run the latest for years, or the oldest. Nothing is refused, since senders do not
send again: the session or the metric is stored with the time that was sent, and is ordered by the time at which it
arrived. No I/O.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from smartmob.metrics.model import MetricRow

OLDEST = datetime(2001, 1, 1, tzinfo=UTC)
"""Times before this are those of clocks that were never set.

Such clocks begin at 1970-01-01 (Unix), 1980-01-01 (FAT file systems), 1980-01-06 (GPS) or 2000-01-01 (the DS1307 and
other clock chips; one year is allowed for the time since their start). No test results are older than this.
"""
_OLDEST_SECONDS = OLDEST.timestamp()
_SECONDS_PER_DAY = 86_400


class SenderClock(msgspec.Struct, frozen=True):
    """The rule for the times of senders: at most `ahead` seconds after now, and not before `OLDEST`."""

    ahead: float

    def is_plausible(self, time: float, now: float) -> bool:
        """Return whether a sender may have measured at `time`; both are seconds since 1970."""
        return _OLDEST_SECONDS <= time <= now + self.ahead

    def ordered(self, row: MetricRow, now: float) -> MetricRow:
        """Return a metric that arrives at `now`, ordered by its arrival if its own time is not plausible."""
        if self.is_plausible(row.started_at, now):
            return row
        return msgspec.structs.replace(row, started_at=now)


def explanation(stated_at: datetime | None, arrived_at: datetime) -> str | None:
    """Return in words why a session is ordered by its arrival, or None if `stated_at` is None, because it is not."""
    if stated_at is None:
        return None
    days = (stated_at - arrived_at).total_seconds() / _SECONDS_PER_DAY
    distance = f"{abs(days):,.0f} days" if abs(days) >= 2 else f"{abs(days) * 24:.1f} hours"
    side = "after" if days > 0 else "before"
    date = stated_at.replace(tzinfo=None).isoformat(" ", "minutes")
    return (
        f"the sender dated it {date} UTC, {distance} {side} its arrival; it is ordered by its "
        "arrival. Check the clock of the machine"
    )
