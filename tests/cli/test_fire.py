"""`smartmob fire` and its like: the real commands against a running headquarters and a turret on real sockets."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from smartmob.cli.fire import pack_project, print_summary
from smartmob.errors import InvalidInput
from tests.acceptance.commands import QUICK_PROGRAMS, environment, run
from tests.turrets.conftest import Recruit, _lab, _recruit
from tests.turrets.runs import get

__all__ = ["_lab", "_recruit"]

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    """Return a project that fires for three seconds: time enough for the turret on a busy machine."""
    folder = tmp_path / "project"
    (folder / "test_scripts").mkdir(parents=True)
    (folder / "test_scripts" / "v_user.py").write_text("pass\n")
    (folder / "config.json").write_text(json.dumps({"run_time": 3, "name": "night", "turrets": []}))
    return folder


@pytest.fixture(name="smartmob")
async def _smartmob(lab: Any) -> Any:
    """Return the caller of `smartmob` with the address of the headquarters: exit code, output, errors."""
    address = f"http://127.0.0.1:{lab.server.port}"

    async def call(*arguments: str | Path) -> tuple[int, str, str]:
        return await run(*arguments, SMARTMOB_SERVER=address)

    return call


async def _fire(lab: Any, recruit: Recruit, smartmob: Any, *arguments: str | Path) -> tuple[int, str, str]:
    """Return how `fire` ended, under which a turret sent ten results, one of them an error."""
    turret = await recruit(lab)

    async def shoot() -> None:
        await turret.until_told("start")
        await turret.fire(*({"scriptrun_time": 0.1} for _ in range(9)), {"scriptrun_time": 0.4, "error": "boom"})

    shooting = asyncio.create_task(shoot())
    ended: tuple[int, str, str] = await smartmob("fire", *arguments)
    await shooting
    return ended


class TestFire:
    """The whole way."""

    async def test_the_summary(self, lab: Any, recruit: Recruit, smartmob: Any, project: Path, tmp_path: Path) -> None:
        """Figures, errors and the verdict on standard output; the report in a file."""
        page = tmp_path / "report.html"
        code, output, errors = await _fire(lab, recruit, smartmob, project, "-o", page, "--fail-if", "p99>1s")
        assert code == 0, errors
        assert "10 transactions, 1 error" in output
        assert "boom" in output
        assert "Can this run be trusted? With care" in output
        # On a busy machine the turret of OCT is told late to stop, and fires for longer.
        assert "Sample: 10 transactions in " in output
        assert "Closed model: each cannon starts its next transaction when the one before is over." in errors
        assert "finished: 3 of 3 s" in errors
        assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    async def test_a_condition_that_is_met(self, lab: Any, recruit: Recruit, smartmob: Any, project: Path) -> None:
        """The exit code is 1 and the reason is printed, also with the figures as JSON."""
        conditions = ("--fail-if", "errors>5%", "--fail-if", "p50>1s", "--json")
        code, output, errors = await _fire(lab, recruit, smartmob, project, *conditions)
        assert (code, errors.splitlines()[-1]) == (1, "smartmob: errors>5%: it is 10.00%")
        assert json.loads(output)["transactions"] == 10

    async def test_a_condition_that_is_none(self, lab: Any, smartmob: Any, project: Path) -> None:
        """Wrong usage, before anything is fired."""
        code, _, errors = await smartmob("fire", project, "--fail-if", "p99>fast")
        assert (code, "is no condition" in errors) == (2, True)
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
        assert (code, "no.tar: the package is no tar archive" in errors) == (2, True)
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

    async def test_without_waiting(self, lab: Any, smartmob: Any, project: Path) -> None:
        """The id of the run is all that is printed."""
        (project / "config.json").write_text(json.dumps({"run_time": 1, "name": "night", "warm_up": 5}))
        code, output, errors = await smartmob("fire", project, "--no-wait", "--warm-up", "0s", "--fail-if", "p95<1s")
        assert code == 0, errors
        run = await get(lab, f"/turret-runs/{output.strip()}")
        assert (run["name"], run["config"]["warm_up"]) == ("night", 0), "the option counts, also to have none"
        assert "'p95<1s' fails a run whose p95 is lower; to fail the others, write 'p95>=1s'" in errors

    async def test_ports_that_differ(self, lab: Any, recruit: Recruit, smartmob: Any, project: Path) -> None:
        """A project whose turrets would look elsewhere is fired with a warning."""
        (project / "config.json").write_text(json.dumps({"run_time": 3, "rc_port": 5001}))
        _, _, errors = await _fire(lab, recruit, smartmob, project)
        ports = (await get(lab, "/turrets"))["headquarters"]
        assert f"config.json says rc_port 5001, but the headquarters has {ports['rc_port']}" in errors

    async def test_a_server_that_does_not_answer_gives_the_exit_code_of_the_network(self, project: Path) -> None:
        """The exit code is that of network errors."""
        code, _, errors = await run("fire", project, SMARTMOB_SERVER="http://127.0.0.1:1")
        assert (code, "cannot connect" in errors) == (3, True)


class TestAfterwards:
    """Reports and results of an ended run."""

    async def test_csv_report_and_rebuilding(
        self, lab: Any, recruit: Recruit, smartmob: Any, project: Path, tmp_path: Path
    ) -> None:
        """The columns of OCT's own command, a page for one run and for two, and the same figures made anew."""
        await _fire(lab, recruit, smartmob, project)
        table, page = tmp_path / "results.csv", tmp_path / "page.html"

        code, _, errors = await smartmob("results-to-csv", "last", table)
        assert (code, errors) == (0, f"{table}: 10 results\n")
        rows = list(csv.reader(table.read_text().splitlines(), delimiter=";"))
        assert rows[0] == ["elapsed time", "epoch (in seconds)", "turret name", "transaction time", "error"]
        assert [row[3:] for row in rows[-2:]] == [["0.1", ""], ["0.4", "boom"]]

        for arguments in (("report", "last"), ("report", "last", "--against", "last"), ("rebuild-results", "last")):
            page.unlink(missing_ok=True)
            code, _, errors = await smartmob(*arguments, "-o", page)
            assert (code, page.exists()) == (0, True), errors
        assert "10 transactions, 1 error" in errors

    async def test_without_a_run_the_error_explains_how_to_start_one(self, smartmob: Any) -> None:
        """The error has the command that starts a run."""
        code, _, errors = await smartmob("report", "last")
        assert (code, "smartmob fire PROJECT" in errors) == (1, True)

    async def test_an_unknown_run(self, smartmob: Any, tmp_path: Path) -> None:
        """Nothing is written."""
        code, _, errors = await smartmob("report", "a/b", "-o", tmp_path / "x.html")
        assert (code, "there is no load test a/b" in errors) == (1, True)

    async def test_a_file_that_cannot_be_written(
        self, lab: Any, recruit: Recruit, smartmob: Any, project: Path
    ) -> None:
        """The error names the file and the reason."""
        await _fire(lab, recruit, smartmob, project)
        code, _, errors = await smartmob("report", "last", "-o", "/nowhere/x.html")
        assert (code, errors) == (1, "smartmob: cannot write /nowhere/x.html: No such file or directory\n")


