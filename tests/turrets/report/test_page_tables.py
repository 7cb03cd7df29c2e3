"""The tables of a report."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from smartmob.turrets.model import Absence, ErrorText
from smartmob.turrets.protocol import ErrorKind
from smartmob.turrets.report import page_tables
from smartmob.turrets.report.charts import RunData
from smartmob.turrets.report.findings import Findings
from tests.turrets.messages import slice_of
from tests.turrets.report.runs import STARTED, found
from tests.turrets.report.test_trust import FINE


def test_ok_and_failed_are_apart() -> None:
    """A timer has the counts of both, and the share of the failed ones."""
    (own, _) = page_tables.timers([found()[0]], ["All transactions", "page"]).shown()
    texts = {name: text for name, _, text in own}
    assert (texts["count"], texts["OK"], texts["failed"], texts["failed %"]) == ("20", "10", "10", "50.00%")


def test_percentiles_of_few_values_are_marked() -> None:
    """With 20 values, ten lie above the median, and fewer above each higher percentile."""
    (own,) = page_tables.timers([found()[0]], ["All transactions"]).shown()
    assert [name for name, _, text in own if text.endswith("*")] == ["p80", "p90", "p95", "p99", "p99.9", "p99.99"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"status": "Running"}, "done"),
        ({"status": "ready"}, "done"),
        ({"status": "Aborted"}, "Aborted"),
        ({"status": "Running", "lost": [Absence(STARTED)]}, "lost"),
        ({"status": "Running", "lost": [Absence(STARTED, STARTED)]}, "done"),
    ],
)
def test_a_finished_run_has_no_running_turrets(changes: dict[str, Any], word: str) -> None:
    """The last status of a turret is from before the end, so the end is shown."""
    member = msgspec.structs.replace(FINE, **changes)
    assert page_tables.outcome(member) == word
    table = page_tables.turrets([member], ended=True)
    assert word in table.rows[0]
    assert ("at the end", "left") in table.columns
    assert ("status", "left") in page_tables.turrets([member], ended=False).columns


def test_errors_have_timer_kind_code_and_their_share_of_the_values_of_their_timer() -> None:
    """A timer without a value has no division by zero."""
    found = [("All transactions", ErrorText("boom", 5)), ("login", ErrorText("no", 3, "HttpError", "503"))]
    assert page_tables.errors(found, {"All transactions": 20, "login": 4}).rows == [
        ["All transactions", "", "", "boom", 5, 0.25],
        ["login", "HttpError", "503", "no", 3, 0.75],
    ]
    assert page_tables.errors(found[:1], {}).rows[0][-1] == 5.0


@pytest.mark.parametrize(
    ("new", "old", "shown"),
    [(1.1, 1.0, "+10.0%"), (0.5, 1.0, "-50.0%"), (1.001, 1.0, "same"), (1.0, 0.0, ""), (None, 1.0, "")],
)
def test_a_change_is_a_share_of_the_old_value(new: float | None, old: float | None, shown: str) -> None:
    """Small changes are the same, and a missing value has no change."""
    assert page_tables.change(new, old) == shown


def _failing() -> RunData:
    """Return a run with twelve successes, 1,100 failures of 3 s and a failure without a duration."""
    findings = Findings(10.0, 5.0)
    kind = ErrorKind("HttpError", "503")
    findings.add(
        [
            slice_of(0, [0.1] * 12),
            slice_of(0, [3.0] * 1_100, errors={"busy": 1_101}, failed=True, untimed=1, kind=kind),
            slice_of(0, [0.2], "page"),
        ]
    )
    findings.close()
    changes = {"timers": findings.all_stats(), "intervals": findings.all_intervals(), "errors": 1_101}
    return msgspec.structs.replace(found()[0], **changes), findings, []


def test_durations_of_failures_have_a_table_of_their_own() -> None:
    """Each timer that failed has a row; a percentile is marked by the number of failures with a duration."""
    (row,) = page_tables.failures([_failing()[0]], ["All transactions", "page"]).shown()
    texts = {name: text for name, _, text in row}
    assert (texts["timer"], texts["failed"], texts["without duration"]) == ("All transactions", "1,101", "1")
    assert (texts["min"], texts["p50"], texts["p99"], texts["p99.9"]) == ("3.00 s", "3.00 s", "3.00 s", "3.00 s*")
    rows = page_tables.failures([_failing()[0], found()[0]], ["All transactions", "page"]).shown()
    assert [[text for _, _, text in cells][:3] for cells in rows] == [
        ["All transactions", "A", "1,101"],
        ["All transactions", "B", "10"],
        ["All transactions", "change", "+10910.0%"],
    ]


def test_the_marks_of_percentiles_count_successes_only() -> None:
    """Of 1,113 transactions only twelve have a duration of a success."""
    (own,) = page_tables.timers([_failing()[0]], ["All transactions"]).shown()
    texts = {name: text for name, _, text in own}
    assert (texts["count"], texts["OK"], texts["p50"], texts["max"]) == ("1,113", "12", "100.0 ms*", "100.0 ms")
    assert "samples" not in texts


def test_an_interval_has_the_durations_of_its_failures() -> None:
    """They stand behind those of the successes, with marks of their own."""
    (row,) = page_tables.intervals(_failing()[0].intervals["All transactions"]).shown()
    assert [text for name, _, text in row if name.startswith("failed p")] == ["3.00 s", "3.00 s"]
    (page,) = page_tables.intervals(_failing()[0].intervals["page"]).shown()
    assert [text for name, _, text in page if name.startswith("failed p")] == ["-", "-"]


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_500, "1.5 kB"),
        (999_900, "1 MB"),
        (123_456_789, "123 MB"),
        (5 * 10**12, "5,000 GB"),
    ],
)
def test_bytes_have_a_unit(size: int, shown: str) -> None:
    """Units are powers of 1,000."""
    assert page_tables.size_text(size) == shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (5.0, "5"),
        (123.4, "123"),
        (17.554, "17.55"),
        (0.25, "0.25"),
        (0.0185, "0.018"),
        (0.00093, "0.00093"),
    ],
)
def test_a_small_number_has_digits_that_are_not_0(value: float, text: str) -> None:
    """A rate of some requests in hours is not shown as 0.00."""
    assert page_tables.number_text(value) == text
