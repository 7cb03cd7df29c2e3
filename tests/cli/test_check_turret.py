"""`smartmob check-turret`: what it prints and writes, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from junitparser import JUnitXml

from smartmob.cli.main import group
from smartmob.errors import InvalidInput, SettingsError
from tests.interop.children import clean_environment
from tests.waiting import until

NO_TURRET = ("sh", "-c", "echo no turret '<&' >&2; exit 7")


def _invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(group, ["check-turret", *arguments], standalone_mode=False, catch_exceptions=False)
    return int(result.return_value), result.output


def test_a_program_that_is_no_turret(tmp_path: Path) -> None:
    """The table names the broken rule with its reason, JUnit has a case for each rule, and the exit code is 1."""
    junit = tmp_path / "out.xml"
    code, output = _invoke("--junit", str(junit), *NO_TURRET)
    assert code == 1
    assert "announces" in output
    assert "exit code 7; its last line of output: no turret <&" in " ".join(output.split())
    suite = next(iter(JUnitXml.fromfile(str(junit))))
    assert (suite.failures, suite.tests) == (1, len(list(suite)))
    assert [case.name for case in suite if case.result and case.result[0].type is None and not case.is_skipped] == [
        "announces"
    ]


def test_json_has_each_rule_with_its_result() -> None:
    """Standard output is one document with each rule and its result; options after the command are its own."""
    code, output = _invoke("--json", *NO_TURRET, "--junit", "--patience=x")
    document = json.loads(output)
    assert (code, document["passed"], document["command"]) == (1, False, [*NO_TURRET, "--junit", "--patience=x"])
    assert {one["rule"]: one["result"] for one in document["checks"]}["announces"] == "failed"


def test_a_command_that_cannot_be_started_is_one_line(tmp_path: Path) -> None:
    """Without a command, and with one that cannot be started, one line says what to do."""
    result = CliRunner().invoke(group, ["check-turret"])
    assert (result.exit_code, "Missing argument 'COMMAND...'" in result.output) == (2, True)
    with pytest.raises(SettingsError, match="cannot start /absent/turret"):
        _invoke("/absent/turret", "--junit", "x")
    with pytest.raises(InvalidInput, match="cannot write"):
        _invoke("--junit", str(tmp_path / "absent" / "x.xml"), *NO_TURRET)


def test_it_needs_no_database(tmp_path: Path) -> None:
    """The light installation, which has neither the database driver nor what draws charts, is enough."""
    code = (
        "import sys, smartmob.cli.check_turret, smartmob.turrets.conformance.turret_check\n"
        "print(sorted({'asyncpg', 'plotly', 'jinja2', 'prometheus_client', 'smartmob.app'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean_environment(tmp_path)
    )
    assert done.stdout.strip() == "[]"


async def test_a_killed_check_leaves_no_turret(tmp_path: Path) -> None:
    """Not even SIGKILL, which no program can handle, and not a child of the turret in a session of its own."""
    script = "setsid sleep 600 & echo $$ $! > pids; mv pids done; sleep 600"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "smartmob", "check-turret", "sh", "-c", f"cd {tmp_path}; {script}"),
        env=clean_environment(tmp_path),
        stderr=asyncio.subprocess.DEVNULL,
    )
    await until((tmp_path / "done").exists)
    pids = [int(text) for text in (tmp_path / "done").read_text().split()]
    process.kill()
    assert await process.wait() == -signal.SIGKILL

    def is_over(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    await until(lambda: all(map(is_over, pids)))
