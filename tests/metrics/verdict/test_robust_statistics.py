"""Medians and noise: compared with the standard library, and unmoved by outliers."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.metrics.verdict.robust_statistics import median, noise_of


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_the_median_is_that_of_the_standard_library(values: list[float]) -> None:
    """The median agrees with `statistics.median` for any number of values."""
    assert median(values) == pytest.approx(statistics.median(values))


@pytest.mark.parametrize("number", [2, 3, 5, 9, 10, 30])
def test_the_noise_of_normal_data_is_their_standard_deviation(number: int) -> None:
    """The corrections for small samples make the noise unbiased, here within 5 %."""
    source = random.Random(number)
    found = []
    for _ in range(4_000):
        values = [source.gauss(0.0, 1.0) for _ in range(number)]
        level = median(values)
        found.append(noise_of([value - level for value in values]))
    assert statistics.fmean(found) == pytest.approx(1.0, rel=0.05)


def test_one_outlier_does_not_move_the_noise() -> None:
    """A value a thousand times as far away as the others counts as one value."""
    assert noise_of([0.0, -1.0, 1.0, -2.0, 2.0, 1_000.0]) == pytest.approx(noise_of([0.0, -1.0, 1.0, -2.0, 2.0, 2.0]))
