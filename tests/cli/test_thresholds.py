"""Conditions that a load test must not meet."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.cli.thresholds import parse
from smartmob.errors import SettingsError


def _figures(**changes: Any) -> dict[str, Any]:
    figures = {
        **{"count": 1000, "errors": 15, "late": 0, "rate": 99.5, "min": 0.001, "avg": 0.02, "max": 2.5, "stdev": 0.1},
        "percentiles": {"50": 0.01, "99": 0.2, "99.9": 0.9},
    }
    return figures | changes


SUMMARY = {
    "timers": {"All transactions": _figures(), "log: in": _figures(avg=0.7), "empty": _figures(count=0)},
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
        ("nothing:avg>0.5s", "there are no figures of nothing"),
        ("empty:errors>1%", "there are no figures of empty"),
        ("p75>1ms", "not among the percentiles that are kept (p50, p99, p99.9)"),
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
    ],
)
def test_an_invalid_condition_is_refused_before_the_run(text: str, why: str) -> None:
    """The error shows the form of a condition."""
    with pytest.raises(SettingsError, match=why):
        parse(text)
