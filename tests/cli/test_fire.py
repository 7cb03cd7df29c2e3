"""`smartmob fire` and its like: the real commands against a running headquarters and a turret on real sockets."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import QUICK_PROGRAMS, environment, run
from tests.cli.firing import _project, _smartmob, fire_ten
from tests.cli.wire import wire_to
from tests.turrets.conftest import Recruit, _lab, _recruit
from tests.turrets.runs import get

__all__ = ["_lab", "_project", "_recruit", "_smartmob"]

pytestmark = pytest.mark.timeout(900)


class TestFire:
    """The whole way."""

    async def test_the_summary_goes_to_standard_output_and_the_report_to_a_file(
        self, lab: Any, recruit: Recruit, smartmob: Any, project: Path, tmp_path: Path
    ) -> None:
        """Figures, errors and the verdict on standard output; the report in a file."""
        page = tmp_path / "report.html"
        code, output, errors = await fire_ten(lab, recruit, smartmob, project, "-o", page, "--fail-if", "p99>1s")
        assert code == 0, errors
        assert "10 transactions, 1 error" in output
        assert "boom" in output
        assert "Can this run be trusted? With care" in output
        # On a busy machine the turret of OCT is told late to stop, and fires for longer.
        assert "Sample: 10 transactions in " in output
        assert "Closed model: each cannon starts its next transaction when the previous one is over." in errors
        assert "finished: 3 of 3 s" in errors
        assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    async def test_a_condition_that_is_met(self, lab: Any, recruit: Recruit, smartmob: Any, project: Path) -> None:
        """The exit code is 1 and the reason is printed, also with the figures as JSON."""
        conditions = ("--fail-if", "errors>5%", "--fail-if", "p50>1s", "--json")
        code, output, errors = await fire_ten(lab, recruit, smartmob, project, *conditions)
        assert (code, errors.splitlines()[-1]) == (1, "smartmob: errors>5%: it is 10.00%")
        assert json.loads(output)["transactions"] == 10

    async def test_a_connection_that_breaks_ends_no_run(self, lab: Any, recruit: Recruit, project: Path) -> None:
        """Not even when it breaks at the request for the plan, and at that for the ports: the run continues."""
        async with wire_to(lab.server.port) as (wire, address):

            async def smartmob(*arguments: str | Path) -> tuple[int, str, str]:
                return await run(*arguments, SMARTMOB_SERVER=address)

            wire.cut_at = [re.compile(rb"GET \S*/turrets "), re.compile(rb"GET \S*/turret-runs/[^/]+ ")]
            code, output, errors = await fire_ten(lab, recruit, smartmob, project)
        assert (code, wire.cut_at) == (0, []), errors
        assert "10 transactions, 1 error" in output

    async def test_a_condition_that_is_none(self, lab: Any, smartmob: Any, project: Path) -> None:
        """Wrong usage, before anything is fired."""
        code, _, errors = await smartmob("fire", project, "--fail-if", "p99>fast")
        assert (code, "is not a condition" in errors) == (2, True)
        assert (await get(lab, "/turret-runs"))["runs"] == []

    async def test_a_warm_up_that_is_no_duration(self, lab: Any, smartmob: Any, project: Path) -> None:
        """It is refused before anything is fired."""
        code, _, errors = await smartmob("fire", project, "--warm-up", "fast")
        assert (code, "--warm-up fast: expected a duration such as 90s" in errors) == (2, True)
        assert (await get(lab, "/turret-runs"))["runs"] == []

    async def test_a_wrong_project_is_wrong_usage(self, lab: Any, smartmob: Any, project: Path, tmp_path: Path) -> None:
        """One line names the file, the line and the field; nothing is asked of a server."""
        file = project / "config.json"
        file.write_text('{\n"run_time": 1,\n"min_turrets": "two"\n}')
        code, output, errors = await smartmob("fire", project)
        assert (code, output) == (2, "")
        assert errors == f"smartmob: {file}:3: min_turrets: Expected `int`, got `str`\n"
        file.unlink()
        code, _, errors = await smartmob("fire", project)
        assert (code, f"{file}: No such file" in errors, errors.count("\n")) == (2, True, 1)
        (tmp_path / "no.tar").write_text("no archive")
        code, _, errors = await smartmob("fire", tmp_path / "no.tar")
        assert (code, "no.tar: the package is not a readable tar archive" in errors) == (2, True)
        assert (await get(lab, "/turret-runs"))["runs"] == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    async def test_ctrl_c_and_the_signals_of_pipelines_and_terminals(
        self, lab: Any, recruit: Recruit, project: Path, number: signal.Signals
    ) -> None:
        """The run is stopped, its figures are shown, and the exit code says that it did not end by itself."""
        (project / "config.json").write_text(json.dumps({"run_time": 600}))
        turret = await recruit(lab)
        process = await asyncio.create_subprocess_exec(
            *(QUICK_PROGRAMS / "smartmob", "fire", project),
            env=environment(SMARTMOB_SERVER=f"http://127.0.0.1:{lab.server.port}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await turret.until_told("start")
        await turret.fire({})
        process.send_signal(number)
        output, errors = await process.communicate()
        assert process.returncode == 1
        assert b"1 transaction" in output
        assert b"the run is stopped: stopped by request" in errors

    async def test_without_waiting_only_the_id_is_printed(self, lab: Any, smartmob: Any, project: Path) -> None:
        """The id of the run is all that is printed."""
        (project / "config.json").write_text(json.dumps({"run_time": 1, "name": "night", "warm_up": 5}))
        code, output, errors = await smartmob("fire", project, "--no-wait", "--warm-up", "0s", "--fail-if", "p95<1s")
        assert code == 0, errors
        run = await get(lab, f"/turret-runs/{output.strip()}")
        assert (run["name"], run["config"]["warm_up"]) == ("night", 0), "the option counts, also to have none"
        assert "'p95<1s' fails a run whose p95 is lower; to fail the others, write 'p95>=1s'" in errors

    async def test_ports_that_differ_from_the_headquarters_are_named(
        self, lab: Any, recruit: Recruit, smartmob: Any, project: Path
    ) -> None:
        """A project whose turrets would look elsewhere is fired with a warning."""
        (project / "config.json").write_text(json.dumps({"run_time": 3, "rc_port": 5001}))
        _, _, errors = await fire_ten(lab, recruit, smartmob, project)
        ports = (await get(lab, "/turrets"))["headquarters"]
        assert f"config.json says rc_port 5001, but the headquarters has {ports['rc_port']}" in errors

    async def test_a_server_that_does_not_answer_gives_the_exit_code_of_the_network(self, project: Path) -> None:
        """The exit code is that of network errors."""
        code, _, errors = await run("fire", project, SMARTMOB_SERVER="http://127.0.0.1:1")
        assert (code, "cannot connect" in errors) == (3, True)
