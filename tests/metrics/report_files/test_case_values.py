"""The values of one test case and their remarks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from smartmob.metrics.report_files.case_values import MAX_REMARKS, CaseValues, add_remark, earliest, shortened
from smartmob.metrics.report_files.report import CaseOutcome, Header
from smartmob.metrics.report_files.time_values import Durations
from smartmob.metrics.report_files.xml_elements import ElementPosition


def _values(name: str = "test") -> CaseValues:
    return CaseValues(ElementPosition(7, frozenset()), "pkg", name)


@pytest.mark.parametrize(
    ("attributes", "outcome", "remarks"),
    [
        ({}, CaseOutcome.PASSED, []),
        ({"status": "run", "result": "skipped"}, CaseOutcome.SKIPPED, []),
        ({"status": "failed", "result": "skipped"}, CaseOutcome.FAILED, []),
        ({"status": "purple"}, CaseOutcome.PASSED, ['line 7, pkg.test: status="purple"']),
    ],
)
def test_the_worst_word_is_the_outcome(attributes: dict[str, str], outcome: CaseOutcome, remarks: list[str]) -> None:
    """A word that is not known is remarked."""
    values = _values()
    assert values.outcome(attributes, ("status", "result")) is outcome
    assert [remark.text for remark in values.remarks] == remarks


def test_a_missing_duration_matters_only_where_it_is_used() -> None:
    """A skipped case has none without a remark, and a value that is not understood is always remarked."""
    values = _values()
    assert values.seconds(Durations(), {}, ("time",), CaseOutcome.SKIPPED) is None
    assert values.remarks == []
    assert values.seconds(Durations(), {"time": "x"}, ("time",), CaseOutcome.SKIPPED) is None
    assert values.seconds(Durations(), {}, ("time",), CaseOutcome.PASSED) is None
    assert [remark.text for remark in values.remarks] == [
        'line 7, pkg.test: time="x"',
        "line 7, pkg.test: it has no time",
    ]
    assert values.seconds(Durations(), {"time": "", "duration": "2"}, ("time", "duration"), CaseOutcome.PASSED) == 2.0


def test_a_start_gets_the_zone_of_its_suite() -> None:
    """A start with a zone keeps its own."""
    values = _values()
    assert values.start({"a": "2024-05-06T10:00:00"}, ("a",), UTC) == datetime(2024, 5, 6, 10, tzinfo=UTC)
    assert values.start({"a": "2024-05-06T10:00:00+02:00"}, ("a",), UTC) == datetime(2024, 5, 6, 8, tzinfo=UTC)
    assert values.start({}, ("a",), UTC) is None
    assert values.start({"a": "x"}, ("a",), UTC) is None
    assert [remark.kind for remark in values.remarks] == ["replaced timestamp"]


def test_a_long_name_does_not_hide_the_value() -> None:
    """Both are cut off to a bound."""
    values = _values("n" * 10_000)
    values.remark("kind", "the value")
    assert values.remarks[0].text.endswith("…: the value")
    assert len(shortened("x" * 1000)) == 201


def test_starts_with_and_without_a_zone_are_not_compared() -> None:
    """The first one stays."""
    naive, aware = datetime(2024, 5, 6), datetime(2023, 5, 6, tzinfo=UTC)
    assert earliest(None, naive) == naive
    assert earliest(naive, aware) == naive
    assert earliest(naive, datetime(2024, 5, 5)) == datetime(2024, 5, 5)


def test_the_remarks_of_a_file_are_bounded() -> None:
    """A file with a million wrong suites does not fill the memory."""
    header = Header()
    for _ in range(MAX_REMARKS + 5):
        add_remark(header, "kind", "text")
    assert len(header.remarks) == MAX_REMARKS
