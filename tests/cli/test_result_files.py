"""Files of measures: what is read from a database of pytest-monitor and from JUnit XML."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from smartmob.cli import result_files
from smartmob.errors import InvalidInput
from tests.metrics.samples import context, metric, session

JUNIT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites>
  <testsuite name="pytest" tests="5" timestamp="2026-11-20T12:00:00.000001" hostname="rack7">
    <testcase classname="tests.test_sum" name="test_sum[1-2]" time="1.5" file="tests/test_sum.py"/>
    <testcase classname="tests.test_sum" name="test_bad" time="0.5"><failure message="no">trace</failure></testcase>
    <testcase classname="tests.test_sum" name="test_broken" time="0.5"><error/></testcase>
    <testcase classname="tests.test_sum" name="test_skipped" time="0"><skipped/></testcase>
    <testcase classname="tests.test_ü" name="test_two" time="1,000.25"/>
  </testsuite>
</testsuites>
"""


def write_pymon(path: Path, sessions: list[dict[str, Any]], metrics: list[dict[str, Any]]) -> None:
    """Write a database as pytest-monitor does."""
    database = sqlite3.connect(path)
    for statement in result_files.CREATE:
        database.execute(statement)
    row = context()
    database.execute(
        f"INSERT INTO EXECUTION_CONTEXTS ({', '.join(result_files.CONTEXT_COLUMNS.values())}) VALUES ({'?, ' * 10}?)",
        [row[name] for name in result_files.CONTEXT_COLUMNS],
    )
    for row in sessions:
        database.execute(
            "INSERT INTO TEST_SESSIONS VALUES (?, ?, ?, ?)",
            (row["session_h"], row["run_date"], row["scm_ref"], row["description"]),
        )
    for row in metrics:
        database.execute(
            f"INSERT INTO TEST_METRICS ({', '.join(result_files.METRIC_COLUMNS.values())}) VALUES ({'?, ' * 13}?)",
            [row[name] for name in result_files.METRIC_COLUMNS],
        )
    database.commit()
    database.close()


def _open(path: Path, **options: Any) -> result_files.Measures:
    given: dict[str, Any] = {"scm_ref": "", "tags": {}, "component": ""}
    return result_files.open_measures(path, **given | options)


class TestPymon:
    """Databases of pytest-monitor."""

    def test_everything_is_read_as_it_would_be_sent(self, tmp_path: Path) -> None:
        """Contexts, sessions with their tags, and the metrics of each session in their order."""
        path = tmp_path / "x.pymon"
        rows = [metric(item=f"test_{n}", session_h="a" if n % 2 else "b") for n in range(5)]
        write_pymon(path, [session("a", description='{"x": "1"}'), session("b", description="by hand")], rows)

        content = _open(path)

        assert list(content.contexts()) == [context()]
        assert list(content.sessions()) == [session("a", description={"x": "1"}), session("b", description="by hand")]
        assert content.counts() == {"b": 3, "a": 2}
        assert list(content.metrics("b", 0)) == [rows[0], rows[2], rows[4]]
        assert list(content.metrics("b", 2)) == [rows[4]]
        assert content.skipped == 0

    @pytest.mark.parametrize(("text", "description"), [(None, {}), ("", {}), ("[1]", "[1]"), ("{", "{")])
    def test_a_description_that_is_no_object_is_a_text(
        self, tmp_path: Path, text: str | None, description: object
    ) -> None:
        """A description that is not a JSON object is stored as a text."""
        write_pymon(tmp_path / "x.pymon", [session("a", description=text)], [])

        assert [row["description"] for row in _open(tmp_path / "x.pymon").sessions()] == [description]

    def test_a_database_of_something_else(self, tmp_path: Path) -> None:
        """It is refused with the table that it lacks."""
        path = tmp_path / "other.db"
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE t (x)")
        database.close()

        with pytest.raises(InvalidInput, match="no table EXECUTION_CONTEXTS"):
            _open(path)

    def test_a_damaged_database(self, tmp_path: Path) -> None:
        """It is refused with what SQLite says of it."""
        path = tmp_path / "x.pymon"
        write_pymon(path, [session("a", description="{}")] * 1, [metric()] * 500)
        data = bytearray(path.read_bytes())
        data[8192:] = b"\xff" * (len(data) - 8192)
        path.write_bytes(data)

        with pytest.raises(InvalidInput, match="cannot be read"):
            list(_open(path).metrics("5" * 32, 0))


