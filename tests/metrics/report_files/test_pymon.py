"""Databases of pytest-monitor."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.pymon import PymonFile
from tests.metrics.report_files.databases import write_pymon
from tests.metrics.samples import context, metric, session


def _metrics(content: PymonFile, session_h: str, offset: int = 0) -> list[dict[str, Any]]:
    """Return the metrics without the moment that their text means."""
    rows = [orjson.loads(line) for line in content.metrics(session_h, offset)]
    for row in rows:
        assert datetime.fromisoformat(row.pop("started_at")).timestamp() == (
            datetime.fromisoformat(row["item_start_time"]).timestamp()
        )
    return rows


def test_everything_is_read_as_it_would_be_sent(tmp_path: Path) -> None:
    """Contexts, sessions with their tags, and the metrics of each session in their order; texts stay as they are."""
    path = tmp_path / "x.pymon"
    rows = [metric(item=f"test_{n}", session_h="a" if n % 2 else "b") for n in range(5)]
    write_pymon(path, [session("a", description='{"x": "1"}'), session("b", description="by hand")], rows)

    content = PymonFile(path)

    assert list(content.contexts()) == [context()]
    first, second = content.sessions()
    moment = datetime.fromisoformat(first.pop("started_at"))
    assert moment.timestamp() == datetime.fromisoformat(first["run_date"]).timestamp()
    assert first == session("a", description={"x": "1"})
    assert second["description"] == "by hand"
    assert content.counts() == {"b": 3, "a": 2}
    assert _metrics(content, "b") == [rows[0], rows[2], rows[4]]
    assert _metrics(content, "b", 2) == [rows[4]]
    assert (content.summary.suites, content.summary.cases, content.summary.understood) == (2, 5, True)


def test_rows_that_cannot_be_stored_are_named_and_left_out(tmp_path: Path) -> None:
    """A time that is missing is unknown."""
    path = tmp_path / "x.pymon"
    rows = [metric(item_variant="odd", kind=None), metric(total_time=None), metric()]
    write_pymon(path, [session(description="{}")], rows)

    content = PymonFile(path)

    assert _metrics(content, "5" * 32) == rows[1:]
    assert content.counts() == {"5" * 32: 2}
    (refused,) = content.summary.left_out.items()
    assert refused[:2] == ("refused", 1)
    assert refused[2].startswith("tests.test_sum::odd: ")
    assert content.summary.remarks.count("unread time") == 1


@pytest.mark.parametrize(("text", "description"), [(None, {}), ("", {}), ("[1]", "[1]"), ("{", "{")])
def test_a_description_that_is_no_object_is_a_text(tmp_path: Path, text: str | None, description: object) -> None:
    """A description that is not a JSON object is stored as a text."""
    write_pymon(tmp_path / "x.pymon", [session("a", description=text)], [])

    assert [row["description"] for row in PymonFile(tmp_path / "x.pymon").sessions()] == [description]


def test_a_database_of_something_else(tmp_path: Path) -> None:
    """It is refused with the table that it lacks."""
    path = tmp_path / "other.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE t (x)")
    database.close()

    with pytest.raises(InvalidInput, match="no table EXECUTION_CONTEXTS"):
        PymonFile(path)


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    """It is refused with what SQLite says of it."""
    path = tmp_path / "x.pymon"
    write_pymon(path, [session("a", description="{}")] * 1, [metric()] * 500)
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)

    with pytest.raises(InvalidInput, match="cannot be read"):
        PymonFile(path)
