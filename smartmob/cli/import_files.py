"""Reads the files of `smartmob tests import`: their rows, and the runs that they form."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from smartmob.cli import report_sources
from smartmob.cli.report_rows import rows_of
from smartmob.cli.report_sources import STANDARD_INPUT, OpenReport, ReportCandidate, UnusableFile
from smartmob.errors import InvalidInput
from smartmob.metrics.report_files import run_groups
from smartmob.metrics.report_files.run_groups import ReadReport
from smartmob.metrics.report_files.session_rows import ImportOptions, ReportRows
from smartmob.metrics.session_tags import RUN_TAG


class FileAnalysis(msgspec.Struct):
    """The result of reading all files before any of them is imported.

    `groups` has the reports that form a run with others, by the names of their files. `rows` has the digest and the
    rows of each file that need not be read again.
    """

    groups: list[dict[str, ReadReport]] = msgspec.field(default_factory=list)
    rows: dict[str, tuple[str, ReportRows]] = msgspec.field(default_factory=dict)

    def rows_of(self, found: ReportCandidate, file: OpenReport) -> ReportRows | None:
        """Return the rows of a file that has not changed since, once."""
        digest, rows = self.rows.pop(found.name, (None, None))
        return rows if digest == file.digest else None


def analysis(
    files: Sequence[ReportCandidate | UnusableFile], forced: str | None, options: ImportOptions
) -> FileAnalysis:
    """Read several files, to find the runs that they form.

    Nothing is read if the tag `run` is given. A stream, which can be read only once, and a database of pytest-monitor
    are in no group; nor is a file that cannot be read: importing it gives the reason.
    """
    result = FileAnalysis()
    plain = [
        found
        for found in files
        if isinstance(found, ReportCandidate)
        and found.name != STANDARD_INPUT
        and (found.path.is_file() or found.path.is_dir())
    ]
    if len(plain) < 2 or RUN_TAG in options.tags:
        return result
    reports: dict[str, tuple[str, ReadReport]] = {}
    for found in plain:
        try:
            with report_sources.opened(found, forced) as file, rows_of(file, options) as rows:
                if not isinstance(rows, ReportRows):
                    continue
                if file.path == found.path:
                    result.rows[found.name] = (file.digest, rows)
                if rows.summary.cases:
                    report = rows.read_report(os.path.dirname(found.path))
                    reports.setdefault(report.session_h, (found.name, report))
        except InvalidInput:
            continue
    for group in run_groups.groups(report for _, report in reports.values()):
        if len(group) > 1:
            result.groups.append({reports[report.session_h][0]: report for report in group})
    return result
