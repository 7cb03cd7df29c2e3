"""Conditions that a load test must not meet."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.cli.thresholds import parse, parse_all
from smartmob.errors import SettingsError


def _figures(**changes: Any) -> dict[str, Any]:
    figures = {
        **{"count": 1000, "errors": 15, "late": 0, "rate": 99.5, "min": 0.001, "avg": 0.02, "max": 2.5, "stdev": 0.1},
        "percentiles": {"50": 0.01, "99": 0.2, "99.9": 0.9},
    }
    return figures | changes


SUMMARY: dict[str, Any] = {
    "timers": {
        "All transactions": _figures(),
        "log: in": _figures(avg=0.7),
        "empty": _figures(count=0),
        "\u00e9": _figures(avg=0.7),
        "mixed": _figures(count=20, errors=20),
        "failing": _figures(count=20, errors=20, min=None, avg=None, max=None, stdev=None, percentiles={}),
    },
    "trust": {"verdict": "with care"},
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p99>199ms", "it is 200.0 ms"),
        ("p99>200ms", None),
        ("p99>=200ms", "it is 200.0 ms"),
        ("p99.9>0.5s", "it is 900.0 ms"),
        ("p50>9999us", "it is 10.0 ms"),
        ("max>1m", None),
        ("errors>1%", "it is 1.50%"),
        ("errors>1.5%", None),
        ("errors>14", "it is 15"),
        ("rate<100", "it is 99.5"),
        ("transactions<1000", None),
        ("count <= 1000", "it is 1,000"),
        ("log: in:avg>0.5s", "it is 700.0 ms"),
        ("avg>0.5s", None),
        ("nothing:avg>0.5s", "there are no figures of nothing; timers of this run: All transactions, log: in"),
        ("empty:errors>1%", "there are no figures of empty"),
        ("failing:p99>1ms", "all 20 failed, so there is no p99 of a success"),
        ("failing:avg<1h".replace("h", "m"), "all 20 failed, so there is no avg of a success"),
        ("failing:errors>1%", "it is 100.00%"),
        ("mixed:p99>1s", "all 20 failed, so there is no p99 of a success"),
        ("All transactions:p99.90>0.5s", "it is 900.0 ms"),
        (" e\u0301 :avg>0.5s", "it is 700.0 ms"),
        ("untrusted", "with care"),
    ],
)
def test_a_condition_that_is_met_or_unknown_is_reported(text: str, said: str | None) -> None:
    """The text has the figure; an unknown figure counts as met."""
    found = parse(text).violation(SUMMARY)
    assert (found is None) == (said is None)
    assert said is None or said in str(found)


def test_a_run_that_is_trusted() -> None:
    """It does not meet `untrusted`."""
    assert parse("untrusted").violation(SUMMARY | {"trust": {"verdict": "yes"}}) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no condition"),
        ("fast", "is no condition"),
        ("p99=200ms", "is no condition"),
        ("p99>fast", "is no condition"),
        ("speed>1", "is no condition"),
        ("p99>200", "is a time; give it a unit"),
        ("avg>5%", "is a time; give it a unit"),
        ("errors>5ms", "errors is no time"),
        ("rate>5%", "only errors and late"),
        ("p97>1ms", "percentiles are p50, p75, p80, p90, p95, p99, p99.9, p99.99$"),
        ("p100>1ms", "p100 is max"),
        ("p0>1ms", "p0 is min"),
        ("errors>100%", "can never be met"),
        ("errors>=200%", "can never be met"),
        ("p99<0ms", "can never be met"),
        ("count>=0", "is always met"),
        ("p99>200msec", "is no condition"),
        ("p99>1e3ms", "is no condition"),
        ("p1.2.3>1ms", "is no condition"),
    ],
)
def test_an_invalid_condition_is_refused_before_the_run(text: str, why: str) -> None:
    """The error shows the form of a condition."""
    with pytest.raises(SettingsError, match=why):
        parse(text)


@pytest.mark.parametrize(
    "texts",
    [
        ("p99>1s", "p99>2s"),
        ("p99>1s", "p99.0 >= 1000ms"),
        ("count<10", "transactions<10"),
        ("errors>1%", "All transactions:errors>2%"),
        ("untrusted", "untrusted"),
    ],
)
def test_two_conditions_on_the_same_are_refused(texts: tuple[str, ...]) -> None:
    """One of them would never decide."""
    with pytest.raises(SettingsError, match="repeats"):
        parse_all(texts)


def test_a_range_and_other_timers_are_no_repetition() -> None:
    """A statistic may have a lowest and a highest value, a count and a share, and each timer its own."""
    assert len(parse_all(("p99>1s", "p99<1ms", "errors>1%", "errors>5", "login:p99>1s"))) == 5


def test_errors_of_a_timer_that_turrets_do_not_tell() -> None:
    """Turrets of an earlier version count errors of transactions only, so 0 errors of a timer mean nothing."""
    summary = SUMMARY | {"timers": SUMMARY["timers"] | {"All transactions": _figures(mixed=3)}}
    assert "do not tell which timer failed" in str(parse("log: in:errors>1%").violation(summary))
    assert "it is 1.50%" in str(parse("errors>1%").violation(summary))
