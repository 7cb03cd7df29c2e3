"""`smartmob report-host`: the installed command."""

from __future__ import annotations

import asyncio
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.commands import PROGRAMS, environment, run
from tests.hosts.samples import register
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]


async def test_it_reports_until_it_is_stopped(client: Any, tmp_path: Path) -> None:
    """It creates a private password, reports, imports no module of the service, and ends in order."""
    url = f"http://127.0.0.1:{client.server.port}"
    process = await asyncio.create_subprocess_exec(
        *(PROGRAMS / "smartmob", "report-host", "--to", url, "--name", "rack/7", "--interval", "0.1"),
        *("--state-dir", tmp_path),
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )

    async def reported() -> bool:
        async with client.get("/hosts/rack%2F7") as response:
            return response.status == 200 and (await response.json())["latest"] is not None

    await until(reported)
    mapped = {Path(found.path).name for found in psutil.Process(process.pid).memory_maps()}
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    errors = (await process.stderr.read()).decode()
    assert await process.wait() == 0
    assert errors.splitlines()[-1] == "smartmob report-host: stopped"
    assert not [name for name in mapped if "asyncpg" in name or "uvloop" in name]
    password = tmp_path / "report-host" / "rack%2F7" / "password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert len(password.read_text()) >= 24


async def test_report_host_imports_no_server_or_terminal_library() -> None:
    """Neither the database's driver nor HTTP's server side, nor what draws on terminals."""
    code = (
        "import sys, smartmob.cli.main, smartmob.cli.report_host, smartmob.client.reporter\n"
        "import smartmob.kernel.runtime.clock\n"
        "print([name for name in ('aiohttp.web', 'asyncpg', 'rich', 'jinja2', 'structlog') if name in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.decode().strip() == "[]"


async def test_a_name_that_is_taken(client: Any, tmp_path: Path) -> None:
    """The command ends with the next step."""
    await register(client, "rack7")
    url = f"http://127.0.0.1:{client.server.port}"
    code, _, errors = await run("report-host", "--to", url, "--name", "rack7", "--state-dir", tmp_path)
    assert code == 1
    assert "--name" in errors


@pytest.mark.parametrize("url", ["lab:8080", "ftp://lab", ""])
async def test_an_address_that_is_none(url: str, tmp_path: Path) -> None:
    """The error shows the form of an address."""
    code, _, errors = await run("report-host", "--to", url, "--state-dir", tmp_path)
    assert code == 2
    assert "--to" in errors


@pytest.mark.parametrize(
    ("option", "given", "words"),
    [
        ("--net", "eth99", "there is no such network interface; there are "),
        ("--disk", "sdzz9", "there is no such disk; there are "),
        ("--disk", "/no/such/folder", "there is no such folder"),
        ("--name", "fe80::1", "begins with a letter"),
    ],
)
async def test_a_name_that_there_is_not(option: str, given: str, words: str, tmp_path: Path) -> None:
    """One line lists the names that exist."""
    code, _, errors = await run("report-host", "--to", "http://127.0.0.1:9", "--state-dir", tmp_path, option, given)
    assert code == 2
    assert len(errors.splitlines()) == 1
    assert f"{option} " in errors
    assert words in errors


async def test_fields_that_cannot_be_measured_do_not_end_the_agent(client: Any, tmp_path: Path) -> None:
    """A container's host name is accepted; a folder that is removed makes the storage stale, and the rest is sent."""
    folder = tmp_path / "measured"
    folder.mkdir()
    url = f"http://127.0.0.1:{client.server.port}"
    process = await asyncio.create_subprocess_exec(
        *(PROGRAMS / "smartmob", "report-host", "--to", url, "--name", "3f2a9c0d1e2f", "--interval", "0.1"),
        *("--state-dir", tmp_path, "--disk", folder),
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )

    async def latest() -> Any:
        async with client.get("/hosts/3f2a9c0d1e2f") as response:
            return (await response.json()).get("latest") if response.status == 200 else None

    async def measured() -> bool:
        return bool((found := await latest()) and found["storage"] is not None)

    async def stale() -> bool:
        found = await latest()
        return found["storage"] is None and found["stale"]["storage"]["value"] and found["cpu"] is not None

    await until(measured)
    folder.rmdir()
    await until(stale)
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    errors = (await process.stderr.read()).decode()
    assert await process.wait() == 0
    assert f"storage cannot be measured ({folder}: No such file or directory); the other fields are sent" in errors


async def test_a_state_folder_that_is_none(tmp_path: Path) -> None:
    """The error comes at the start."""
    (tmp_path / "file").touch()
    code, _, errors = await run("report-host", "--to", "http://127.0.0.1:9", "--state-dir", tmp_path / "file")
    assert code == 1
    assert "--state-dir" in errors
