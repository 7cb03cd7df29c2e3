"""Result files of test suites as rows for a table."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Protocol

from smartmob.cli.report_sources import OpenReport
from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.import_summary import ImportSummary
from smartmob.metrics.report_files.pymon import PymonFile
from smartmob.metrics.report_files.session_rows import ImportOptions, ReportRows, ReportSource

READ_ERRORS = (LookupError, TypeError, ValueError, ArithmeticError, RecursionError, AttributeError)
"""Errors of a reader on a file with unexpected content."""


class ReportContent(Protocol):
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
def rows_of(file: OpenReport, options: ImportOptions, read: ReportRows | None = None) -> Iterator[ReportContent]:
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
    except READ_ERRORS as error:
        raise InvalidInput(f"cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:300]})") from error
    if file.format_ is not None:
        yield report
        return
    with closing(database):
        yield database


def _short_name(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2] or name
