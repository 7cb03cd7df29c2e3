"""The findings of statistics that another tool computed."""

from __future__ import annotations

from smartmob.turrets.model import ALL_TRANSACTIONS
from smartmob.turrets.report.given_findings import GivenFindings
from smartmob.turrets.slices import TRANSACTION
from tests.turrets.result_files.test_locust_tables import FAILURES_TABLE, HISTORY_TABLE, STATS_TABLE, _read


def test_what_is_given_is_shown_and_nothing_more() -> None:
    """Percentiles, points and errors of the file; no distribution, no intervals."""
    given, _ = _read(stats=STATS_TABLE, history=HISTORY_TABLE, failures=FAILURES_TABLE)
    findings = GivenFindings(given, 10.0)
    assert findings.stats(TRANSACTION).percentiles["99"] == 0.25
    assert list(findings.all_stats()) == [ALL_TRANSACTIONS, "GET /a"]
    assert [at for at, _ in findings.curve(TRANSACTION)] == [50, 66, 75, 80, 90, 95, 98, 99, 99.9, 99.99]
    assert [point.at for point in findings.timers[TRANSACTION].points] == list(range(10))
    assert [error.count for error in findings.error_texts()] == [3, 2]
    assert list(findings.timer_errors()) == ["GET /a"]
    assert (findings.all_intervals(), findings.heat, findings.stats("other").count) == ({}, {}, 0)
