"""The median. It imports `statistics` with the first call: that takes 0.2 MB, and most services never need it."""

from __future__ import annotations

from collections.abc import Iterable


def median(values: Iterable[float]) -> float:
    """Return the median of values, of which there is at least one; raises statistics.StatisticsError without any."""
    import statistics

    return statistics.median(values)
