"""What pages are told, as they read it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from smartmob.console.model import Courses, Span, Timeline

START = datetime(2026, 11, 23, 9, tzinfo=UTC)


def test_a_timeline_as_a_page_reads_it() -> None:
    """The edges are called as the query calls them, times are ISO 8601 in UTC, and what goes on has no end."""
    span = Span(lane="jobs", label="make", start=START, end=None)
    told = Timeline(
        start=START, end=START, courses=Courses(width=60.0, times=[], hosts=[]), spans=[span], changes=[], marks=[],
        loads=[], partial=[],
    )  # fmt: skip
    read = msgspec.json.decode(msgspec.json.encode(told))
    assert (read["from"], read["to"]) == ("2026-11-23T09:00:00Z", "2026-11-23T09:00:00Z")
    assert read["spans"][0]["end"] is None
    assert read["spans"][0]["level"] == "plain"