def test_a_narrow_terminal_cuts_no_duration(capsys: pytest.CaptureFixture[str]) -> None:
    """It has fewer columns, each with its unit, also for failures."""
    shares = dict.fromkeys(("50", "90", "95", "99", "99.9"), 0.0111)
    row = {
        "count": 1_000,
        "errors": 9,
        "min": 0.001,
        "avg": 0.0222,
        "max": 0.3333,
        "stdev": 0.01,
        "percentiles": shares,
    }
    timers = {"All transactions": row | {"failed": row}, "GET /a/long/address": row | {"failed": None}}
    summary = {"id": "x" * 36, "transactions": 1_000, "errors": 9, "rate": 12.5, "warm_up": 0, "timers": timers}
    summary |= {"sent": 0, "received": 0, "error_texts": [], "timer_errors": {}, "other_error_texts": 0}
    print_summary(summary | {"trust": {"facts": [], "doubts": []}}, 80)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80, lines
    rows = [line.split() for line in lines if line.startswith("All transactions")]
    durations = ["22.2", "ms", "11.1", "ms", "11.1", "ms", "11.1", "ms", "333.3", "ms"]
    assert [row[-10:] for row in rows] == [durations, durations]


class TestPackage:
    """The package of a project."""

    def test_a_folder(self, project: Path) -> None:
        """The configuration comes first; results, packages and hidden files stay where they are."""
        for name in ("results/x/results.html", ".git/config", "nav.tar.gz", "templates/a.html", "turrets/nav.json"):
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text("x")
        with tarfile.open(fileobj=BytesIO(pack_project(project))) as archive:
            assert archive.getnames() == ["config.json", "test_scripts/v_user.py", "turrets/nav.json"]

    def test_another_configuration(self, project: Path, tmp_path: Path) -> None:
        """It goes under the usual name."""
        other = tmp_path / "other.json"
        other.write_text('{"run_time": 7}')
        with tarfile.open(fileobj=BytesIO(pack_project(project, other))) as archive:
            file = archive.extractfile("config.json")
            assert file is not None
            assert json.load(file) == {"run_time": 7}

    def test_a_package(self, project: Path, tmp_path: Path) -> None:
        """It is sent as it is."""
        packed = tmp_path / "project.tar.gz"
        packed.write_bytes(pack_project(project))
        assert pack_project(packed) == packed.read_bytes()

    def test_no_project(self, tmp_path: Path) -> None:
        """The error names the file that is missing."""
        with pytest.raises(InvalidInput, match=r"config\.json: No such file"):
            pack_project(tmp_path)
