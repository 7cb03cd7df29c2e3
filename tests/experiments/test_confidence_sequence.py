"""The confidence sequence: false alarms by simulation, monotone intervals, and outliers."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.experiments.confidence_sequence import ConfidenceSequence, hodges_lehmann

_PAIRS = 40
_NOISES: dict[str, Callable[[random.Random], float]] = {
    "normal": lambda lot: lot.gauss(0, 0.1),
    "one in ten is six times as far": lambda lot: lot.gauss(0, 0.6 if lot.random() < 0.1 else 0.1),
    "without a variance": lambda lot: 0.1 * math.tan(math.pi * (lot.random() - 0.5)),
    "two values": lambda lot: lot.choice((-0.1, 0.1)),
}


def _sequence(draw: Callable[[], float], pairs: int = _PAIRS) -> ConfidenceSequence:
    sequence = ConfidenceSequence()
    for _ in range(pairs):
        sequence.add(draw())
    return sequence


@pytest.mark.parametrize("noise", _NOISES)
def test_looking_after_each_pair_raises_no_more_false_alarms(noise: str) -> None:
    """Of 200 sequences without a difference at most 5 % are ever above 20, with a margin of four deviations."""
    lot = random.Random(21)
    alarms = 0
    for _ in range(200):
        sequence = ConfidenceSequence()
        for _ in range(_PAIRS):
            sequence.add(_NOISES[noise](lot))
            if sequence.evidence >= 20:
                alarms += 1
                break
    assert alarms <= 200 * 0.05 + 4 * math.sqrt(200 * 0.05 * 0.95)


@pytest.mark.parametrize("noise", _NOISES)
def test_the_interval_covers_the_difference(noise: str) -> None:
    """Of 50 sequences with a difference of 0.3 at least 43 have it in their interval of 95 %."""
    lot = random.Random(22)
    covered = 0
    for _ in range(50):
        low, high = _sequence(lambda: 0.3 + _NOISES[noise](lot)).interval(0.95)
        covered += low <= 0.3 <= high
    assert covered >= 43


def test_a_difference_is_found_with_its_direction() -> None:
    """20 % at a noise of 10 % is above 1,000 within 30 pairs, in all of 20 sequences and in both directions."""
    lot = random.Random(23)
    for sign in (1, -1):
        for _ in range(20):
            sequence = _sequence(partial(lot.gauss, sign * math.log(1.2), 0.1), 30)
            assert sequence.evidence >= 1000
            assert sequence.direction == sign


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30))
def test_the_sides_can_be_exchanged(differences: list[float]) -> None:
    """With all signs turned, the evidence is the same and the interval is reflected."""
    one, other = ConfidenceSequence(), ConfidenceSequence()
    for each in differences:
        one.add(each)
        other.add(-each)
    assert one.evidence == pytest.approx(other.evidence)
    low, high = one.interval(0.95)
    assert (low, high) == pytest.approx((-other.interval(0.95)[1], -other.interval(0.95)[0]), abs=1e-6)


@given(st.lists(st.floats(-1, 1), min_size=12, max_size=30))
def test_more_confidence_needs_a_wider_interval(differences: list[float]) -> None:
    """The interval of 99.9 % contains that of 80 %, and both are the other way round nowhere."""
    sequence = ConfidenceSequence()
    for each in differences:
        sequence.add(each)
    (low, high), (lower, higher) = sequence.interval(0.8), sequence.interval(0.999)
    assert lower <= low <= high <= higher


def test_an_outlier_costs_few_pairs() -> None:
    """A pair in which the machine stood still for ten times the test hardly moves the interval."""
    lot = random.Random(24)
    values = [lot.gauss(0.2, 0.05) for _ in range(40)]
    clean, dirty = ConfidenceSequence(), ConfidenceSequence()
    for place, value in enumerate(values):
        clean.add(value)
        dirty.add(math.log(0.1) if place == 20 else value)
    assert dirty.interval(0.95)[0] > clean.interval(0.95)[0] - 0.03


def test_few_pairs_have_no_bounds() -> None:
    """Three pairs exclude nothing at 95 %, so that both bounds are infinite; so are those of none."""
    sequence = _sequence(lambda: 0.5, 3)
    assert sequence.interval(0.95) == (-math.inf, math.inf)
    assert ConfidenceSequence().interval(0.95) == (-math.inf, math.inf)
    assert ConfidenceSequence().estimate() == 0


def test_the_estimate_of_hodges_and_lehmann() -> None:
    """It is the median of the means of all pairs of values."""
    assert hodges_lehmann([1.0, 2.0, 9.0]) == pytest.approx(3.5)
    assert hodges_lehmann([0.0]) == 0.0
