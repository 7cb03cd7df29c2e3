"""Change points of one history: steps, drifts, outliers, and the rate of false alarms by counting."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.trends import NOISES, count
from smartmob.metrics.verdict.change_points import MIN_RUNS, Changes, find_changes, rank_test

NOISE = 0.02


def _matters(before: float, after: float) -> bool:
    return abs(after - before) >= math.log1p(0.05)


def _history(*levels: tuple[int, float], seed: int = 1) -> list[float]:
    """Return a history of levels, each given by its number of runs and its factor."""
    source = random.Random(seed)
    return [math.log(factor) + NOISE * source.gauss(0, 1) for runs, factor in levels for _ in range(runs)]


def _places(found: Changes) -> list[int]:
    return [step.first for step in found.steps]


@pytest.mark.parametrize(
    ("levels", "places"),
    [
        ([(60, 1.0)], []),
        ([(30, 1.0), (30, 1.2)], [30]),
        ([(30, 1.0), (30, 0.5)], [30]),
        ([(40, 1.0), (4, 1.5)], [40]),
        ([(40, 1.0), (6, 1.5), (40, 1.0)], [40, 46]),
        ([(20, 1.0), (20, 1.3), (20, 1.1), (20, 1.6)], [20, 40, 60]),
        # Less than 5 %, and outliers of one and of two runs.
        ([(30, 1.0), (30, 1.04)], []),
        ([(20, 1.0), (1, 9.0), (20, 1.0), (2, 5.0), (20, 1.0)], []),
        ([(20, 1.0), (1, 9.0), (10, 1.0), (30, 1.4)], [31]),
        # Too little to tell.
        ([(5, 1.0)], []),
        ([(3, 1.0), (3, 2.0)], []),
    ],
)
def test_steps_are_found_where_they_are(levels: list[tuple[int, float]], places: list[int]) -> None:
    """The first run of each new level is found; outliers, small changes and short histories give none."""
    found = find_changes(_history(*levels), _matters)
    assert _places(found) == places
    assert found.drift is None


def test_levels_are_those_of_both_sides() -> None:
    """A step has the medians of both levels, and the present level is that of the last one."""
    found = find_changes(_history((30, 1.0), (30, 1.5)), _matters)
    (step,) = found.steps
    assert (math.exp(step.before), math.exp(step.after)) == pytest.approx((1.0, 1.5), rel=0.02)
    assert found.level == step.after
    assert step.p_value < 1e-6


@pytest.mark.parametrize("factor", [1.01, 0.99])
def test_one_percent_a_week_is_a_drift(factor: float) -> None:
    """A year of weekly runs, each 1 % slower or faster than the one before, is a drift and no series of steps."""
    source = random.Random(2)
    found = find_changes([week * math.log(factor) + 0.02 * source.gauss(0, 1) for week in range(52)], _matters)
    assert found.drift is not None
    assert math.exp(found.drift.after - found.drift.before) == pytest.approx(factor**51, rel=0.05)
    assert found.steps == []


def test_values_without_noise_have_steps() -> None:
    """Histories of equal values, as a coarse clock gives them, have a step only where they differ."""
    assert _places(find_changes([0.0] * 20 + [1.0] * 20, _matters)) == [20]
    assert find_changes([0.0] * 40, _matters) == Changes([], None, 0.0)


def test_two_modes_are_no_steps() -> None:
    """A clock that shows one of two values at random has no change of its level."""
    source = random.Random(3)
    for _ in range(50):
        assert _places(find_changes([source.choice((0.0, 0.7)) for _ in range(60)], _matters)) == []


@pytest.mark.parametrize("noise", NOISES)
def test_false_alarms_are_rare(noise: str) -> None:
    """Of 60 seeded histories of 100 runs without a change at most three have an alarm, with any kind of noise."""
    _, false = count(60, 100, NOISES[noise], 0.1, "none")
    assert false <= 3


@pytest.mark.parametrize("change", ["step", "last 5 runs", "excursion of 6 runs", "drift"])
def test_changes_of_five_times_the_noise_are_found(change: str) -> None:
    """Of 20 seeded histories with heavy tails and outliers at least 14 show the change."""
    hits, _ = count(20, 100, NOISES["heavy tails with outliers"], 0.05, change, 0.25)
    assert hits >= 14


def _exact_p_value(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the two-sided p-value by counting all ways to divide the values."""
    pooled = [*one, *other]

    def distance(chosen: Sequence[float]) -> float:
        rest = list(pooled)
        for value in chosen:
            rest.remove(value)
        wins = sum((a > b) + 0.5 * (a == b) for a in chosen for b in rest)
        return abs(wins - len(one) * len(other) / 2)

    own = distance(one)
    ways = [distance(chosen) for chosen in itertools.combinations(pooled, len(one))]
    return sum(way >= own for way in ways) / len(ways)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2, 3], [4, 5, 6, 7, 8]),
        ([1, 2, 6, 3, 4], [5, 7, 8, 9, 10]),
        ([1, 5, 9, 2, 8], [3, 4, 6, 7, 10]),
        ([1, 1, 2, 2, 3], [2, 3, 3, 4, 4]),
    ],
)
def test_the_rank_test_agrees_with_counting(one: list[float], other: list[float]) -> None:
    """The p-value is that of all divisions of the values, exactly without overlap and nearly with one."""
    assert rank_test(one, other) == pytest.approx(_exact_p_value(one, other), abs=0.03)
    assert rank_test(one, other) == rank_test(other, one)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=40))
def test_any_history_has_an_answer(logs: list[float]) -> None:
    """For any values the steps are in order, lie apart, and the answer does not depend on their direction."""
    found = find_changes(logs, _matters)
    edges = [0, *_places(found), len(logs)]
    assert edges == sorted(set(edges)) or len(logs) < MIN_RUNS
    mirrored = find_changes([-log for log in logs], _matters)
    assert _places(mirrored) == _places(found)
