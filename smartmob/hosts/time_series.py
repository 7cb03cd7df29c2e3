"""Samples of a time span, averaged in buckets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime

import msgspec

from smartmob.hosts.fields import (
    NAMES,
    SampleValues,
)


class MinAvgMax(msgspec.Struct, frozen=True):
    """The aggregates of one field over the samples of a span."""

    min: float
    avg: float
    max: float


class Point(SampleValues[MinAvgMax | None], frozen=True):
    """The samples of `width` seconds from `time` on; a raw sample has the width 0 and min, avg and max are equal."""

    time: datetime
    width: float
    samples: int


class HostLoad(msgspec.Struct, frozen=True):
    """The processor load of a machine in a span, in percent."""

    host: str
    samples: int
    cpu: MinAvgMax | None


POINT_COLUMNS = ("time", "width", "samples", *(f"{name}_{part}" for name in NAMES for part in ("min", "avg", "max")))


def flat(point: Point) -> Iterator[object]:
    """Yield the cells of a point, in the order of `POINT_COLUMNS`."""
    yield point.time.isoformat()
    yield point.width
    yield point.samples
    for name in NAMES:
        value: MinAvgMax | None = getattr(point, name)
        yield from (None, None, None) if value is None else (value.min, value.avg, value.max)


class Span(msgspec.Struct, frozen=True):
    """The time from `start` (included) to `end` (excluded)."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """Return the length in seconds."""
        return (self.end - self.start).total_seconds()


WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
"""The widths of buckets in seconds."""


MINUTE = 60  # seconds


def bucket_width(span: Span, points: int) -> int:
    """Return the smallest of `WIDTHS` (or whole days) with which a span has at most `points` buckets, in seconds."""
    for width in WIDTHS:
        # Buckets begin at multiples of their width, so a span can touch one more than its length suggests.
        if span.seconds / width + 1 <= points:
            return width
    days = math.ceil(span.seconds / (max(1, points - 1) * WIDTHS[-1]))
    return days * WIDTHS[-1]
