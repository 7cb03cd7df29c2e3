"""The evaluation of steps, from summaries as the service sends them."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.cli.capacity_options import parse_conditions
from smartmob.turrets.capacity.step_evaluation import StepLoad, cannons_needed, evaluate_step
from smartmob.turrets.model import ALL_TRANSACTIONS
from tests.turrets.capacity_summaries import summary

CONDITIONS = parse_conditions("p99<300ms,errors<1%")
LOAD = StepLoad(rate=100.0, seconds=10.0)


@pytest.mark.parametrize(
    ("given", "outcome", "reason"),
    [
        ({}, "held", ""),
        ({"p99": 0.4}, "broken", "p99<300ms: it is 400.0 ms"),
        # Less than 1 % of errors is allowed.
        ({"errors": 9, "error_texts": ((9, "503"),)}, "held", ""),
        ({"errors": 10, "error_texts": ((10, "503"),)}, "broken", "errors<1%: it is 1.00%"),
        # A target that sheds load answers the rest fast; one that fails at all has no latency.
        ({"errors": 600, "p99": 0.01, "error_texts": ((600, "503"),)}, "broken", "errors<1%: it is 60.00%"),
        ({"errors": 1_000, "error_texts": ((1_000, "503"),)}, "broken", "all 1,000 failed"),
        # The generator was busy, but all was fired in time.
        ({"member_busiest": 0.99, "member_lag": 0.7}, "held", ""),
        ({"member_busiest": 0.99, "p99": 0.4}, "saturated", "used 99% of a core"),
        ({"member_lag": 0.7, "p99": 0.4}, "saturated", "was blocked for up to 0.7 s"),
        # What the target says itself counts also then.
        ({"member_busiest": 0.99, "errors": 50, "error_texts": ((50, "429"),)}, "broken", "errors<1%"),
        ({"member_busiest": 0.99, "errors": 50, "error_texts": ((50, ""),)}, "saturated", "used 99% of a core"),
        # The ports, descriptors and memory of the generator's machine.
        ({"errors": 50, "error_texts": ((50, "EADDRNOTAVAIL"),)}, "saturated", "ran out of resources"),
        ({"errors": 5, "error_texts": ((5, "EMFILE"),)}, "saturated", "5 times EMFILE"),
        # The load was not the planned one, although the conditions held.
        ({"count": 900}, "saturated", "90.0/s were fired instead of 100.0/s"),
        ({"count": 1_100}, "saturated", "110.0/s were fired instead of 100.0/s"),
        ({"member_alive": False}, "saturated", "turret t was lost"),
        ({"member_status": "Aborted"}, "saturated", "turret t was lost"),
        ({"member_ours": False}, "saturated", "OCT"),
        ({"report_paused": 1.5}, "saturated", "had to pause"),
        ({"report_dropped": 3}, "saturated", "had to drop 3 results"),
        ({"state": "failed", "reason": "no turret was left"}, "saturated", "no turret was left"),
        # Cannons: 400 that are all busy at 100/s mean 4 s on average, which breaks p99<300ms; 20 mean only 0.2 s.
        ({"p99": 4.0, "count": 800, "report_never_started": 200}, "broken", "p99<300ms"),
        ({"p99": 4.0, "count": 800, "report_never_started": 200, "member_cannons": 20}, "saturated", "20 cannons"),
        ({"p99": 0.4, "report_late_starts": 300, "member_cannons": 20}, "saturated", "more cannons"),
        ({"count": 980, "report_never_started": 20, "member_cannons": 20}, "saturated", "more cannons"),
        # The machine of the turret, and another one.
        ({"p99": 0.4, "machines": [{"host": "m", "cpu_avg": 97.0, "fired": True}]}, "saturated", "processors of m"),
        ({"p99": 0.4, "machines": [{"host": "m", "cpu_avg": 97.0, "fired": False}]}, "broken", "p99<300ms"),
    ],
)
def test_a_step_has_an_outcome_with_its_reason(given: dict[str, Any], outcome: str, reason: str) -> None:
    """The outcome of a step, with the reason."""
    step = evaluate_step(summary(**given), LOAD, CONDITIONS)
    assert step.outcome == outcome, step.reasons
    assert reason in "; ".join(step.reasons)
    assert bool(step.reasons) == (outcome != "held")


def test_the_load_of_a_warm_up_belongs_to_the_fired_load() -> None:
    """The statistics leave it out, but its transactions were started."""
    step = evaluate_step(summary(count=800, report_transactions=1_000), LOAD, CONDITIONS)
    assert (step.outcome, step.achieved, step.transactions) == ("held", 100.0, 800)


def test_the_processors_of_the_target() -> None:
    """They are those of the named machine, whatever domain the name has."""
    machines = [{"host": "web1.example.com", "cpu_avg": 97.0, "fired": False}]
    assert evaluate_step(summary(machines=machines), LOAD, CONDITIONS, "WEB1").target_cpu == 97.0
    assert evaluate_step(summary(machines=machines), LOAD, CONDITIONS, "web2").target_cpu is None
    assert evaluate_step(summary(machines=machines), LOAD, CONDITIONS).target_cpu is None


def test_a_timer_that_does_not_occur() -> None:
    """Its condition does not hold, and the reason names the timers that there are."""
    step = evaluate_step(summary(), LOAD, parse_conditions("logn:p99<1s"))
    assert step.outcome == "broken"
    assert f"there are no statistics of logn; timers of this run: {ALL_TRANSACTIONS}" in step.reasons[0]


def test_needed_cannons_are_the_rate_times_the_duration() -> None:
    """They are the rate times the time of a transaction."""
    assert cannons_needed(1_000, 0.3) == 300
