"""Metrics are encoded within the limits of the route that takes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import pytest

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files import metric_lines
from tests.metrics.samples import metric


def test_a_metric_is_one_line_of_json() -> None:
    """A time may be unknown."""
    row = metric(total_time=None, started_at="2026-11-20T12:00:00+00:00")
    line = metric_lines.encode(row)
    assert (line.endswith(b"\n"), orjson.loads(line)) == (True, row)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"total_time": float("nan")}, "total_time is nan"),
        ({"item": "a\0b"}, "item contains the NUL character"),
        ({"item": "\udc80"}, "cannot be written as JSON"),
        ({"item": "x" * metric_lines.MAX_LINE_BYTES}, "more than"),
        ({"item": None}, r"\$.item"),
        ({"item_start_time": "soon"}, "ISO 8601"),
        ({"session_h": "x" * 257}, "session_h"),
        ({"started_at": "2026-11-20T12:00:00"}, "started_at"),
    ],
)
def test_what_the_service_would_refuse_is_refused_here(changes: dict[str, Any], said: str) -> None:
    """The reason names the field."""
    with pytest.raises(InvalidInput, match=said):
        metric_lines.encode(metric(**changes))


def test_a_moment_has_a_zone() -> None:
    """An offset survives; the ends of the calendar have no moment in every zone."""
    given = datetime.fromisoformat("2026-11-20T10:00:00+05:30")
    assert metric_lines.moment_of(given) is given
    naive = datetime(2026, 11, 20, 10)
    found = metric_lines.moment_of(naive)
    assert found is not None
    assert (found.tzinfo is not None, found.timestamp()) == (True, naive.timestamp())
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        assert metric_lines.moment_of(datetime.fromisoformat(text)) is None
