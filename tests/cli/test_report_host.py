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


async def test_what_it_imports() -> None:
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
    """It ends and says what to do."""
    await register(client, "rack7")
    url = f"http://127.0.0.1:{client.server.port}"
    code, _, errors = await run("report-host", "--to", url, "--name", "rack7", "--state-dir", tmp_path)
    assert code == 1
    assert "--name" in errors


@pytest.mark.parametrize("url", ["lab:8080", "ftp://lab", ""])
async def test_an_address_that_is_none(url: str, tmp_path: Path) -> None:
    """It is said how one looks."""
    code, _, errors = await run("report-host", "--to", url, "--state-dir", tmp_path)
    assert code == 2
    assert "--to" in errors


async def test_a_state_folder_that_is_none(tmp_path: Path) -> None:
    """It is said at the start."""
    (tmp_path / "file").touch()
    code, _, errors = await run("report-host", "--to", "http://127.0.0.1:9", "--state-dir", tmp_path / "file")
    assert code == 1
    assert "--state-dir" in errors
