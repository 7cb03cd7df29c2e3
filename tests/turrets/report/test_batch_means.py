"""The comparison of two correlated series."""

from __future__ import annotations

import math
import random

import pytest

from smartmob.turrets.report.batch_means import BATCHES, adjusted, compare, two_sided

SECONDS = 300


def _batches(chance: random.Random, phi: float, shift: float = 0.0) -> list[float]:
    """Return the batch means of seconds of an autoregressive process with the variance 1."""
    value, series = chance.gauss(0, 1), []
    for _ in range(SECONDS):
        value = phi * value + chance.gauss(0, math.sqrt(1 - phi * phi))
        series.append(value + shift)
    length = SECONDS // BATCHES
    return [sum(series[place : place + length]) / length for place in range(0, SECONDS, length)]


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, 0.97])
def test_correlated_seconds_give_no_more_false_alarms_than_promised(phi: float) -> None:
    """Of 400 pairs of equal runs, some 5 % have p < 0.05; a test on the seconds themselves finds a third and more."""
    chance = random.Random(5)
    alarms = sum(compare(_batches(chance, phi), _batches(chance, phi)).p < 0.05 for _ in range(400))
    assert alarms / 400 <= 0.08


def test_a_real_difference_is_found() -> None:
    """A shift of half a deviation in 300 seconds with a moderate correlation."""
    chance = random.Random(6)
    found = sum(compare(_batches(chance, 0.5), _batches(chance, 0.5, 0.5)).p < 0.05 for _ in range(100))
    assert found >= 70


def test_the_interval_contains_the_difference() -> None:
    """In 95 % of the cases; it is as wide as the p-value says."""
    chance = random.Random(7)
    pairs = [compare(_batches(chance, 0.7), _batches(chance, 0.7, 1.0)) for _ in range(200)]
    assert sum(one.low <= 1.0 <= one.high for one in pairs) >= 184
    assert all((one.low > 0) == (one.p < 0.05 and one.value > 0) for one in pairs)


@pytest.mark.parametrize(
    ("t", "free", "p"), [(12.706205, 1, 0.05), (2.228139, 10, 0.05), (1.959964, 1e7, 0.05), (0.5, 4, 0.64333)]
)
def test_students_t_agrees_with_printed_tables(t: float, free: float, p: float) -> None:
    """The values of printed tables."""
    assert two_sided(t, free) == pytest.approx(p, rel=1e-4)


def test_constant_series_differ_or_do_not() -> None:
    """Without a spread there is no doubt."""
    assert compare([1.0] * 9, [1.0] * 9).p == 1.0
    assert compare([1.0] * 9, [2.0] * 9).p == 0.0


def test_p_values_are_adjusted_for_their_number() -> None:
    """The procedure of Benjamini and Hochberg: the example of their paper rejects the four smallest of fifteen."""
    given = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528]
    given += [0.7590, 1.0]
    assert [p < 0.05 for p in adjusted(given)] == [True] * 4 + [False] * 11
    assert adjusted(given[::-1]) == adjusted(given)[::-1]
