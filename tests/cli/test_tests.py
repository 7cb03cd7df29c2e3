"""`smartmob tests`: the real command against a running service."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.acceptance.commands import run
from tests.cli.test_result_files import JUNIT, write_pymon
from tests.metrics.samples import context, metric, session

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(name="tests")
async def _tests(client: Any) -> Any:
    """Return the caller of `smartmob tests` with the address of a service: exit code, output, errors."""
    address = f"http://127.0.0.1:{client.server.port}"

    async def call(*arguments: str | Path, **env: str) -> tuple[int, str, str]:
        return await run("tests", *arguments, SMARTMOB_SERVER=address, **env)

    return call


async def _fill(client: Any) -> None:
    for path, document in (
        ("/contexts/", context()),
        ("/sessions/", session("ab" * 16, description={"branch": "main"})),
        ("/metrics/", [metric(session_h="ab" * 16, item=f"test_{n}", total_time=n + 0.5) for n in range(3)]),
    ):
        async with client.post(path, json=document) as response:
            assert response.status == 201


class TestLs:
    """The list of runs."""

    async def test_a_table(self, client: Any, tests: Any) -> None:
        """Runs with what they cost, and metrics without a session."""
        await _fill(client)
        await client.post("/metrics/", json=metric(session_h="0f" * 16))

        code, output, errors = await tests("ls")

        assert (code, errors) == (0, "")
        run_line = next(line for line in output.splitlines() if line.startswith("abababababab"))
        assert run_line.split()[3:] == ["0123abc", "rack7", "1", "3", "4.50", "s", "branch=main"]
        assert "Metrics without a session" in output
        assert "0f" * 16 in output

    async def test_json(self, client: Any, tests: Any) -> None:
        """The same for programs."""
        await _fill(client)

        code, output, _ = await tests("ls", "--json", "--limit", "1")

        assert code == 0
        document = json.loads(output)
        assert [found["metrics"] for found in document["runs"]] == [3]
        assert document["orphans"] == []

    async def test_nothing_yet(self, tests: Any) -> None:
        """An empty service is no error."""
        assert (await tests("ls"))[0] == 0
        assert json.loads((await tests("ls", "--json"))[1]) == {"runs": [], "orphans": []}


class TestShow:
    """Time, CPU and memory of the tests of a run."""

    async def test_by_the_beginning_of_its_name(self, client: Any, tests: Any) -> None:
        """Its tests, those first that took longest when asked so."""
        await _fill(client)

        code, output, _ = await tests("show", "abab", "--sort", "time")

        assert code == 0
        assert "commit 0123abc" in output
        names = [line.split("::")[1].split()[0] for line in output.splitlines() if "::" in line]
        assert names == ["test_sum[1,"] * 3
        assert [line.split()[3:5] for line in output.splitlines() if "::" in line] == [
            ["2.50", "s"], ["1.50", "s"], ["500.0", "ms"]
        ]  # fmt: skip

    async def test_json(self, client: Any, tests: Any) -> None:
        """The run with its metrics."""
        await _fill(client)

        _, output, _ = await tests("show", "ab" * 16, "--json")

        assert [row["item"] for row in json.loads(output)["measured"]] == ["test_0", "test_1", "test_2"]

    async def test_what_is_not_there_or_not_clear(self, client: Any, tests: Any) -> None:
        """It says so, with exit code 1."""
        await _fill(client)
        await client.post("/sessions/", json=session("abcd"))

        assert await tests("show", "zz") == (
            1, "", "smartmob: there is no run or session zz; `smartmob tests ls` lists them\n"
        )  # fmt: skip
        code, _, errors = await tests("show", "ab")
        assert (code, "the beginning of 2 sessions" in errors) == (1, True)


class TestHistory:
    """One test over time."""

    async def test_a_table_and_json(self, client: Any, tests: Any) -> None:
        """Each execution with its commit and machine."""
        await _fill(client)

        code, output, _ = await tests("history", "test_1")
        assert code == 0
        assert "0123abc" in output
        assert "▇" in output
        rows = json.loads((await tests("history", "test_1", "--json"))[1])
        assert [(row["item"], row["total_time"], row["machine_node"]) for row in rows] == [("test_1", 1.5, "rack7")]

    async def test_a_test_that_is_not_known(self, tests: Any) -> None:
        """It is exit code 1 with where to find the names."""
        code, output, errors = await tests("history", "nothing")
        assert (code, output, "smartmob tests show" in errors) == (1, "", True)


class TestImport:
    """Files that are loaded."""

    async def test_a_database_twice_and_then_longer(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """The second time changes nothing; what was added to the file since is added to the service."""
        path = tmp_path / "x.pymon"
        rows = [metric(item=f"test_{n}") for n in range(1200)]
        write_pymon(path, [session(description='{"branch": "main"}')], rows[:700])
        code, output, errors = await tests("import", path)
        assert (code, output) == (0, "")
        assert "700 measures stored, 0 known already" in errors
        assert "0 measures stored, 700 known already" in (await tests("import", path))[2]

        path.unlink()
        write_pymon(path, [session(description='{"branch": "main"}')], rows)
        assert "500 measures stored, 700 known already" in (await tests("import", path))[2]

        async with client.get("/metrics/", headers={"Accept": "application/x-ndjson"}) as response:
            assert [orjson.loads(line) for line in (await response.read()).splitlines()] == rows

    async def test_the_rest_of_what_the_plugin_sent(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """When the service was gone in the middle of a run, the plugin's own file completes it."""
        rows = [metric(item=f"test_{n}") for n in range(5)]
        await client.post("/metrics/", json=rows[:2])
        write_pymon(tmp_path / "x.pymon", [session(description="{}")], rows)

        assert "3 measures stored, 2 known already" in (await tests("import", tmp_path / "x.pymon"))[2]
        async with client.get("/metrics/") as response:
            assert (await response.json())["metrics"] == rows

    async def test_junit(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """With commit, tags and component from the command line."""
        path = tmp_path / "junit.xml"
        path.write_text(JUNIT)

        code, _, errors = await tests("import", path, "--scm-ref", "abc", "--tag", "a=b", "--component", "core")

        assert code == 0
        assert "2 measures stored, 0 known already, 3 tests left out because they did not pass" in errors
        async with client.get("/api/v1/runs/") as response:
            (found,) = (await response.json())["runs"]
        assert (found["scm_ref"], found["metrics"], found["nodes"]) == ("abc", 2, ["rack7"])
        assert {"name": "a", "value": "b"} in found["tags"]

    @pytest.mark.parametrize(
        ("name", "content", "options", "code", "said"),
        [
            ("x.txt", "hello", (), 1, "neither a pytest-monitor database"),
            ("junit.xml", JUNIT, ("--tag", "novalue"), 1, "expected NAME=VALUE"),
            ("", "", (), 2, "does not exist"),
        ],
    )
    async def test_what_cannot_be_loaded(
        self, tests: Any, tmp_path: Path, name: str, content: str, options: tuple[str, ...], code: int, said: str
    ) -> None:
        """It says what is wrong."""
        path = tmp_path / (name or "nothing")
        if name:
            path.write_text(content)

        found, _, errors = await tests("import", path, *options)

        assert (found, said in errors) == (code, True), errors


class TestExport:
    """Files that are written."""

    async def test_csv_and_lines(self, client: Any, tests: Any) -> None:
        """To standard output, so that they can be piped."""
        await _fill(client)

        code, output, errors = await tests("export")
        assert (code, errors) == (0, "3 measures written\n")
        assert [row["item"] for row in csv.DictReader(io.StringIO(output))] == ["test_0", "test_1", "test_2"]
        _, output, _ = await tests("export", "--format", "ndjson")
        assert [json.loads(line)["item"] for line in output.splitlines()] == ["test_0", "test_1", "test_2"]

    async def test_an_exported_database_can_be_imported(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """A database of pytest-monitor that was exported is the same after it was imported."""
        await _fill(client)
        await client.post("/metrics/", json=metric(session_h="other", context_h="unknown"))
        path = tmp_path / "out.pymon"

        assert (await tests("export", "--format", "pymon", "-o", path, "--run", "ab" * 16))[0] == 0

        database = sqlite3.connect(path)
        assert [row[0] for row in database.execute("SELECT ITEM FROM TEST_METRICS")] == ["test_0", "test_1", "test_2"]
        assert database.execute("SELECT * FROM TEST_SESSIONS").fetchall() == [
            ("ab" * 16, "2026-11-20T12:00:00.000123", "0123abc", '{"branch":"main"}')
        ]
        assert [row[0] for row in database.execute("SELECT MACHINE_NODE FROM EXECUTION_CONTEXTS")] == ["rack7"]
        database.close()
        await client.delete(f"/sessions/{'ab' * 16}")
        assert "3 measures stored" in (await tests("import", path))[2]

    async def test_a_file_that_is_there(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """It is replaced only when that is said, and whole or not at all."""
        await _fill(client)
        path = tmp_path / "out.csv"
        path.write_text("mine")

        code, _, errors = await tests("export", "-o", path)
        assert (code, "--force" in errors, path.read_text()) == (1, True, "mine")
        assert (await tests("export", "-o", path, "--force"))[0] == 0
        assert path.read_text().startswith("session_h,")
        assert not list(tmp_path.glob("*.part"))

    async def test_a_database_needs_a_file(self, tests: Any) -> None:
        """It says which option is missing."""
        code, _, errors = await tests("export", "--format", "pymon")
        assert (code, "--output FILE" in errors) == (1, True)


class TestServer:
    """Services that cannot be reached, or want a token."""

    async def test_no_service(self) -> None:
        """It is exit code 3, with the address and a call."""
        code, output, errors = await run("tests", "ls", "--server", "http://127.0.0.1:1")
        assert (code, output) == (3, "")
        assert errors.startswith("smartmob: cannot connect to http://127.0.0.1:1")

    @pytest.mark.parametrize("address", ["nonsense", "ftp://x"])
    async def test_no_address(self, address: str) -> None:
        """It is exit code 3 and says what an address looks like."""
        code, _, errors = await run("tests", "ls", "--server", address)
        assert (code, "http://127.0.0.1:8080" in errors) == (3, True), errors

    async def test_a_token(self, with_settings: Any, tmp_path: Path) -> None:
        """From the environment or a file; without it the answer says what to do."""
        client = await with_settings(token="s3cret")
        address = f"http://127.0.0.1:{client.server.port}"
        (tmp_path / "token").write_text("s3cret\n")

        code, _, errors = await run("tests", "ls", "--server", address)
        assert (code, "token" in errors) == (3, True)
        assert (await run("tests", "ls", "--server", address, SMARTMOB_TOKEN="s3cret"))[0] == 0
        assert (await run("tests", "ls", "--server", address, "--token-file", tmp_path / "token"))[0] == 0
