"""`smartmob tests`: the real command against a running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import run
from tests.cli.measured import fill
from tests.metrics.samples import metric, session
from tests.metrics.suites import describe, send

pytestmark = pytest.mark.timeout(900)


class TestLs:
    """The list of runs."""

    async def test_runs_are_listed_with_their_cost(self, client: Any, tests: Any) -> None:
        """Runs with what they cost, and metrics without a session."""
        await fill(client)
        await client.post("/metrics/", json=metric(session_h="0f" * 16))

        code, output, errors = await tests("ls")

        assert (code, errors) == (0, "")
        run_line = next(line for line in output.splitlines() if line.startswith("abababababab"))
        assert run_line.split()[3:] == ["0123abc", "rack7", "1", "3", "4.50", "s", "branch=main"]
        assert "Metrics without a session" in output
        assert "0f" * 16 in output

    async def test_the_list_as_json_has_the_same_runs(self, client: Any, tests: Any) -> None:
        """The same for programs."""
        await fill(client)

        code, output, _ = await tests("ls", "--json", "--limit", "1")

        assert code == 0
        document = json.loads(output)
        assert [found["metrics"] for found in document["runs"]] == [3]
        assert document["orphans"] == []

    async def test_a_session_of_the_future_is_marked(self, client: Any, tests: Any) -> None:
        """A line below the table says why the run is ordered by its arrival, and `show` says it too."""
        await fill(client)
        await client.post("/sessions/", json=session("cd" * 16, run_date="2099-01-01T00:00:00+00:00"))
        output = (await tests("ls"))[1]
        (line,) = [line for line in output.splitlines() if "2099" in line]
        assert line.startswith("cdcdcdcdcdcd: the sender dated it 2099-01-01 00:00 UTC, ")
        assert "Time: the sender dated it 2099" in (await tests("show", "cdcd"))[1]
        assert "Machine: rack7, Python 3.11 (it is the host name of the machine)." in (await tests("show", "abab"))[1]

    async def test_an_empty_service_is_no_error(self, tests: Any) -> None:
        """An empty service is no error."""
        assert (await tests("ls"))[0] == 0
        assert json.loads((await tests("ls", "--json"))[1]) == {"runs": [], "orphans": []}


class TestShow:
    """Time, CPU and memory of the tests of a run."""

    async def test_by_the_beginning_of_its_name(self, client: Any, tests: Any) -> None:
        """Its tests, those first that took longest when asked so."""
        await fill(client)

        code, output, _ = await tests("show", "abab", "--sort", "time")

        assert code == 0
        assert "commit 0123abc" in output
        names = [line.split("::")[1].split()[0] for line in output.splitlines() if "::" in line]
        assert names == ["test_sum[1,"] * 3
        assert [line.split()[3:5] for line in output.splitlines() if "::" in line] == [
            ["2.50", "s"], ["1.50", "s"], ["500.0", "ms"]
        ]  # fmt: skip

    async def test_the_list_as_json_has_the_same_runs(self, client: Any, tests: Any) -> None:
        """The run with its metrics."""
        await fill(client)

        _, output, _ = await tests("show", "ab" * 16, "--json")

        assert [row["item"] for row in json.loads(output)["measured"]] == ["test_0", "test_1", "test_2"]

    async def test_missing_and_ambiguous_runs_are_refused(self, client: Any, tests: Any) -> None:
        """The exit code is 1."""
        await fill(client)
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
        await fill(client)

        code, output, _ = await tests("history", "test_1")
        assert code == 0
        assert "0123abc" in output
        assert "▇" in output
        rows = json.loads((await tests("history", "test_1", "--json"))[1])
        assert [(row["item"], row["total_time"], row["machine_node"]) for row in rows] == [("test_1", 1.5, "rack7")]

    async def test_the_machine_that_is_meant(self, client: Any, tests: Any) -> None:
        """A machine that calls itself localhost has the name of its sessions, in the table and in the list."""
        await describe(client, machine_node="localhost")
        await send(client, "s0", 0, tags={"machine": "build7"})
        for words in (("history", "test_1"), ("ls",)):
            code, output, _ = await tests(*words)
            assert (code, "build7" in output, "localhost" in output) == (0, True, False), output

    async def test_a_test_that_is_not_known(self, client: Any, tests: Any) -> None:
        """It is exit code 1 with the name that was meant, or where to find the names."""
        code, output, errors = await tests("history", "nothing")
        assert (code, output, "smartmob tests show" in errors) == (1, "", True)
        await send(client, "s0", 0, tests=["test_checkout", "test_cart"])
        for given, hint in (("checkot", "did you mean test_checkout?"), ("xyz", "the names are those of")):
            for words in (("history", given), ("trends", given)):
                code, output, errors = await tests(*words)
                assert (code, output, errors.count("\n"), hint in errors) == (1, "", 1, True), errors
        assert (await tests("trends", "tests.test_sum::test_c"))[0] == 0


class TestServer:
    """Services that cannot be reached, or want a token."""

    async def test_an_unreachable_service_is_exit_code_3(self) -> None:
        """It is exit code 3, with the address and a call."""
        code, output, errors = await run("tests", "ls", "--server", "http://127.0.0.1:1")
        assert (code, output) == (3, "")
        assert errors.startswith("smartmob: cannot connect to http://127.0.0.1:1")

    @pytest.mark.parametrize("address", ["ftp://x", "http://", "a:99999", "a b"])
    async def test_an_invalid_address_is_refused(self, address: str) -> None:
        """The exit code is that of wrong usage, and the error shows the form of an address in one line."""
        code, _, errors = await run("tests", "ls", "--server", address)
        assert (code, "HOST:PORT" in errors, errors.count("\n")) == (2, True, 1), errors

    async def test_without_a_token_the_error_says_how_to_give_one(self, with_settings: Any, tmp_path: Path) -> None:
        """It comes from the environment or a file; without it the error has the next step."""
        client = await with_settings(token="s3cret")
        address = f"http://127.0.0.1:{client.server.port}"
        (tmp_path / "token").write_text("s3cret\n")

        code, _, errors = await run("tests", "ls", "--server", address)
        assert (code, "token" in errors) == (3, True)
        assert (await run("tests", "ls", "--server", address, SMARTMOB_TOKEN="s3cret"))[0] == 0
        assert (await run("tests", "ls", "--server", address, "--token-file", tmp_path / "token"))[0] == 0
