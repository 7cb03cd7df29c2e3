"""JUnit XML."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from smartmob.metrics.report_files.junit import JUnitReport


def test_test_cases_are_read_with_their_times(tmp_path: Path) -> None:
    """A time that is missing is unknown."""
    (tmp_path / "x.xml").write_text(
        '<testsuite timestamp="2026-11-20T10:00:00Z" hostname="rack7">'
        '<testcase classname="a" name="b[1]" time="1,000.5"/><testcase name="c"/></testsuite>'
    )
    cases = list(JUnitReport(tmp_path / "x.xml").cases())
    assert [(case.name, case.variant, case.total_time) for case in cases] == [("b", "b[1]", 1000.5), ("c", "c", None)]
    assert cases[0].started_at == datetime(2026, 11, 20, 10, tzinfo=UTC)
