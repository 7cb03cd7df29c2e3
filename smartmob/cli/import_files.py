"""Reads the files of `smartmob tests import`: their rows, and the runs that they form."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Protocol

import msgspec

from smartmob.cli import report_sources
from smartmob.cli.report_sources import STANDARD_INPUT, Found, OpenReport, Problem
from smartmob.errors import InvalidInput
from smartmob.metrics.report_files import run_groups
from smartmob.metrics.report_files.import_summary import ImportSummary
from smartmob.metrics.report_files.pymon import PymonFile
from smartmob.metrics.report_files.run_groups import ReadReport
from smartmob.metrics.report_files.session_rows import ImportOptions, ReportRows, ReportSource
from smartmob.metrics.session_tags import RUN_TAG

_READ_ERRORS = (LookupError, TypeError, ValueError, ArithmeticError, RecursionError, AttributeError)
"""Errors of a reader on a file with unexpected content."""


class Rows(Protocol):
    """The content of a file as rows for the REST API."""

    summary: ImportSummary

    def contexts(self) -> Iterator[dict[str, Any]]:
        """Yield contexts."""

    def sessions(self) -> Iterator[dict[str, Any]]:
        """Yield sessions."""

    def counts(self) -> dict[str, int]:
        """Return the number of metrics by session hash."""

    def metrics(self, session_h: str, offset: int) -> Iterator[bytes]:
        """Yield the metrics of a session as lines of JSON, beginning with number `offset`."""


@contextmanager
def rows_of(file: OpenReport, options: ImportOptions, read: ReportRows | None = None) -> Iterator[Rows]:
    """Yield the rows of a file, or those that were `read` before. Raises InvalidInput."""
    if read is not None:
        yield read
        return
    try:
        if file.format_ is None:
            database = PymonFile(file.path)
            if options.given():
                said = f"{', '.join(options.given())}: a database names its sessions itself; use `smartmob tests retag`"
                database.summary.remarks.add("unused option", said)
        else:
            source = ReportSource(_short_name(file.name), file.digest, file.modified)
            report = ReportRows(file.format_.open(file.path), source, options)
    except (InvalidInput, OSError):
        raise
    except sqlite3.Error as error:
        raise InvalidInput(f"cannot be read: {error}") from None
    except _READ_ERRORS as error:
        raise InvalidInput(f"cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:300]})") from error
    if file.format_ is not None:
        yield report
        return
    with closing(database):
        yield database


def _short_name(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2] or name


class Survey(msgspec.Struct):
    """The result of reading all files before any of them is imported.

    `groups` has the reports that form a run with others, by the names of their files. `rows` has the digest and the
    rows of each file that need not be read again.
    """

    groups: list[dict[str, ReadReport]] = msgspec.field(default_factory=list)
    rows: dict[str, tuple[str, ReportRows]] = msgspec.field(default_factory=dict)

    def rows_of(self, found: Found, file: OpenReport) -> ReportRows | None:
        """Return the rows of a file that has not changed since, once."""
        digest, rows = self.rows.pop(found.name, (None, None))
        return rows if digest == file.digest else None


def survey(files: Sequence[Found | Problem], forced: str | None, options: ImportOptions) -> Survey:
    """Read several files, to find the runs that they form.

    Nothing is read if the tag `run` is given. A stream, which can be read only once, and a database of pytest-monitor
    are in no group; nor is a file that cannot be read: importing it gives the reason.
    """
    result = Survey()
    plain = [
        found
        for found in files
        if isinstance(found, Found) and found.name != STANDARD_INPUT and (found.path.is_file() or found.path.is_dir())
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