class TestJUnit:
    """JUnit XML."""

    @pytest.fixture(name="path")
    def _path(self, tmp_path: Path) -> Path:
        path = tmp_path / "junit.xml"
        path.write_text(JUNIT)
        return path

    def test_what_passed_is_read(self, path: Path) -> None:
        """Name, class, file and time of each test, one after the other; what is not measured is null."""
        content = _open(path, component="core")

        (session_h,) = content.counts()
        rows = list(content.metrics(session_h, 0))
        assert content.counts() == {session_h: 2}
        assert content.skipped == 3
        assert [(row["item"], row["item_variant"], row["total_time"], row["item_start_time"]) for row in rows] == [
            ("test_sum", "test_sum[1-2]", 1.5, "2026-11-20T12:00:00.000001"),
            ("test_two", "test_two", 1000.25, "2026-11-20T12:00:02.500001"),
        ]
        assert rows[0] | {"total_time": 0} == {
            "session_h": session_h, "context_h": rows[0]["context_h"], "item_start_time": "2026-11-20T12:00:00.000001",
            "item_path": "tests.test_sum", "item": "test_sum", "item_variant": "test_sum[1-2]",
            "item_fs_loc": "tests/test_sum.py", "kind": "function", "component": "core", "total_time": 0,
            "user_time": None, "kernel_time": None, "cpu_usage": None, "mem_usage": None,
        }  # fmt: skip
        assert list(content.metrics(session_h, 1)) == rows[1:]
        assert list(content.metrics("another", 0)) == []

    def test_the_session_and_the_machine(self, path: Path) -> None:
        """Commit and tags are those given; the machine is the one that the file names."""
        content = _open(path, scm_ref="0123abc", tags={"a": "b"})

        (row,) = content.sessions()
        assert (row["run_date"], row["scm_ref"]) == ("2026-11-20T12:00:00.000001", "0123abc")
        assert row["description"] == {"a": "b", "imported_from": "junit.xml"}
        (machine,) = content.contexts()
        assert machine["machine_node"] == "rack7"
        assert set(machine) == set(context())

    def test_the_same_file_is_the_same_session(self, path: Path, tmp_path: Path) -> None:
        """Its content is its name, whatever the file is called; other content is another session."""
        copy, other = tmp_path / "copy.xml", tmp_path / "other.xml"
        copy.write_text(JUNIT)
        other.write_text(JUNIT.replace("1.5", "1.6"))

        assert _open(path).counts() == _open(copy).counts()
        assert _open(path).counts() != _open(other).counts()

    def test_a_single_suite_without_time_or_host(self, tmp_path: Path) -> None:
        """The time of the file and an unknown machine stand for what it lacks."""
        path = tmp_path / "junit.xml"
        path.write_text('<testsuite><testcase name="test_x" time="soon"/><testcase/></testsuite>')

        content = _open(path)

        (session_h,) = content.counts()
        assert [(row["item"], row["total_time"]) for row in content.metrics(session_h, 0)] == [
            ("test_x", 0.0),
            ("", 0.0),
        ]
        assert [row["machine_node"] for row in content.contexts()] == ["unknown"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("<testsuites>", "not valid XML"),
            ("<html></html>", "begins with <html>"),
            ("text", "neither"),
            ("", "neither"),
        ],
    )
    def test_what_is_no_report(self, tmp_path: Path, text: str, said: str) -> None:
        """It is refused with what is wrong."""
        path = tmp_path / "file"
        path.write_text(text)

        with pytest.raises(InvalidInput, match=said):
            _open(path)

    def test_a_bomb_of_entities(self, tmp_path: Path) -> None:
        """It is refused before it has grown."""
        levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
        path = tmp_path / "bomb.xml"
        path.write_text(f'<!DOCTYPE x [<!ENTITY l0 "0123456789">{levels}]><testsuite name="&l11;"/>')

        with pytest.raises(InvalidInput):
            _open(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is refused with the reason."""
    with pytest.raises(InvalidInput, match="No such file"):
        _open(tmp_path / "nothing")
