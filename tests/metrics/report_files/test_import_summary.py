"""The account of an import."""

from __future__ import annotations

from smartmob.metrics.report_files.import_summary import FAILED, LONGEST_EXAMPLE, REFUSED, ImportSummary, Tally


def test_a_tally_keeps_the_first_example_of_each_kind() -> None:
    """Kinds keep the order in which they came."""
    tally = Tally()
    for kind, example in (("b", "1"), ("a", "2" * 999), ("b", "3")):
        tally.add(kind, example)
    assert tally.items() == [("b", 2, "1"), ("a", 1, "2" * LONGEST_EXAMPLE)]
    assert (tally.total, tally.count("b"), tally.count("c")) == (3, 2, 0)
    assert tally.document()["b"] == {"count": 2, "example": "1"}


def test_failed_tests_are_understood_and_refused_rows_are_not() -> None:
    """--strict is about what was not understood."""
    summary = ImportSummary("x")
    summary.left_out.add(FAILED, "t")
    assert summary.understood
    summary.left_out.add(REFUSED, "t")
    assert not summary.understood
    replaced = ImportSummary("x")
    replaced.remarks.add("unread time", "t")
    assert not replaced.understood
