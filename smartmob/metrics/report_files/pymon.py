"""Reads and describes the SQLite database of pytest-monitor."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files import metric_lines
from smartmob.metrics.report_files.import_summary import REFUSED, ImportSummary
from smartmob.metrics.report_files.metric_lines import moment_of

FORMAT_NAME = "pytest-monitor database"
MAGIC = b"SQLite format 3\0"

CREATE = (
    """CREATE TABLE TEST_SESSIONS (
        SESSION_H varchar(64) PRIMARY KEY NOT NULL UNIQUE, RUN_DATE varchar(64), SCM_ID varchar(128),
        RUN_DESCRIPTION json
    )""",
    """CREATE TABLE EXECUTION_CONTEXTS (
        ENV_H varchar(64) PRIMARY KEY NOT NULL UNIQUE, CPU_COUNT integer, CPU_FREQUENCY_MHZ integer,
        CPU_TYPE varchar(64), CPU_VENDOR varchar(256), RAM_TOTAL_MB integer, MACHINE_NODE varchar(512),
        MACHINE_TYPE varchar(32), MACHINE_ARCH varchar(16), SYSTEM_INFO varchar(256), PYTHON_INFO varchar(512)
    )""",
    """CREATE TABLE TEST_METRICS (
        SESSION_H varchar(64), ENV_H varchar(64), ITEM_START_TIME varchar(64), ITEM_PATH varchar(4096),
        ITEM varchar(2048), ITEM_VARIANT varchar(2048), ITEM_FS_LOC varchar(2048), KIND varchar(64),
        COMPONENT varchar(512) NULL, TOTAL_TIME float, USER_TIME float, KERNEL_TIME float, CPU_USAGE float,
        MEM_USAGE float, FOREIGN KEY (ENV_H) REFERENCES EXECUTION_CONTEXTS(ENV_H),
        FOREIGN KEY (SESSION_H) REFERENCES TEST_SESSIONS(SESSION_H)
    )""",
)
"""The tables of a pytest-monitor file (its release 1.6), into which an export writes."""

CONTEXT_COLUMNS = {
    "h": "ENV_H",
    "cpu_count": "CPU_COUNT",
    "cpu_frequency": "CPU_FREQUENCY_MHZ",
    "cpu_type": "CPU_TYPE",
    "cpu_vendor": "CPU_VENDOR",
    "ram_total": "RAM_TOTAL_MB",
    "machine_node": "MACHINE_NODE",
    "machine_type": "MACHINE_TYPE",
    "machine_arch": "MACHINE_ARCH",
    "system_info": "SYSTEM_INFO",
    "python_info": "PYTHON_INFO",
}
METRIC_COLUMNS = {
    "session_h": "SESSION_H",
    "context_h": "ENV_H",
    "item_start_time": "ITEM_START_TIME",
    "item_path": "ITEM_PATH",
    "item": "ITEM",
    "item_variant": "ITEM_VARIANT",
    "item_fs_loc": "ITEM_FS_LOC",
    "kind": "KIND",
    "component": "COMPONENT",
    "total_time": "TOTAL_TIME",
    "user_time": "USER_TIME",
    "kernel_time": "KERNEL_TIME",
    "cpu_usage": "CPU_USAGE",
    "mem_usage": "MEM_USAGE",
}

_UNKNOWN: dict[str, Any] = {"cpu_count": 0, "cpu_frequency": 0, "ram_total": 0}


class PymonFile:
    """The rows of a database that pytest-monitor wrote; sessions and contexts have the hashes of the file.

    Its times have no zone. They are local times of the machine that imports, which is usually the one that measured.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.summary = ImportSummary(FORMAT_NAME)
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        self._connection.row_factory = sqlite3.Row
        # With this, a text that is not UTF-8 invalidates only its row, not the whole file.
        self._connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        tables = {row[0] for row in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        missing = {"TEST_SESSIONS", "TEST_METRICS", "EXECUTION_CONTEXTS"} - tables
        if missing:
            raise InvalidInput(f"it is not a database of pytest-monitor 1.x: it has no table {min(missing)}")
        self._refused: set[int] = set()
        self._counts: dict[str, int] = {}
        self._scan()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _rows(self, query: str, arguments: tuple[object, ...] = ()) -> Iterator[sqlite3.Row]:
        try:
            yield from self._connection.execute(query, arguments)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise InvalidInput(f"it cannot be read: {error}") from None

    def contexts(self) -> Iterator[dict[str, Any]]:
        """Yield contexts as the REST API accepts them."""
        for row in self._rows("SELECT * FROM EXECUTION_CONTEXTS ORDER BY rowid"):
            context = {name: row[column] for name, column in CONTEXT_COLUMNS.items()}
            yield {name: value if value is not None else _UNKNOWN.get(name, "") for name, value in context.items()}

    def sessions(self) -> Iterator[dict[str, Any]]:
        """Yield sessions as the REST API accepts them."""
        for row in self._rows("SELECT * FROM TEST_SESSIONS ORDER BY rowid"):
            found = {
                "session_h": row["SESSION_H"],
                "run_date": row["RUN_DATE"],
                "scm_ref": row["SCM_ID"] or "",
                "description": _description(row["RUN_DESCRIPTION"]),
            }
            yield found | _moment(row["RUN_DATE"])

    def counts(self) -> dict[str, int]:
        """Return the number of metrics by session hash, including those whose session is missing."""
        return self._counts

    def metrics(self, session_h: str, offset: int) -> Iterator[bytes]:
        """Yield the metrics of a session as lines of JSON, beginning with number `offset`."""
        query = "SELECT rowid, * FROM TEST_METRICS WHERE SESSION_H = ? ORDER BY rowid"
        position = 0
        for row in self._rows(query, (session_h,)):
            if row["rowid"] in self._refused:
                continue
            if position >= offset:
                yield orjson.dumps(_metric(row), option=orjson.OPT_APPEND_NEWLINE)
            position += 1

    def _scan(self) -> None:
        """Count the metrics and check each of them."""
        self.summary.suites = next(self._rows("SELECT count(*) FROM TEST_SESSIONS"))[0]
        for row in self._rows("SELECT rowid, * FROM TEST_METRICS ORDER BY rowid"):
            self.summary.cases += 1
            metric = _metric(row)
            try:
                metric_lines.encode(metric)
            except InvalidInput as error:
                name = metric["item_variant"] or metric["item"]
                self.summary.left_out.add(REFUSED, f"{metric['item_path']}::{name}: {error}")
                self._refused.add(row["rowid"])
                continue
            if metric["total_time"] is None:
                self.summary.remarks.add("unread time", f"{metric['item_path']}::{metric['item_variant']} has no time")
            self._counts[metric["session_h"]] = self._counts.get(metric["session_h"], 0) + 1


def _metric(row: sqlite3.Row) -> dict[str, Any]:
    found = {name: row[column] for name, column in METRIC_COLUMNS.items()}
    return found | _moment(found["item_start_time"])


def _moment(text: Any) -> dict[str, str]:
    """Return the moment that a text means on this machine, or nothing if it is no time: the service refuses it."""
    try:
        found = moment_of(datetime.fromisoformat(text))
    except (TypeError, ValueError):
        return {}
    return {} if found is None else {"started_at": found.isoformat()}


def _description(text: str | None) -> object:
    try:
        document = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return text
    return document if isinstance(document, dict) else text
