"""Samples of a time span, averaged in buckets."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from smartmob.hosts import fields, time_series
from smartmob.hosts.time_series import Span


@given(st.floats(0.001, 4e9), st.integers(1, 100_000))
def test_a_span_touches_at_most_the_requested_buckets(seconds: float, points: int) -> None:
    """However a span lies, it touches at most as many buckets as requested, unless even one is too many."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    width = time_series.bucket_width(Span(start, start + timedelta(seconds=seconds)), points)
    assert width >= 1
    assert points == 1 or math.floor(seconds / width) + 1 <= points


def test_wide_buckets_are_whole_minutes() -> None:
    """From a minute on, widths are whole minutes, so that roll-ups can be used."""
    assert all(width % time_series.MINUTE == 0 for width in time_series.WIDTHS if width >= time_series.MINUTE)


def test_a_point_has_a_cell_for_each_column() -> None:
    """Empty values have empty cells."""
    bands: dict[str, Any] = dict.fromkeys(fields.NAMES)
    point = time_series.Point(
        datetime.fromtimestamp(0, UTC), 0.0, 1, **(bands | {"cpu": time_series.MinAvgMax(1.0, 2.0, 3.0)})
    )
    cells = dict(zip(time_series.POINT_COLUMNS, time_series.flat(point), strict=True))
    assert (cells["time"], cells["cpu_min"], cells["cpu_avg"], cells["cpu_max"], cells["mem_avg"]) == (
        *("1970-01-01T00:00:00+00:00", 1.0, 2.0, 3.0),
        None,
    )
