"""The JSON form of the documents of pages."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from smartmob.console.model import AllHostTimeSeries, Timeline, TimelineSpan

START = datetime(2026, 11, 23, 9, tzinfo=UTC)


def test_a_timeline_is_encoded_with_the_names_of_the_query() -> None:
    """The edges are `from` and `to`, times are ISO 8601 in UTC, and a span that goes on has no end."""
    span = TimelineSpan(lane="jobs", label="make", start=START, end=None)
    timeline = Timeline(
        start=START, end=START, time_series=AllHostTimeSeries(width=60.0, times=[], hosts=[]), spans=[span], changes=[],
        marks=[], loads=[], partial=[],
    )  # fmt: skip
    read = msgspec.json.decode(msgspec.json.encode(timeline))
    assert (read["from"], read["to"]) == ("2026-11-23T09:00:00Z", "2026-11-23T09:00:00Z")
    assert read["spans"][0]["end"] is None
    assert read["spans"][0]["level"] == "plain"
