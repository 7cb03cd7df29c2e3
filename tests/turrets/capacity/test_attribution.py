"""The words of results."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.turrets.capacity.attribution import result_of, shown
from smartmob.turrets.capacity.model import SearchSettings, SearchStep
from smartmob.turrets.capacity.search import SearchOutcome

GIVEN: dict[str, Any] = {
    **{"conditions": ["p99<300ms", "errors<1%"], "start_rate": 10, "max_rate": 1_000, "growth": 2, "resolution": 0.05},
    **{"repeats": 3, "step_time": 10, "warm_up": 2, "cool_down": 2, "max_time": 900},
}


def _step(rate: float, outcome: Any, **further: Any) -> SearchStep:
    return SearchStep(run="r", rate=rate, achieved=rate, outcome=outcome, **further)


FOUND = SearchOutcome("found", 80, 84, "broken", 3, 3, (0.4385, 1.0))


@pytest.mark.parametrize(
    ("host", "cpu", "limit"),
    [
        (None, 97.0, "unknown, no machine named: give --target-host"),
        ("web1", 97.0, "the processors of web1: 97% busy at 84/s"),
        ("web1", 34.0, "not the processors of web1, 34% busy at 84/s: look at its locks, pools and what it calls"),
        ("web1", None, "unknown: web1 sent no sample during the steps"),
    ],
)
def test_the_machine_of_the_target_decides_whose_limit_it_is(host: str | None, cpu: float | None, limit: str) -> None:
    """It is told by the machine of the target, if that is named and reports."""
    steps = [_step(80, "held"), _step(84, "broken", target_cpu=cpu, reasons=["p99<300ms: it is 1 s"])]
    assert result_of(FOUND, SearchSettings(**GIVEN, target_host=host), steps).limit == limit


@pytest.mark.parametrize(
    ("finding", "reason", "words", "limit"),
    [
        (
            FOUND,
            "",
            "80/s met p99<300ms, errors<1% in 3 of 3 steps (95% confidence interval of that share: 44% to 100%); "
            "the target did not sustain 84/s",
            "unknown, no machine named",
        ),
        (
            SearchOutcome("generator", 80, 84, "saturated", 2, 3, (0.2, 0.9)),
            "",
            "the generator is the limit: at least 80/s met p99<300ms, errors<1% in 2 of 3 steps (95% confidence "
            "interval of that share: 20% to 90%); the generator could not fire 84/s",
            "the generator: too few",
        ),
        (
            SearchOutcome("generator", None, 10, "saturated", 0, 0, None),
            "",
            "the generator could not fire the lowest rate, 10/s",
            "the generator: its steps differ too much",
        ),
        (SearchOutcome("bound", 1_000, None, None, 3, 3, (0.4, 1.0)), "", "at least 1,000/s met", "none: the bound"),
        (
            SearchOutcome("not met", None, 10, "broken", 0, 0, None),
            "",
            "the lowest rate, 10/s, did not meet p99<300ms, errors<1%",
            "unknown, no machine named",
        ),
        (
            SearchOutcome("unfinished", 80, None, None, 1, 1, (0.2, 1.0)),
            "--max-time is over",
            "80/s met p99<300ms, errors<1% in 1 of 1 step (95% confidence interval of that share: 20% to 100%); "
            "the search ended early: --max-time is over",
            "unknown: no rate failed",
        ),
        (
            SearchOutcome("unfinished", 80, 84, "saturated", 1, 1, (0.2, 1.0)),
            "--max-time is over",
            "80/s met p99<300ms, errors<1% in 1 of 1 step (95% confidence interval of that share: 20% to 100%); "
            "the generator could not fire 84/s; the search ended early: --max-time is over",
            "the generator: too few cannons",
        ),
        (
            SearchOutcome("unfinished", None, None, None, 0, 0, None),
            "stopped by request",
            "no rate met p99<300ms, errors<1%: stopped by request",
            "unknown: no rate failed",
        ),
    ],
)
def test_each_ending_has_a_sentence(finding: SearchOutcome, reason: str, words: str, limit: str) -> None:
    """Each ending has a sentence that claims no more than what was seen."""
    steps = [_step(84, "saturated", reasons=["too few cannons"])]
    result = result_of(finding, SearchSettings(**GIVEN), steps, reason)
    assert result.words.startswith(words)
    assert result.limit.startswith(limit)


def test_rates_have_four_digits() -> None:
    """They have four digits, and whole numbers above ten thousand."""
    assert [shown(rate) for rate in (0.5, 10, 84.123, 1_234.5, 123_456.7)] == [
        *("0.5/s", "10/s", "84.12/s"),
        *("1,234/s", "123,457/s"),
    ]
