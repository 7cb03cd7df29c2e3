"""The median of values."""

from __future__ import annotations

import statistics

import pytest

from smartmob.medians import median


def test_it_is_that_of_the_standard_library() -> None:
    """Of an even number of values it is the mean of the two in the middle."""
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median(iter([4.0, 1.0, 3.0, 2.0])) == 2.5


def test_there_is_none_without_values() -> None:
    """The error is that of the standard library."""
    with pytest.raises(statistics.StatisticsError):
        median([])
