"""The time series of several machines at the same times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from smartmob.console.service import _align
from smartmob.hosts.fields import NAMES
from smartmob.hosts.time_series import MinAvgMax, Point

START = datetime(2026, 11, 23, 9, tzinfo=UTC)


def _point(minute: int, cpu: float | None) -> Point:
    band = None if cpu is None else MinAvgMax(cpu, cpu, cpu + 1)
    return Point(START + timedelta(minutes=minute), 60.0, 1, **dict.fromkeys(NAMES, None) | {"cpu": band})


def test_missing_samples_are_none() -> None:
    """A machine has a value for each time of any machine, and None where it has no sample."""
    found = _align({"a": [_point(0, 1.0), _point(1, 2.0)], "b": [_point(1, None), _point(3, 4.0)], "c": []})
    assert found.width == 60.0
    assert found.times == [(START + timedelta(minutes=minute)).timestamp() for minute in (0, 1, 3)]
    assert {course.host: course.cpu for course in found.hosts} == {"a": [1.0, 2.0, None], "b": [None, None, 4.0]}
    assert {course.host: course.cpu_max for course in found.hosts}["a"] == [2.0, 3.0, None]


def test_without_machines_there_are_no_times() -> None:
    """Without any points, the document has no times."""
    assert _align({}).times == []
