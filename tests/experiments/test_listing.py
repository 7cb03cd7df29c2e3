"""The tests of an experiment in a list."""

from __future__ import annotations

from smartmob.experiments.listing import CSV_HEADER, VerdictFilter, csv_row, listed
from tests.experiments.reports import report


def test_changed_tests_come_first() -> None:
    """Slower ones are on top, those with the largest change first; what the witness has measured counts."""
    names = [test.name.partition("_")[2] for test in listed(report().tests, VerdictFilter()).tests]
    assert names == ["slower", "counted", "faster", "busy", "open[=1+1 <b>]", "same"]


def test_tests_are_filtered_and_paged() -> None:
    """A filter has a verdict and a part of the name, and the total counts the tests that fit on all pages."""
    tests = report().tests
    found = listed(tests, VerdictFilter(verdict="slower", limit=1, offset=1))
    assert ([test.name for test in found.tests], found.total) == (["t.py::test_counted"], 2)
    assert listed(tests, VerdictFilter(name="OPEN[")).total == 1
    assert listed(tests, VerdictFilter(name="none")).tests == []


def test_rows_of_csv_have_all_columns() -> None:
    """Each row has a cell for each name of the header, and no None."""
    for test in report().tests:
        row = csv_row(test)
        assert len(row) == len(CSV_HEADER)
        assert None not in row
