"""The start times of cannons and of transactions of the open model."""

from __future__ import annotations

import itertools
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.errors import InvalidInput
from smartmob.turrets.turret.schedule import Arrivals, Stage, rampup

STAGES = st.lists(
    st.tuples(st.floats(0.1, 20), st.floats(0, 50), st.floats(0, 50)).map(lambda t: tuple(round(v, 2) for v in t)),
    min_size=1,
    max_size=4,
)


def _stages(text: str) -> list[Stage]:
    return msgspec.json.decode(text, type=list[Stage])


def test_cannons_start_evenly_over_the_rampup() -> None:
    """Without a rampup all start at once."""
    assert [rampup(index, 4, 10) for index in range(4)] == [0, 2.5, 5, 7.5]
    assert [rampup(index, 3, 0) for index in range(3)] == [0, 0, 0]


class TestArrivals:
    """The intended starts of the open model."""

    def test_a_steady_rate_is_even(self) -> None:
        """The first arrival is at the start."""
        assert list(itertools.islice(Arrivals.of(4).from_index(0), 5)) == [0, 0.25, 0.5, 0.75, 1.0]

    def test_stages_follow_each_other(self) -> None:
        """Each stage begins where the one before has ended; the last rate goes on."""
        made = Arrivals.of(_stages('[{"seconds": 1, "rate": 2}, {"seconds": 1, "rate": 4}]'))
        assert list(itertools.islice(made.from_index(0), 8)) == [0, 0.5, 1, 1.25, 1.5, 1.75, 2, 2.25]

    def test_a_ramp_accelerates(self) -> None:
        """From 0 to 10 in 10 seconds, 50 are due, half of them in the last three seconds."""
        made = Arrivals.of(_stages('[{"seconds": 10, "from": 0, "to": 10}, {"rate": 0}]'))
        times = list(made.from_index(0))
        assert len(times) == 50
        assert times[:3] == [0, pytest.approx(math.sqrt(2)), 2]
        assert sum(time > 7.07 for time in times) == 25

    def test_a_stage_without_arrivals_is_a_pause(self) -> None:
        """The plan goes on after it."""
        made = Arrivals.of(_stages('[{"seconds": 1, "rate": 2}, {"seconds": 5, "rate": 0}, {"rate": 1}]'))
        assert list(itertools.islice(made.from_index(0), 4)) == [0, 0.5, 6, 7]

    @given(STAGES)
    def test_arrivals_follow_the_integral_of_the_rate(self, stages: list[tuple[float, float, float]]) -> None:
        """Times only grow, and up to any time there are as many as the area below the rate."""
        made = Arrivals(stages)
        times = list(itertools.islice(made.from_index(0), 300))
        assert times == sorted(times)
        for index, time in enumerate(times):
            assert abs(_area(stages, time) - index) < 1e-3
            assert made.due(time - 1e-4) <= index
            assert made.due(time + 1e-3) >= index or _area(stages, time + 1e-3) - index < 1e-6

    @given(STAGES, st.integers(1, 5))
    def test_the_shares_of_processes_make_the_whole(
        self, stages: list[tuple[float, float, float]], processes: int
    ) -> None:
        """The arrivals of several processes are those of one."""
        made = Arrivals(stages)
        whole = list(itertools.islice(made.from_index(0), 60))
        parts = [list(itertools.islice(made.from_index(index, processes), 60)) for index in range(processes)]
        assert sorted(itertools.chain(*parts))[: len(whole)] == pytest.approx(whole)

    @pytest.mark.parametrize(
        ("text", "where"),
        [
            ("[]", r"\$\.rate:"),
            ('[{"rate": 1}, {"rate": 2}]', r"\$\.rate\[0\]"),
            ('[{"seconds": 1}]', r"\$\.rate\[0\]"),
            ('[{"seconds": 1, "from": 1}]', r"\$\.rate\[0\]"),
            ('[{"from": 1, "to": 2}]', r"\$\.rate\[0\]"),
            ('[{"seconds": 1, "rate": 1, "to": 2}]', r"\$\.rate\[0\]"),
        ],
    )
    def test_an_invalid_stage_is_named(self, text: str, where: str) -> None:
        """The error names the stage."""
        with pytest.raises(InvalidInput, match=where):
            Arrivals.of(_stages(text))


def _area(stages: list[tuple[float, float, float]], time: float) -> float:
    """Return how many are due by the rates, step by step."""
    area = 0.0
    for seconds, first, last in stages:
        inside = min(max(time, 0.0), seconds)
        area += inside * (first + (first + (last - first) * inside / seconds)) / 2
        time -= seconds
    return area + max(time, 0.0) * stages[-1][2]
