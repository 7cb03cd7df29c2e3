"""Readers of files of test results: the SQLite database of pytest-monitor, and JUnit XML.

A file becomes contexts, sessions and metrics as they would have been sent. What makes a metric the same one is its
place in its session, so a file that is read again adds only what is not there yet.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import orjson

from smartmob.errors import InvalidInput

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

_SQLITE_MAGIC = b"SQLite format 3\0"

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


class Measures(Protocol):
    """The content of a file of test results."""

    skipped: int
    """The number of tests that did not pass. They are left out, because their cost is not comparable."""

    def contexts(self) -> Iterator[dict[str, Any]]:
        """Yield contexts as the REST API takes them."""

    def sessions(self) -> Iterator[dict[str, Any]]:
        """Yield sessions as the REST API takes them."""

    def counts(self) -> Mapping[str, int]:
        """Return the number of metrics by session hash, including those whose session is missing."""

    def metrics(self, session_h: str, offset: int) -> Iterator[dict[str, Any]]:
        """Yield the metrics of a session as the REST API takes them, beginning with number `offset`."""


def open_measures(path: Path, scm_ref: str, tags: Mapping[str, str], component: str) -> Measures:
    """Return the content of `path`, whose format is detected; the other arguments fill values that a file lacks.

    Raises InvalidInput.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None
    if head.startswith(_SQLITE_MAGIC):
        return PymonFile(path)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return JUnitFile(path, scm_ref, tags, component)
    raise InvalidInput(f"{path} is neither a pytest-monitor database (.pymon) nor JUnit XML")


class PymonFile:
    """A database that pytest-monitor wrote."""

    def __init__(self, path: Path) -> None:
        self.skipped = 0
        self._path = path
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        self._connection.row_factory = sqlite3.Row
        tables = {row[0] for row in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        missing = {"TEST_SESSIONS", "TEST_METRICS", "EXECUTION_CONTEXTS"} - tables
        if missing:
            raise InvalidInput(f"{path} is no database of pytest-monitor 1.x: it has no table {min(missing)}")

    def _rows(self, query: str, arguments: tuple[object, ...] = ()) -> Iterator[sqlite3.Row]:
        try:
            yield from self._connection.execute(query, arguments)
        except sqlite3.Error as error:
            raise InvalidInput(f"{self._path} cannot be read: {error}") from None

    def contexts(self) -> Iterator[dict[str, Any]]:
        for row in self._rows("SELECT * FROM EXECUTION_CONTEXTS ORDER BY rowid"):
            context = {name: row[column] for name, column in CONTEXT_COLUMNS.items()}
            yield {name: value if value is not None else _UNKNOWN.get(name, "") for name, value in context.items()}

    def sessions(self) -> Iterator[dict[str, Any]]:
        for row in self._rows("SELECT * FROM TEST_SESSIONS ORDER BY rowid"):
            yield {
                "session_h": row["SESSION_H"],
                "run_date": row["RUN_DATE"],
                "scm_ref": row["SCM_ID"] or "",
                "description": _description(row["RUN_DESCRIPTION"]),
            }

    def counts(self) -> dict[str, int]:
        return {
            row[0]: row[1]
            for row in self._rows("SELECT SESSION_H, count(*) FROM TEST_METRICS GROUP BY 1 ORDER BY min(rowid)")
        }

    def metrics(self, session_h: str, offset: int) -> Iterator[dict[str, Any]]:
        query = "SELECT * FROM TEST_METRICS WHERE SESSION_H = ? ORDER BY rowid LIMIT -1 OFFSET ?"
        for row in self._rows(query, (session_h, offset)):
            yield {name: row[column] for name, column in METRIC_COLUMNS.items()}


_UNKNOWN: dict[str, Any] = {"cpu_count": 0, "cpu_frequency": 0, "ram_total": 0}


def _description(text: str | None) -> object:
    try:
        document = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return text
    return document if isinstance(document, dict) else text


@dataclass
class JUnitFile:
    """A test run in JUnit XML, which gives the start and the duration of each test that passed."""

    path: Path
    scm_ref: str
    tags: Mapping[str, str]
    component: str
    skipped: int = 0
    _session: dict[str, Any] = field(default_factory=dict)
    _contexts: dict[str, dict[str, Any]] = field(default_factory=dict)
    _metrics: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        data = self.path.read_bytes()
        # A session has no name in such a file; its content is one.
        self._hash = hashlib.md5(data, usedforsecurity=False).hexdigest()
        try:
            root = ElementTree.fromstring(data)  # noqa: S314  # expat stops entity bombs, and the file is the user's own
        except ElementTree.ParseError as error:
            raise InvalidInput(f"{self.path} is not valid XML: {error}") from None
        suites = [root] if root.tag == "testsuite" else list(root.iter("testsuite"))
        if root.tag not in ("testsuite", "testsuites"):
            raise InvalidInput(f"{self.path} is no JUnit XML: it begins with <{root.tag}>")
        written = datetime.fromtimestamp(self.path.stat().st_mtime)
        begins = []
        for suite in suites:
            begun = _time(suite.get("timestamp")) or written
            begins.append(begun)
            self._read_suite(suite, begun)
        self._session = {
            "session_h": self._hash,
            "run_date": min(begins, default=written).isoformat(),
            "scm_ref": self.scm_ref,
            "description": dict(self.tags) | {"imported_from": self.path.name},
        }

    def _read_suite(self, suite: ElementTree.Element, begun: datetime) -> None:
        host = suite.get("hostname") or "unknown"
        context_h = hashlib.md5(f"junit {host}".encode(), usedforsecurity=False).hexdigest()
        self._contexts[context_h] = dict.fromkeys(CONTEXT_COLUMNS, "unknown") | _UNKNOWN
        self._contexts[context_h] |= {"h": context_h, "machine_node": host}
        for case in suite.findall("testcase"):
            took = _number(case.get("time"))
            name = case.get("name", "")
            start, begun = begun, begun + timedelta(seconds=took)
            if any(case.find(outcome) is not None for outcome in ("failure", "error", "skipped")):
                self.skipped += 1
                continue
            self._metrics.append(
                {
                    "session_h": self._hash,
                    "context_h": context_h,
                    "item_start_time": start.isoformat(),
                    "item_path": case.get("classname", ""),
                    "item": name.partition("[")[0],
                    "item_variant": name,
                    "item_fs_loc": case.get("file", ""),
                    "kind": "function",
                    "component": self.component,
                    "total_time": took,
                    **dict.fromkeys(("user_time", "kernel_time", "cpu_usage", "mem_usage")),
                }
            )

    def contexts(self) -> Iterator[dict[str, Any]]:
        yield from self._contexts.values()

    def sessions(self) -> Iterator[dict[str, Any]]:
        yield self._session

    def counts(self) -> dict[str, int]:
        return {self._hash: len(self._metrics)}

    def metrics(self, session_h: str, offset: int) -> Iterator[dict[str, Any]]:
        yield from self._metrics[offset:] if session_h == self._hash else ()


def _time(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    # Times of a file are kept without a zone, as pytest-monitor's own are: in the local time of this machine.
    return moment.astimezone().replace(tzinfo=None) if moment.tzinfo is not None else moment


def _number(text: str | None) -> float:
    try:
        value = float((text or "0").replace(",", ""))
    except ValueError:
        return 0.0
    return value if 0.0 <= value < 1e9 else 0.0
