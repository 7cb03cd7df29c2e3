"""The options of a search: conditions that have to hold, and bounds."""

from __future__ import annotations

import click
import pytest

from smartmob.cli import capacity_options
from smartmob.cli.capacity_options import parse_conditions
from smartmob.errors import InvalidInput, SettingsError
from tests.turrets.capacity_summaries import summary

NONE = dict.fromkeys(capacity_options._FURTHER)


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("p99<300ms,errors<1%", ["p99<300ms", "errors<1%"]),
        # A condition on errors is added.
        ("p99<300ms", ["p99<300ms", "errors<1%"]),
        (" p99 <= 0.3s , login:errors<5% ", ["p99 <= 0.3s", "login:errors<5%", "errors<1%"]),
        ("errors<=0", ["errors<=0"]),
        ("late<5%,errors<50%", ["late<5%", "errors<50%"]),
        ("search, all:p95<1s,max<2s", ["search, all:p95<1s", "max<2s", "errors<1%"]),
        ("a<b:avg<1s", ["a<b:avg<1s", "errors<1%"]),
    ],
)
def test_conditions_are_separated_by_commas(text: str, conditions: list[str]) -> None:
    """They are separated by commas, which may stand in the name of a timer, too."""
    assert [each.text for each in parse_conditions(text)] == conditions


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a condition; write 'p99<300ms'"),
        ("p99", "is not a condition; write 'p99<300ms'"),
        ("p99=300ms", "is not a condition; write 'p99<300ms'"),
        ("p99<300ms,", "is not a condition"),
        ("p99>300ms", "give the condition to be met, with <, such as 'p99<300ms'"),
        ("p99<300", "'p99<300': p99 is a time; give it a unit (us, ms, s, m)"),
        ("p97<1s", "'p97<1s': percentiles are p50, p75"),
        ("p100<1s", "p100 is max"),
        ("errors<0%", "can never be met"),
        ("errors<=100%", "is always met"),
        ("rate<100", "rate follows from the rate that is searched for"),
        ("count<=100", "count follows from the rate that is searched for"),
        ("speed<1s", "'speed<1s' is not a condition"),
        ("http_req_duration:p(95)<500", "p(95)<500' is not a condition; write 'p99<300ms'"),
        ("p99<1s,p99<=2s", "'p99<=2s' repeats 'p99<1s': give one of them"),
    ],
)
def test_wrong_conditions_are_refused(text: str, reason: str) -> None:
    """In one line that names the option and not another one."""
    with pytest.raises(SettingsError) as refused:
        parse_conditions(text)
    message = str(refused.value)
    assert message.startswith("--find-capacity ")
    assert reason in message
    assert "--fail-if" not in message
    assert ">=" not in message


def test_a_condition_is_about_a_latency_or_about_errors() -> None:
    """The evaluation of a step depends on that."""
    latency, errors = parse_conditions("p99<300ms,errors<1%")
    assert (latency.seconds, latency.errors) == (0.3, False)
    assert (errors.seconds, errors.errors) == (None, True)
    (part, _) = parse_conditions("login:errors<1%")
    assert (part.seconds, part.errors) == (None, False)
    assert latency.breach(summary(p99=0.4)) == "p99<300ms: it is 400.0 ms"
    assert latency.breach(summary(p99=0.2)) is None
    assert latency.breach(summary(p99=0.3)) == "p99<300ms: it is 300.0 ms"


def test_options_have_defaults_and_units() -> None:
    """Durations, shares and rates may have units."""
    found = capacity_options.options("p99<1s", NONE)
    assert found is not None
    assert (found.bounds.lowest, found.bounds.highest, found.bounds.resolution) == (10, 10_000, 0.05)
    assert (found.bounds.repeats, found.step_seconds, found.settings.max_time) == (3, 12, 900)
    given = {"start_rate": "2.5/s", "step_time": "2m", "step_warm_up": "0", "resolution": "0.1", "target_host": "web1"}
    found = capacity_options.options("p99<1s", NONE | given)
    assert found is not None
    assert (found.bounds.lowest, found.bounds.resolution, found.step_seconds) == (2.5, 0.1, 120)
    assert found.settings.target_host == "web1"


def test_options_of_a_search_need_one() -> None:
    """An option that would change nothing is refused."""
    assert capacity_options.options(None, NONE) is None
    with pytest.raises(click.UsageError, match="--max-rate needs --find-capacity"):
        capacity_options.options(None, NONE | {"max_rate": "5"})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"start_rate": "0"}, "--start-rate must be above 0"),
        ({"start_rate": "20", "max_rate": "10"}, "not above --max-rate"),
        ({"max_rate": "many"}, "--max-rate 'many' is not a number"),
        ({"max_rate": "-5"}, "--max-rate '-5' is not a number"),
        ({"max_rate": "nan"}, "--max-rate 'nan' is not a number"),
        ({"max_rate": "1e8"}, "--max-rate: Expected `float` <= "),
        ({"growth": "1"}, "--growth: Expected `float` > 1"),
        ({"growth": "1.01"}, "--growth must be at least 1.05"),
        ({"repeats": "2.5"}, "--repeats: Expected `int`"),
        ({"repeats": "0"}, "--repeats: Expected `int` >= 1"),
        ({"resolution": "0"}, "--resolution must be from 0.1%"),
        ({"resolution": "100%"}, "--resolution must be"),
        ({"resolution": "fine"}, "--resolution 'fine' is not a share such as 5%"),
        ({"resolution": "nan"}, "--resolution"),
        ({"step_time": "10"}, "--step-time 10: expected a duration"),
        ({"step_time": "0.5s"}, "--step-time must be at least 1s"),
        ({"step_time": "20h", "step_warm_up": "5h"}, "not be longer than 24h"),
        ({"max_time": "x"}, "--max-time x: expected a duration"),
        ({"start_rate": "0.001", "growth": "1.05"}, "more than 1,000 steps"),
    ],
)
def test_wrong_options_are_refused(given: dict[str, str], reason: str) -> None:
    """In one line, before anything is fired."""
    with pytest.raises((SettingsError, InvalidInput)) as refused:
        capacity_options.options("p99<1s", NONE | given)
    assert reason in str(refused.value)
