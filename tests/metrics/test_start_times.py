"""The start of a test, from the date and time that its sender gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.errors import InvalidInput
from smartmob.metrics.start_times import local_to_utc

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def _utc(text: str, duration: float = 0.0, received_at: datetime | None = NOON) -> datetime:
    seconds = local_to_utc("$.x", text, duration, received_at.timestamp() if received_at else None)
    return datetime.fromtimestamp(seconds, UTC)


class TestLocalToUtc:
    """Start times from senders that send a local time without a zone."""

    @given(
        quarters=st.integers(-12 * 4, 14 * 4),
        lag=st.floats(0, 100),
        duration=st.floats(0, 10_000),
    )
    def test_the_offset_of_a_live_sender_is_found(self, quarters: int, lag: float, duration: float) -> None:
        """For any offset the start is right if the sender sends soon after the end of the test."""
        truth = NOON - timedelta(seconds=duration + lag)
        local = (truth + timedelta(minutes=15 * quarters)).replace(tzinfo=None)

        found = local_to_utc("$.x", local.isoformat(), duration, NOON.timestamp())

        assert abs(found - truth.timestamp()) < 0.001

    def test_a_time_with_a_zone_is_taken_as_it_is(self) -> None:
        """The arrival does not matter for a time with a zone."""
        assert _utc("2026-11-20T12:00:00+02:00") == datetime(2026, 11, 20, 10, tzinfo=UTC)
        assert _utc("2026-11-20T12:00:00Z", received_at=None) == NOON

    @pytest.mark.parametrize("text", ["2020-01-01T00:00:00", "2026-11-20T12:07:30", "2026-11-21T12:00:00"])
    def test_a_time_far_from_its_arrival_is_local(self, text: str) -> None:
        """A time that is not near a multiple of 15 minutes from its arrival is in the zone of this machine."""
        assert _utc(text) == datetime.fromisoformat(text).astimezone(UTC)

    def test_a_time_from_a_file_is_local(self) -> None:
        """A time without an arrival is in the zone of this machine."""
        text = "2026-11-20T12:00:00"
        assert _utc(text, received_at=None) == datetime.fromisoformat(text).astimezone(UTC)

    @pytest.mark.parametrize(
        "text", ["0001-01-01T00:00:00", "9999-12-31T23:59:59.999999", "0001-01-01T00:00:00+14:00",
                 "9999-12-31T23:59:59-14:00"]
    )  # fmt: skip
    def test_the_ends_of_the_calendar_are_valid_times(self, text: str) -> None:
        """The results are times that the database can store."""
        assert _utc(text).year in (1, 9999)
        assert _utc(text, received_at=None).year in (1, 9999)

    @pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-11-20T25:00:00", "1e9", "12:00", "\0"])
    def test_an_invalid_date_is_refused(self, text: str) -> None:
        """The error names the field."""
        with pytest.raises(InvalidInput) as refused:
            local_to_utc("$.run_date", text, 0.0, None)
        assert refused.value.faults[0].where == "$.run_date"

    @given(st.text())
    def test_any_text_is_a_date_or_refused(self, text: str) -> None:
        """No text causes another error than InvalidInput."""
        try:
            local_to_utc("$.x", text, 0.0, 0.0)
        except InvalidInput:
            pass
