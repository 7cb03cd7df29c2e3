"""The search machine: against targets that hold, break, and are noisy."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.turrets.capacity.search import CapacitySearch, Outcome, SearchBounds, SearchOutcome, decision

OUTCOMES = st.sampled_from(("held", "broken", "saturated"))


def search(bounds: SearchBounds, fire: Callable[[float], Outcome]) -> tuple[SearchOutcome, list[float]]:
    """Return the finding of a search in which `fire` gives the outcome of each step, and the rates of its steps."""
    found, rates = CapacitySearch(bounds), []
    while (rate := found.rate) is not None:
        rates.append(rate)
        found.add(fire(rate))
    return found.finding(), rates


def breaks_above(capacity: float, outcome: Outcome = "broken") -> Callable[[float], Outcome]:
    """Return a target that holds each rate up to a capacity."""
    return lambda rate: "held" if rate <= capacity else outcome


def mm1_p99(rate: float, service_rate: float) -> float:
    """Return the 99th percentile of the time in an M/M/1 queue: it is exponential with the rate difference."""
    return math.log(100) / (service_rate - rate) if rate < service_rate else math.inf


@pytest.mark.parametrize("capacity", [10, 11, 99.5, 640, 1234.5, 9_999])
def test_the_bracket_contains_the_capacity(capacity: float) -> None:
    """Without noise, the rates that held and did not are around the capacity, within the resolution."""
    finding, _ = search(SearchBounds(10, 10_000), breaks_above(capacity))
    assert finding.ending == "found"
    assert finding.held is not None
    assert finding.refused is not None
    assert finding.held <= capacity < finding.refused <= finding.held * 1.0501
    assert (finding.holds, finding.steps) == (3, 3)


def test_the_capacity_of_a_queue_by_its_latency() -> None:
    """For p99<300ms at an M/M/1 queue that serves 100/s it is 100 - ln(100) / 0.3, which is 84.6/s."""
    finding, _ = search(SearchBounds(10, 10_000), lambda rate: "held" if mm1_p99(rate, 100) < 0.3 else "broken")
    assert finding.held is not None
    assert 84.65 / 1.05 <= finding.held <= 84.65


def test_a_noisy_limited_server() -> None:
    """With a p99 that differs by 10 % from step to step, the rate is within a fifth of the true one in 95 of 100."""
    random_numbers, near = random.Random(1), 0
    for _ in range(200):
        finding, _ = search(
            SearchBounds(10, 10_000),
            lambda rate: "held" if mm1_p99(rate, 100) * random_numbers.gauss(1, 0.1) < 0.3 else "broken",
        )
        near += finding.held is not None and 68 <= finding.held <= 101
    assert near >= 190


def test_one_unlucky_step_decides_nothing() -> None:
    """A step that did not hold is repeated, and the search goes on as if it had held."""
    seen: list[float] = []

    def fire(rate: float) -> Outcome:
        seen.append(rate)
        return "broken" if seen.count(20) == 1 and rate == 20 else breaks_above(300)(rate)

    finding, rates = search(SearchBounds(10, 1_000), fire)
    assert rates[:5] == [10, 20, 20, 20, 40]
    assert finding.held is not None
    assert finding.held > 280


def test_a_lucky_step_is_not_reported() -> None:
    """A rate that held once, by chance, does not hold when it is confirmed: the next lower one is reported."""
    lucky = iter([True])

    def fire(rate: float) -> Outcome:
        return "held" if rate <= 100 or (rate == 160 and next(lucky, False)) else "broken"

    finding, _ = search(SearchBounds(10, 1_000), fire)
    assert finding.held is not None
    assert finding.held <= 100
    assert finding.refused is not None
    assert finding.refused <= 160


def test_nothing_above_the_bound_is_fired() -> None:
    """If each rate holds, the search ends at the bound and says so."""
    finding, rates = search(SearchBounds(10, 150), lambda _: "held")
    assert rates == [10, 20, 40, 80, 150, 150, 150]
    assert (finding.ending, finding.held, finding.refused) == ("bound", 150, None)


def test_the_lowest_rate_does_not_hold() -> None:
    """It is repeated once, and the search ends."""
    finding, rates = search(SearchBounds(10, 150), lambda _: "broken")
    assert (rates, finding.ending, finding.held, finding.confidence) == ([10, 10], "not met", None, None)


def test_the_generator_is_the_limit() -> None:
    """No capacity is reported, only the highest rate that the generator could fire."""
    finding, _ = search(SearchBounds(10, 10_000), breaks_above(300, "saturated"))
    assert (finding.ending, finding.limit) == ("generator", "saturated")
    assert finding.held is not None
    assert 285 <= finding.held <= 300


def test_the_target_breaks_below_the_limit_of_the_generator() -> None:
    """A first step at which the generator was at its limit does not hide the capacity of the target."""
    finding, _ = search(
        SearchBounds(10, 10_000), lambda rate: "saturated" if rate >= 160 else "held" if rate < 110 else "broken"
    )
    assert finding.ending == "found"
    assert finding.held is not None
    assert 104 <= finding.held < 110


def test_a_search_that_is_ended_before_has_its_result_so_far() -> None:
    """The highest rate that held is known, and that the search did not end."""
    machine = CapacitySearch(SearchBounds(10, 1_000))
    assert machine.finding() == SearchOutcome("unfinished", None, None, None, 0, 0, None)
    machine.add("held")
    machine.add("held")
    finding = machine.finding()
    assert (finding.ending, finding.held, finding.holds, finding.steps) == ("unfinished", 20, 1, 1)


@pytest.mark.parametrize(
    ("outcomes", "decided"),
    [
        (["held"], "held"),
        (["broken"], None),
        (["broken", "broken"], "broken"),
        (["broken", "held"], None),
        (["broken", "held", "held"], "held"),
        (["saturated", "saturated"], "saturated"),
        (["broken", "saturated", "held"], "saturated"),
        (["broken", "saturated", "broken"], "broken"),
    ],
)
def test_two_equal_outcomes_decide(outcomes: list[Outcome], decided: Outcome | None) -> None:
    """Three different ones cannot be believed."""
    assert decision(outcomes) == decided


BOUNDS = st.builds(
    lambda lowest, factor, growth, resolution, repeats: SearchBounds(
        lowest, lowest * factor, growth, resolution, repeats
    ),
    st.floats(0.01, 1e4),
    st.floats(1, 1e4),
    st.floats(1.05, 20),
    st.floats(0.005, 0.9),
    st.integers(1, 9),
)


@given(BOUNDS, st.data())
def test_a_search_ends_within_its_bounds_whatever_the_target_does(bounds: SearchBounds, data: st.DataObject) -> None:
    """No rate is outside of the bounds, the number of steps is bounded, and the result belongs to the steps."""
    outcomes: dict[float, list[Outcome]] = {}

    def fire(rate: float) -> Outcome:
        assert bounds.lowest <= rate <= bounds.highest
        outcome: Outcome = data.draw(OUTCOMES)
        outcomes.setdefault(rate, []).append(outcome)
        return outcome

    finding, rates = search(bounds, fire)
    assert len(rates) <= bounds.most_steps
    assert finding.ending != "unfinished"
    if finding.held is not None:
        assert outcomes[finding.held].count("held") == finding.holds > finding.steps / 2
        assert finding.steps == len(outcomes[finding.held]) >= bounds.repeats
        assert finding.refused is None or finding.refused > finding.held


@given(BOUNDS, st.floats(0.5, 2e4))
def test_the_result_of_a_monotone_target_is_right(bounds: SearchBounds, factor: float) -> None:
    """The bracket contains the capacity, and is as narrow as the resolution."""
    capacity = bounds.lowest * factor
    finding, _ = search(bounds, breaks_above(capacity))
    if capacity < bounds.lowest:
        assert finding.ending == "not met"
    elif capacity >= bounds.highest:
        assert (finding.ending, finding.held) == ("bound", bounds.highest)
    else:
        assert finding.held is not None
        assert finding.refused is not None
        assert finding.held <= capacity < finding.refused <= finding.held * (1 + bounds.resolution) * 1.001


@pytest.mark.parametrize("wrong", [(0, 1), (2, 1), (1, 2, 1.0), (1, 2, 2, 0.0), (1, 2, 2, 0.1, 0)])
def test_wrong_bounds_are_refused(wrong: tuple[float, ...]) -> None:
    """They could not be searched within."""
    with pytest.raises(ValueError, match="must be"):
        SearchBounds(*wrong)  # type: ignore[arg-type]  # the number of repeats is an integer in each of them
