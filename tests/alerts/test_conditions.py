"""The grammar of conditions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.alerts.conditions import (
    Condition,
    DatabaseLost,
    JobFailed,
    LoadTestFailed,
    ProcessCrashing,
    Regression,
    Silent,
    Threshold,
    family,
    parse,
    seconds_of,
)
from smartmob.alerts.state_machine import Timing
from smartmob.errors import InvalidInput
from smartmob.hosts.fields import NAMES


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("silent for 5m", Silent(300.0, Timing())),
        ("silent for 90s recover 1m", Silent(90.0, Timing(0.0, 60.0))),
        ("cpu > 90", Threshold("cpu", ">", 90.0, 90.0, Timing())),
        ("cpu>90% for 5m", Threshold("cpu", ">", 90.0, 90.0, Timing(300.0, 300.0))),
        ("cpu >= 90 % for 1h30m clear 80", Threshold("cpu", ">=", 90.0, 80.0, Timing(5400.0, 5400.0))),
        ("load > 4.5 for 10m recover 1m", Threshold("load", ">", 4.5, 4.5, Timing(600.0, 60.0))),
        ("mem > 8GiB", Threshold("mem", ">", 8192.0, 8192.0, Timing())),
        ("mem > 8 GiB", Threshold("mem", ">", 8192.0, 8192.0, Timing())),
        ("mem > 6000", Threshold("mem", ">", 6000.0, 6000.0, Timing())),
        ("net_received > 10MB/s", Threshold("net_received", ">", 1e7, 1e7, Timing())),
        ("temperature > 85", Threshold("temperature", ">", 85.0, 85.0, Timing())),
        ("temperature.cpu > 85C for 1m", Threshold("temperature.cpu", ">", 85.0, 85.0, Timing(60.0, 60.0))),
        ("service.free < 5GB clear 6GB", Threshold("service.free", "<", 5e9, 6e9, Timing())),
        ("regression", Regression(0.0)),
        ("regression by 10%", Regression(0.1)),
        ("load test failed", LoadTestFailed()),
        ("load test errors > 5%", LoadTestFailed(0.05)),
        ("process  crashing", ProcessCrashing()),
        ("job failed", JobFailed()),
        ("database lost", DatabaseLost()),
        ("database lost for 30s", DatabaseLost(30.0)),
    ],
)
def test_a_condition_is_read(text: str, condition: Condition) -> None:
    """Each form is read with its units and times; a threshold recovers for as long as it is pending by default."""
    assert parse(text) == condition


@pytest.mark.parametrize("field", NAMES)
def test_every_field_of_a_sample_has_thresholds(field: str) -> None:
    """A field that is added to the samples can be used at once."""
    assert parse(f"{field} > 1 for 1m") == Threshold(field, ">", 1.0, 1.0, Timing(60.0, 60.0))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a condition at the end"),
        ("cpu", "expected one of > >= < <= at the end"),
        ("cpu = 90", "expected one of > >= < <= after cpu, got '='"),
        ("cpu > ninety", "expected a number, got 'ninety'"),
        ("cpu > -5", "expected a number, got '-5'"),
        ("cpu > nan", "expected a number"),
        ("cpu > 90 for", "expected a duration such as 5m at the end"),
        ("cpu > 90 for 5", "expected a duration such as 30s, 5m, 1h30m or 1d, got '5'"),
        ("cpu > 90 for 5 m", "expected a duration"),
        ("cpu > 90 for 5m please", "did not expect 'please'"),
        ("cpu > 90 clear 95", "must be on the good side of cpu > 90"),
        ("service.free < 5GB clear 4GB", "must be on the good side"),
        ("cpu > 90GB", "cpu has no unit 'GB'"),
        ("mem > 90%", "mem is a size: expected one of the units B, kB, MB"),
        ("CPU > 90", "there is no field 'CPU'"),
        ("disk > 90", "there is no field 'disk' (cpu, mem, storage"),
        ("silent", "expected `for` and a duration after `silent`"),
        ("silent for 0s", "expected a duration from 1s to 30d"),
        ("silent for 31d", "expected a duration from 1s to 30d"),
        ("regression by 10", "expected a percentage such as 10%"),
        ("load test", "after load, got 'test'"),
    ],
)
def test_a_text_that_is_no_condition_says_what_was_expected(text: str, reason: str) -> None:
    """The message names the place and shows examples."""
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert "$.condition: " in str(caught.value) and "silent for 5m" in str(caught.value)
    assert reason in str(caught.value)


@given(st.text(max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Any text is read or refused."""
    try:
        parse(text)
    except InvalidInput:
        return


def test_a_limit_is_exclusive_and_the_clearing_value_is_not() -> None:
    """`> 90 clear 80` fires above 90 and resolves at 80; `< 5` fires below 5."""
    above = parse("cpu > 90 clear 80")
    below = parse("service.free < 5GB")
    assert isinstance(above, Threshold) and isinstance(below, Threshold)
    assert [above.is_bad(value) for value in (90.0, 90.1)] == [False, True]
    assert [above.is_good(value) for value in (90.0, 80.1, 80.0)] == [False, False, True]
    assert (below.is_bad(5e9), below.is_bad(4e9), below.is_good(5e9)) == (False, True, True)


def test_seconds_of_a_duration() -> None:
    """Units add up, and a text without a unit is no duration."""
    assert [seconds_of(text) for text in ("1d", "1h30m", "0.5s")] == [86_400.0, 5_400.0, 0.5]
    with pytest.raises(ValueError, match="5"):
        seconds_of("5")


def test_an_alert_is_kept_for_a_condition_of_the_same_family() -> None:
    """Another limit of a figure goes on with the same alert, another figure does not."""
    assert family(parse("cpu > 90")) == family(parse("cpu > 95 for 5m"))
    assert len({family(parse(text)) for text in ("cpu > 90", "mem > 90", "silent for 5m", "job failed")}) == 4
