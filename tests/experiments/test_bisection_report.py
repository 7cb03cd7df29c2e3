"""Answers on commits, from the verdicts of experiments."""

from __future__ import annotations

import math

import pytest

from smartmob.experiments.bisection_report import half_way, is_changed, measured_ratio
from smartmob.experiments.model import VerdictOnTest
from tests.experiments.verdicts import by_clock, by_instructions

SLOWER, FASTER, MORE = by_clock("slower", 2.0), by_clock("faster", 0.5), by_instructions("slower", 1.5)


@pytest.mark.parametrize(
    ("found", "ends", "answer"),
    [
        (by_clock("slower", 1.9), SLOWER, True),
        (by_clock("slower", 1.1), SLOWER, False),  # another commit made it slower by a little
        (by_clock("faster", 0.5), SLOWER, False),
        (by_clock("same", 1.0), SLOWER, False),
        (by_clock("undecided", 1.9), SLOWER, None),
        (by_clock("unfit", None), SLOWER, None),
        (by_clock("faster", 0.6), FASTER, True),
        (by_clock("slower", 2.0), FASTER, False),
        (by_instructions("slower", 1.4), MORE, True),
        (by_instructions("slower", 1.02, clock_ratio=1.9), MORE, False),
    ],
)
def test_a_commit_is_changed_from_half_of_the_difference_on(
    found: VerdictOnTest, ends: VerdictOnTest, answer: bool | None
) -> None:
    """The witness that decided is the one whose ratio counts, in the direction of the ends."""
    assert is_changed(found, ends) is answer


def test_half_way_is_that_of_the_witness() -> None:
    """A ratio of 4 is half way at 2, of the time or of the instructions."""
    assert half_way(by_clock("slower", 4.0)) == pytest.approx(math.log(2))
    assert half_way(by_instructions("slower", 4.0)) == pytest.approx(math.log(2))
    assert measured_ratio(by_clock("same", None), "instructions") is None
