"""`smartmob tests import`: the real command against a running service."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.acceptance.commands import run
from tests.metrics.report_files.databases import write_pymon
from tests.metrics.samples import metric, session

pytestmark = pytest.mark.timeout(900)

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites>
  <testsuite name="a" timestamp="2026-11-20T10:00:00Z" hostname="rack7">
    <testcase classname="sums" name="one[1-2]" time="1.5" file="sums.py"/>
    <testcase classname="sums" name="bad" time="0.5"><failure message="no"/></testcase>
    <testcase classname="sums" name="left" time="0"><skipped/></testcase>
    <testcase classname="sums" name="untimed"/>
  </testsuite>
</testsuites>
"""


async def _runs(client: Any) -> list[dict[str, Any]]:
    async with client.get("/api/v1/runs/") as response:
        return list((await response.json())["runs"]) if response.status == 200 else []


class TestDatabases:
    """Databases of pytest-monitor."""

    async def test_a_database_twice_and_then_longer(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """The second time changes nothing; what was added to the file since is added to the service."""
        path = tmp_path / "x.pymon"
        rows = [metric(item=f"test_{n}") for n in range(1200)]
        write_pymon(path, [session(description='{"branch": "main"}')], rows[:700])
        code, output, errors = await tests("import", path)
        assert (code, output) == (0, ""), errors
        assert "700 metrics stored, 0 already stored" in errors
        assert "0 metrics stored, 700 already stored" in (await tests("import", path))[2]

        path.unlink()
        write_pymon(path, [session(description='{"branch": "main"}')], rows)
        assert "500 metrics stored, 700 already stored" in (await tests("import", path))[2]

        async with client.get("/metrics/", headers={"Accept": "application/x-ndjson"}) as response:
            assert [orjson.loads(line) for line in (await response.read()).splitlines()] == rows

    async def test_the_rest_of_what_the_plugin_sent(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """The plugin's own file completes a run in the middle of which the service was gone."""
        rows = [metric(item=f"test_{n}") for n in range(5)]
        await client.post("/metrics/", json=rows[:2])
        write_pymon(tmp_path / "x.pymon", [session(description="{}")], rows)

        assert "3 metrics stored, 2 already stored" in (await tests("import", tmp_path / "x.pymon"))[2]
        async with client.get("/metrics/") as response:
            assert (await response.json())["metrics"] == rows

    async def test_a_bad_row_is_named_and_the_others_are_stored(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """Its number does not count, so that a repeated import stores nothing twice."""
        rows = [metric(item="a"), metric(item_variant="broken", item_start_time="soon"), metric(item="c")]
        write_pymon(tmp_path / "x.pymon", [session(description="{}")], rows)

        code, _, errors = await tests("import", tmp_path / "x.pymon")

        assert code == 0
        assert "2 metrics stored, 0 already stored" in errors
        assert "1 left out, refused: tests.test_sum::broken: " in errors
        code, _, errors = await tests("import", tmp_path / "x.pymon", "--strict")
        assert (code, "0 metrics stored, 2 already stored" in errors) == (1, True)

    async def test_what_no_json_can_hold_refuses_only_its_row(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """Bytes and broken texts in a context, a session or a metric are named, and the rest is stored."""
        path = tmp_path / "x.pymon"
        rows = [metric(item=b"bytes"), metric(context_h="other", item="good"), metric(session_h=b"other")]
        write_pymon(path, [session(b"other", description="{}"), session(description="{}")], rows)
        database = sqlite3.connect(path)
        database.execute("UPDATE EXECUTION_CONTEXTS SET MACHINE_NODE = ?", (b"rack7",))
        database.execute("UPDATE TEST_METRICS SET ITEM_PATH = CAST(X'ff' AS TEXT) WHERE ITEM = ?", (b"bytes",))
        database.commit()
        database.close()

        code, _, errors = await tests("import", path)

        assert (code, "1 metric stored" in errors) == (0, True), errors
        for kind in ("2 left out, refused", "1 refused context", "1 refused session"):
            assert kind in errors

    async def test_a_run_of_an_hour_ago_began_an_hour_ago(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """Its times count as local times of the machine that imports, and are never those of a live sender."""
        zone = {"TZ": "Asia/Kolkata"}
        moment = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=60)
        text = (moment + timedelta(hours=5, minutes=30)).replace(tzinfo=None).isoformat()
        rows = [metric(item_start_time=text)]
        write_pymon(tmp_path / "x.pymon", [session(run_date=text, description="{}")], rows)

        assert (await tests("import", tmp_path / "x.pymon", **zone))[0] == 0

        (found,) = await _runs(client)
        assert datetime.fromisoformat(found["started_at"]) == moment
        assert found["sessions"][0]["run_date"] == text
        async with client.get("/metrics/") as response:
            assert (await response.json())["metrics"] == rows


class TestReports:
    """Reports of test tools, here JUnit XML; each format has its own reader, and its own tests."""

    async def test_it_says_what_it_did(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """As text and as JSON: cases, what was left out and what was not understood, with a first example."""
        path = tmp_path / "report.xml"
        path.write_text(REPORT)
        options = ("--scm-ref", "abc", "--tag", "a=b", "--component", "core")

        code, output, errors = await tests("import", path, *options)
        assert (code, output) == (0, "")
        first, *others = errors.splitlines()
        assert first == f"{path}: 2 metrics stored, 0 already stored (JUnit XML, 1 suite, 4 cases)"
        assert any(line.startswith("  1 left out, failed: sums::bad") for line in others)
        assert any(line.startswith("  1 left out, skipped: sums::left") for line in others)

        code, output, errors = await tests("import", path, *options, "--json", "--strict")
        assert (code, errors) == (1, "")
        (file,) = (document := json.loads(output))["files"]
        assert (file["stored"], file["known"], file["cases"], file["error"]) == (0, 2, 4, None)
        assert file["left_out"]["failed"]["count"] == document["totals"]["left_out"]["failed"] == 1

        (found,) = await _runs(client)
        assert (found["scm_ref"], found["metrics"], found["nodes"], found["total_time"]) == ("abc", 2, ["rack7"], 1.5)
        assert {"name": "a", "value": "b"} in found["tags"]
        assert datetime.fromisoformat(found["started_at"]) == datetime(2026, 11, 20, 10, tzinfo=UTC)
        async with client.get(f"/runs/{found['id']}/metrics") as response:
            rows = {row["item"]: row for row in (await response.json())["metrics"]}
        assert rows["one"]["item_start_time"] == "2026-11-20T10:00:00+00:00"
        assert (rows["untimed"]["total_time"], rows["one"]["component"]) == (None, "core")

    async def test_the_same_report_of_another_commit_is_another_run(
        self, client: Any, tests: Any, tmp_path: Path
    ) -> None:
        """So it is with another tag, machine or start; the same again is already stored."""
        path = tmp_path / "report.xml"
        path.write_text(REPORT)
        started = "2026-10-01T08:00:00+02:00"
        for option in (("--scm-ref", "a"), ("--tag", "n=1"), ("--machine", "rack8"), ("--started-at", started)):
            assert "2 metrics stored, 0 already stored" in (await tests("import", path, *option))[2]
            assert "0 metrics stored, 2 already stored" in (await tests("import", path, *option))[2]

        runs = await _runs(client)
        assert len(runs) == 4
        assert sorted(node for run in runs for node in run["nodes"]) == ["rack7", "rack7", "rack7", "rack8"]
        assert datetime.fromisoformat(runs[-1]["started_at"]) == datetime.fromisoformat(started)

    async def test_a_dry_run_needs_no_service(self, tmp_path: Path) -> None:
        """It counts what would be stored."""
        (tmp_path / "report.xml").write_text(REPORT)

        code, output, _ = await run(
            "tests", "import", "--dry-run", "--json", tmp_path / "report.xml", SMARTMOB_SERVER="http://127.0.0.1:1"
        )

        (file,) = json.loads(output)["files"]
        assert (code, file["metrics"], file["stored"]) == (0, 2, None)

    async def test_a_folder_with_good_and_bad_files(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """Each bad file is one line with its reason, the others are stored, and the exit code is 1."""
        folder = tmp_path / "reports"
        (folder / "sub").mkdir(parents=True)
        (folder / "a.xml").write_text(REPORT)
        (folder / "sub" / "b.xml.gz").write_bytes(gzip.compress(REPORT.replace("1.5", "2.5").encode()))
        (folder / "broken.xml").write_text("out of memory")
        (folder / "empty.xml").write_text("")
        (folder / "notes.txt").write_text("hello")
        os.mkfifo(folder / "pipe.xml")

        code, _, errors = await tests("import", folder)

        assert code == 1, errors
        assert f"{folder}/empty.xml: is empty" in errors
        assert f"{folder}/broken.xml: has an unknown format" in errors
        assert "hello" not in errors
        assert "4 files: 8 cases, 4 metrics, 4 stored, 0 already stored, 2 files not read" in errors
        assert len(await _runs(client)) == 2

    async def test_the_files_of_a_build_are_one_run(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """Also if they are imported again, and later with one that began before them all."""
        folder = tmp_path / "reports"
        folder.mkdir()
        for name in "bc":
            text = REPORT.replace("sums", name).replace("10:00", f"10:0{ord(name) - ord('a')}")
            (folder / f"{name}.xml").write_text(text)
        code, _, errors = await tests("import", folder)
        (run,) = await _runs(client)
        assert (code, len(run["sessions"])) == (0, 2)
        assert f"4 stored, 0 already stored, in the run {run['id']}" in errors

        (folder / "a.xml").write_text(REPORT)
        assert "2 stored, 4 already stored" in (await tests("import", folder))[2]
        (again,) = await _runs(client)
        assert (again["id"], len(again["sessions"])) == (run["id"], 3)

    async def test_a_file_that_the_service_refuses_is_one_line(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """The files after it are read, and the exit code is that of a bad file, not that of the network."""
        write_pymon(tmp_path / "a.pymon", [session("", description="{}")], [])
        (tmp_path / "b.xml").write_text(REPORT)

        code, _, errors = await tests("import", tmp_path / "a.pymon", tmp_path / "b.xml")

        assert (code, "the service refuses its session" in errors) == (1, True)
        assert len(await _runs(client)) == 1

    @pytest.mark.parametrize(
        ("options", "code", "said"),
        [
            (("--tag", "novalue"), 1, "expected NAME=VALUE"),
            (("--started-at", "soon"), 2, "is not a date and time"),
            (("--format", "excel"), 2, "excel"),
        ],
    )
    async def test_a_wrong_option_is_refused(
        self, tests: Any, tmp_path: Path, options: tuple[str, ...], code: int, said: str
    ) -> None:
        """The message says what is expected."""
        (tmp_path / "report.xml").write_text(REPORT)
        found, _, errors = await tests("import", tmp_path / "report.xml", *options)
        assert (found, said in errors) == (code, True), errors
