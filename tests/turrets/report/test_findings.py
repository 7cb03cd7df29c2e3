"""The findings: sums of slices are exact within the precision of the histograms, over time and in total."""

from __future__ import annotations

import math
import random
import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.turrets.model import ALL_TRANSACTIONS, ErrorText
from smartmob.turrets.protocol import ErrorKind
from smartmob.turrets.report.findings import MOST_ERROR_TEXTS, MOST_POINTS, Findings, heat_bound, heat_row
from tests.turrets.messages import slice_of


def _found(*slices: object, duration: float = 10.0, interval: float = 5.0) -> Findings:
    findings = Findings(duration, interval)
    findings.add(slices)
    findings.close()
    return findings


def test_percentiles_of_many_slices_are_those_of_all_values() -> None:
    """It does not matter how values are spread over seconds and slices."""
    random.seed(7)
    values = [random.lognormvariate(-4, 1) for _ in range(20_000)]
    findings = _found(*(slice_of(number // 4, values[number::40]) for number in range(40)))
    own = findings.stats("")
    exact = sorted(values)
    assert (own.count, own.min, own.max) == (20_000, exact[0], exact[-1])
    assert own.avg == pytest.approx(statistics.fmean(values))
    assert own.stdev == pytest.approx(statistics.pstdev(values), rel=1e-6)
    for share, value in own.percentiles.items():
        assert value == pytest.approx(exact[math.ceil(float(share) / 100 * len(exact)) - 1], rel=0.002), share


def test_each_value_is_in_its_interval_and_point() -> None:
    """A rate is that of the interval or point."""
    findings = _found(
        *(slice_of(second, [0.1] * (second + 1), errors={"boom": 1}) for second in range(10)),
        duration=10.0,
        interval=4.0,
    )
    rows = findings.all_intervals()[ALL_TRANSACTIONS]
    assert [(row.at, row.stats.count, row.stats.errors) for row in rows] == [(0, 10, 4), (4, 26, 4), (8, 19, 2)]
    assert [row.stats.rate for row in rows] == [2.5, 6.5, 9.5]
    points = findings.timers[""].points
    assert [(point.at, point.rate, point.error_rate) for point in points] == [(n, n + 1, 1) for n in range(10)]
    assert findings.error_texts()[0].count == 10


def test_the_points_of_a_long_run_are_bounded() -> None:
    """A day has no more points than a chart can show, and every value is in one."""
    findings = _found(*(slice_of(second, [0.1]) for second in range(0, 86_400, 60)), duration=86_400.0, interval=3600.0)
    points = findings.timers[""].points
    assert len(points) <= MOST_POINTS
    assert sum(point.rate * findings.step for point in points) == pytest.approx(1440)
    assert len(findings.timers[""].intervals) == 24


def test_the_heat_map_has_each_transaction_once() -> None:
    """Other timers are not in it."""
    findings = _found(slice_of(0, [0.001] * 3 + [0.5]), slice_of(0, [9.0], "page"), slice_of(7, [0.001]))
    assert sum(sum(rows.values()) for rows in findings.heat.values()) == 5
    assert {heat_bound(row) <= 0.001 < heat_bound(row + 1) for row in findings.heat[7]} == {True}


@given(st.integers(1, 3_600_000_000))
def test_a_latency_lies_within_its_row_of_the_heat_map(value: int) -> None:
    """The bounds of the row enclose it."""
    row = heat_row(value)
    assert heat_bound(row) * 1e6 <= value * (1 + 1e-9)
    assert value < heat_bound(row + 1) * 1e6 * (1 + 1e-9)


def test_a_damaged_slice_is_counted() -> None:
    """The others are added up."""
    good = slice_of(0, [0.1, 0.2])
    wrong = msgspec.structs.replace(good, count=9)
    findings = _found(good, wrong)
    assert (findings.damaged, findings.stats("").count) == (9, 2)


def test_a_run_without_results_has_empty_statistics() -> None:
    """Counts are 0, times are None."""
    findings = _found(duration=0.0)
    own = findings.all_stats()[ALL_TRANSACTIONS]
    assert (own.count, own.min, own.percentiles, own.rate) == (0, None, {}, 0.0)
    assert (findings.all_intervals(), findings.error_texts(), findings.curve("")) == ({}, [], [])


def test_the_curve_rises_from_minimum_to_maximum() -> None:
    """Its values are sorted."""
    values = [value for _, value in _found(slice_of(0, [n / 1000 for n in range(1, 1001)])).curve("")]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0.001, 1.0)


def test_a_timer_that_is_called_as_all_transactions() -> None:
    """An earlier version stored such a name; it does not replace the figures of the run."""
    stats = _found(slice_of(0, [0.1] * 3), slice_of(0, [9.0], "All transactions")).all_stats()
    assert {name: each.count for name, each in stats.items()} == {ALL_TRANSACTIONS: 3, "All transactions (timer)": 1}


def test_failures_have_statistics_codes_and_texts_of_their_own() -> None:
    """Latencies are those of successes; a point without one has none."""
    kind = ErrorKind("HttpError", "503")
    findings = _found(
        slice_of(0, [0.1, 0.2]),
        slice_of(0, [3.0], errors={"no": 2}, failed=True, untimed=1, kind=kind),
        slice_of(1, [4.0], errors={"lost": 1}, failed=True),
    )
    own, (first, second) = findings.stats(""), findings.timers[""].points
    assert (own.count, own.errors, own.samples, own.max) == (5, 3, 2, 0.2)
    assert own.failed is not None
    assert (own.failed.count, own.failed.untimed, own.failed.min, own.failed.max) == (2, 1, 3.0, 4.0)
    assert (first.rate, first.error_rate, first.maximum, first.failed_maximum) == (4, 2, 0.2, 3.0)
    assert (second.p50, second.failed_maximum, first.codes, second.codes) == (None, 4.0, {"503": 2}, {"(unknown)": 1})
    assert ([*findings.heat], [*findings.failed_heat], findings.failed_heat[0].total()) == ([0], [0, 1], 1)
    assert (findings.curve("")[-1], findings.curve("", failed=True)[-1]) == ((100.0, 0.2), (100.0, 4.0))
    assert findings.error_texts() == [ErrorText("no", 2, "HttpError", "503"), ErrorText("lost", 1)]


def test_the_warm_up_is_only_in_the_charts() -> None:
    """Statistics, intervals and errors begin after it, and rates are those of the time that is left."""
    findings = Findings(10.0, 5.0, 3.0)
    findings.add(
        slice_of(second, [9.0 if second < 3 else 0.1] * 7, errors={f"e{second // 3}": 1}) for second in range(10)
    )
    findings.close()
    own = findings.stats("")
    assert (own.count, own.errors, own.rate, own.max) == (49, 7, 7.0, 0.1)
    assert [(row.at, row.stats.count, row.stats.rate) for row in findings.all_intervals()[ALL_TRANSACTIONS]] == [
        (0.0, 14, 7.0),
        (5.0, 35, 7.0),
    ]
    assert len(findings.timers[""].points) == 10
    assert {error.text: error.count for error in findings.error_texts()} == {"e1": 3, "e2": 3, "e3": 1}


def test_error_texts_beyond_the_limit_are_counted() -> None:
    """The most frequent ones are listed, and nothing vanishes without a word."""
    texts = {f"error {number}": 2 if number < 3 else 1 for number in range(MOST_ERROR_TEXTS + 40)}
    findings = _found(slice_of(0, [0.1] * len(texts), errors=texts))
    assert len(findings.error_texts()) == MOST_ERROR_TEXTS
    assert findings.other_errors() == (40, 40)
