"""Conditions that a load test must not meet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.errors import SettingsError
from smartmob.turrets.conditions import abort_reason, parse, parse_all, planned, results_of
from smartmob.turrets.model import ConditionConfig


def _stats(**changes: Any) -> dict[str, Any]:
    stats = {
        **{"count": 1000, "errors": 15, "late": 0, "rate": 99.5, "min": 0.001, "avg": 0.02, "max": 2.5, "stdev": 0.1},
        "percentiles": {"50": 0.01, "99": 0.2, "99.9": 0.9},
    }
    return stats | changes


SUMMARY: dict[str, Any] = {
    "timers": {
        "All transactions": _stats(),
        "log: in": _stats(avg=0.7),
        "empty": _stats(count=0),
        "\u00e9": _stats(avg=0.7),
        "given": _stats(stdev=None),
        "mixed": _stats(count=20, errors=20),
        "failing": _stats(count=20, errors=20, min=None, avg=None, max=None, stdev=None, percentiles={}),
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
        ("nothing:avg>0.5s", "there are no statistics of nothing; timers of this run: All transactions, log: in"),
        ("empty:errors>1%", "there are no statistics of empty"),
        ("failing:p99>1ms", "all 20 failed, so there is no p99 of a success"),
        ("failing:avg<1h".replace("h", "m"), "all 20 failed, so there is no avg of a success"),
        ("given:stdev>1s", "given has no stdev in this run"),
        ("failing:errors>1%", "it is 100.00%"),
        ("mixed:p99>1s", "all 20 failed, so there is no p99 of a success"),
        ("All transactions:p99.90>0.5s", "it is 900.0 ms"),
        (" e\u0301 :avg>0.5s", "it is 700.0 ms"),
        ("untrusted", "with care"),
    ],
)
def test_a_condition_that_is_met_shows_the_value(text: str, said: str | None) -> None:
    """The text has the value; an undecided condition counts as met."""
    found = parse(text).violation(SUMMARY)
    assert (found is None) == (said is None)
    assert said is None or said in str(found)


def test_a_run_that_is_trusted() -> None:
    """It does not meet `untrusted`."""
    assert parse("untrusted").violation(SUMMARY | {"trust": {"verdict": "yes"}}) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not a condition"),
        ("fast", "is not a condition"),
        ("p99=200ms", "is not a condition"),
        ("p99>fast", "is not a condition"),
        ("speed>1", "is not a condition"),
        ("p99>200", "is a time; give it a unit"),
        ("avg>5%", "is a time; give it a unit"),
        ("errors>5ms", "errors is not a time"),
        ("rate>5%", "only errors and late"),
        ("p97>1ms", "percentiles are p50, p75, p80, p90, p95, p99, p99.9, p99.99$"),
        ("p100>1ms", "p100 is max"),
        ("p0>1ms", "p0 is min"),
        ("errors>100%", "can never be met"),
        ("errors>=200%", "can never be met"),
        ("page:late>1%", "can never be met: transactions start late"),
        ("p99<0ms", "can never be met"),
        ("count>=0", "is always met"),
        ("p99>200msec", "is not a condition"),
        ("p99>1e3ms", "is not a condition"),
        ("p1.2.3>1ms", "is not a condition"),
    ],
)
def test_what_is_no_condition(text: str, why: str) -> None:
    """The error says how to write one, before anything has been fired."""
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
    summary = SUMMARY | {"timers": SUMMARY["timers"] | {"All transactions": _stats(mixed=3)}}
    assert "do not state which timer failed" in str(parse("log: in:errors>1%").violation(summary))
    assert "it is 1.50%" in str(parse("errors>1%").violation(summary))


@pytest.mark.parametrize(
    ("text", "state", "said", "left"),
    [
        ("p99>500ms", "passed", "p99 200.0 ms <= 500.0 ms, 60% left", 0.6),
        ("p99>=160ms", "failed", "p99 200.0 ms >= 160.0 ms, 25% beyond", -0.25),
        ("errors>1%", "failed", "errors 1.50% > 1.00%, 50% beyond", -0.5),
        ("errors>0", "failed", "errors 15 > 0", None),
        ("avg>19.999ms", "failed", "avg 0.02 s > 20.0 ms, less than 1% beyond", -0.0001),
        ("rate<50", "passed", "rate 99.5 >= 50, 99% left", 0.99),
        ("log: in:avg>1.4s", "passed", "log: in: avg 700.0 ms <= 1.40 s, 50% left", 0.5),
        ("p99.9>1s", "passed", "p99.9 900.0 ms <= 1.00 s, 10% left, of only 985 values", 0.1),
        ("failing:p99>1s", "failed", "all 20 failed, so there is no p99 of a success", None),
        ("nothing:avg>1s", "failed", "there are no statistics of nothing; timers of this run: All transactions", None),
        ("untrusted", "failed", "untrusted: with care", None),
    ],
)
def test_the_distance_to_the_limit(text: str, state: str, said: str, left: float | None) -> None:
    """A result tells the value, the comparison, the share of the limit that is left, and few values."""
    found = parse(text).result(SUMMARY)
    assert (found.state, found.text[: len(said)]) == (state, said)
    assert found.left == (pytest.approx(left, abs=1e-3) if left is not None else None)


@given(
    value=st.floats(0, 1e6, allow_nan=False),
    limit=st.integers(1, 10**6),
    sign=st.sampled_from([">", ">=", "<", "<="]),
)
def test_the_distance_agrees_with_the_verdict(value: float, limit: int, sign: str) -> None:
    """A positive distance means passed, a negative one failed."""
    found = parse(f"rate{sign}{limit}").result({"timers": {"All transactions": _stats(rate=value)}})
    assert found.left is not None
    if found.left > 0:
        assert found.state == "passed"
    if found.left < 0:
        assert found.state == "failed"


@pytest.mark.parametrize(
    ("given_condition", "why"),
    [
        ({"condition": "p99>1s", "abort_after": 5.0}, 'abort_after needs "abort": true'),
        ({"condition": "untrusted", "abort": True}, "the verdict on a run is made at its end"),
        ({"condition": "count<1000", "abort": True}, "count grows until the end"),
        ({"condition": "min>1ms", "abort": True}, "min can still fall"),
    ],
)
def test_what_cannot_abort_a_run(given_condition: dict[str, Any], why: str) -> None:
    """The error names the source and the condition, before anything has been fired."""
    with pytest.raises(SettingsError, match=f"^config.json.*{given_condition['condition']}.*{why}"):
        planned([ConditionConfig(**given_condition)], "config.json: fail_if")


def test_a_limit_that_fails_and_one_that_aborts_are_no_repetition() -> None:
    """The lower one fails the run at its end, the higher one stops it."""
    both = planned(["p99>1s", ConditionConfig(condition="p99>5s", abort=True)], "fail_if")
    assert [(each.threshold.number, each.abort) for each in both] == [(1.0, False), (5.0, True)]


@pytest.mark.parametrize(
    ("text", "least"),
    [
        *(("p50>1s", 10), ("p99>1s", 100), ("p99.9>1s", 1000), ("p99.99>1s", 10_000), ("avg>1s", 10)),
        *(("errors>1%", 100), ("errors>50%", 10), ("errors>0", 1), ("errors>0%", 10), ("rate<5", 1)),
    ],
)
def test_how_many_values_it_takes_to_abort(text: str, least: int) -> None:
    """A single slow or failed transaction must not decide."""
    assert parse(text).least_samples() == least


def test_the_condition_that_aborted_is_told() -> None:
    """The stored reason of the run names it."""
    one, other = planned([ConditionConfig(condition="errors>1%", abort=True), "p99>1s"], "fail_if")
    found = results_of([one, other], SUMMARY, abort_reason(one, "errors 2.00% > 1.00%"))
    assert [(each.abort, each.aborted) for each in found] == [(True, True), (False, False)]
    assert not results_of([one], SUMMARY, "stopped by request")[0].aborted


def test_late_starts_of_an_import_cannot_be_evaluated() -> None:
    """Other tools do not write them, so that a count of 0 says nothing."""
    imported = SUMMARY | {"source": {"format": "k6 CSV"}}
    for text in ("late>1", "late>1%", "late<5"):
        found = parse(text).result(imported)
        assert (found.state, found.value) == ("failed", None)
        assert "cannot be evaluated" in found.text


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("http_req_duration:p(95)<500", "p95>=500ms"),
        ("http_req_duration{status:200}: p(99.9) <= 1000", "p99.9>1000ms"),
        ("p(95)<500", "p95>=500ms"),
        ("http_req_failed:rate<0.01", "errors>=1%"),
        ("http_req_duration:med<200", "p50>=200ms"),
        ("http_reqs:rate>100", "rate<=100"),
        ("http_req_duration:p95<2s", "p95>=2s"),
        ("p(95)>500", "p95>500ms"),
        ("http_req_failed:rate>0.1", "errors>10%"),
    ],
)
def test_a_threshold_of_k6_is_refused_with_what_to_write(text: str, own: str) -> None:
    """Its sense is the contrary of a condition here, and its numbers are milliseconds."""
    with pytest.raises(SettingsError) as found:
        parse(text)
    assert f"a threshold of k6 says what must hold, a condition here what must not: write {own!r}" in str(found.value)


def test_a_condition_that_fails_what_is_good_is_doubted() -> None:
    """One on a short time or few errors, and one on a high rate, with the contrary to write."""
    doubt = parse("login:p95<500ms").doubt()
    assert doubt == "'login:p95<500ms' fails a run whose p95 is lower; to fail the others, write 'login:p95>=500ms'"
    doubted = ("errors<=1%", "rate>100", "max<1s")
    assert all(parse(text).doubt() for text in doubted)
    fine = ("p95>500ms", "errors>1%", "errors>5", "rate<100", "count<1000", "count>1000", "untrusted", "late>1%")
    assert [text for text in fine if parse(text).doubt()] == []


@pytest.mark.parametrize(
    ("text", "own"), [("med>5ms", "p50>5ms"), (" login:mean > 5ms ", " login:avg > 5ms "), ("failures>1%", "errors>1%")]
)
def test_the_error_for_a_statistic_named_as_in_another_tool_has_our_name(text: str, own: str) -> None:
    """The condition is refused with the one to write, in the same sense."""
    with pytest.raises(SettingsError) as found:
        parse(text)
    assert str(found.value).endswith(f"is not a condition; write {own!r}")
