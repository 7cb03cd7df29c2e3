"""Result files of test suites as rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.cli import report_sources
from smartmob.cli.report_rows import rows_of
from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.session_rows import ImportOptions

REPORT = '<testsuite timestamp="2026-11-20T10:00:00Z"><testcase classname="a" name="b" time="1"/></testsuite>'


def test_a_report_has_contexts_sessions_and_counts(tmp_path: Path) -> None:
    """The session is named after the file, and has one metric."""
    path = tmp_path / "night.xml"
    path.write_text(REPORT)
    with (
        report_sources.opened(report_sources.ReportCandidate(path, str(path)), None) as file,
        rows_of(file, ImportOptions()) as rows,
    ):
        (session,) = rows.sessions()
        assert rows.counts() == {session["session_h"]: 1}
        assert len(list(rows.contexts())) == 1


def test_content_that_is_no_report_is_refused(tmp_path: Path) -> None:
    """The error says what is wrong, in one line."""
    path = tmp_path / "broken.xml"
    path.write_text("<testsuite><<")
    with (
        report_sources.opened(report_sources.ReportCandidate(path, str(path)), None) as file,
        pytest.raises(InvalidInput) as refused,
        rows_of(file, ImportOptions()) as rows,
    ):
        list(rows.sessions())
    assert "\n" not in str(refused.value)
