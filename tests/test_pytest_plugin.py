"""The fixtures for tests against a service, used by runs of pytest of their own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import aiohttp

from tests.acceptance import forked
from tests.waiting import until

_SETTINGS = """
import pytest

@pytest.fixture(scope="session")
def smartmob_settings(tmp_path_factory):
    return {settings}
"""

_TESTS = """
import sys
import urllib.request

import aiohttp
import pytest

seen = []

def show(url):
    with urllib.request.urlopen(url) as response:
        return response.status

def test_sync(smartmob_url, fresh_smartmob_url):
    assert show(smartmob_url) == show(fresh_smartmob_url) == 200
    seen.extend((smartmob_url, fresh_smartmob_url))

async def test_async(smartmob_url, fresh_smartmob_url):
    async with aiohttp.ClientSession() as session, session.get(fresh_smartmob_url) as response:
        assert response.status == 200
    assert smartmob_url == seen[0]
    assert fresh_smartmob_url not in seen

async def test_with_aiohttp(aiohttp_client, smartmob_url):
    client = await aiohttp_client(aiohttp.web.Application())
    async with client.session.get(smartmob_url) as response:
        assert response.status == 200

class TestInClasses:
    def test_one(self, smartmob_url):
        assert smartmob_url == seen[0]

def test_nothing_of_the_service_is_imported_here():
    assert {name for name in sys.modules if name.startswith("smartmob")} == {"smartmob", "smartmob.pytest_plugin"}

def test_the_service_of_one_test_has_ended():
    with pytest.raises(OSError):
        show(seen[1])
"""


def _command(folder: Path, settings: str, tests: str) -> list[str | Path]:
    (folder / "conftest.py").write_text(_SETTINGS.format(settings=settings))
    (folder / "test_lab.py").write_text(tests)
    # Modules of this name in the folder of the tests are not those of the service.
    (folder / "statistics.py").write_text("raise RuntimeError")
    plugins = ("pytest_asyncio", "aiohttp.pytest_plugin", "smartmob.pytest_plugin")
    plugged = [word for plugin in plugins for word in ("-p", plugin)]
    python = forked.python(Path(sys.executable), "pytest", "aiohttp")
    return [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", *plugged, folder]


_ENVIRONMENT = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "SMARTMOB_PORT": "1", "PYTEST_ADDOPTS": ""}


async def test_the_fixtures_serve_tests_of_each_kind(database_url: str, tmp_path: Path) -> None:
    """Sync, async, aiohttp's and classes share a service; each test can have one of its own, ended after the test."""
    command = _command(tmp_path, repr({"database_url": database_url, "processes_grace": 1}), _TESTS)
    run = asyncio.to_thread(subprocess.run, command, cwd=tmp_path, env=_ENVIRONMENT, capture_output=True, text=True)
    result = await run
    assert "6 passed" in result.stdout, result.stdout + result.stderr


async def test_a_service_that_does_not_start_is_one_line(tmp_path: Path) -> None:
    """The reason stands in the error of the test, without a traceback of the plugin."""
    command = _command(tmp_path, '{"processes_graze": 1}', "def test_sync(smartmob_url): pass")
    run = asyncio.to_thread(subprocess.run, command, cwd=tmp_path, env=_ENVIRONMENT, capture_output=True, text=True)
    result = await run
    assert result.returncode == 1
    line = "the smartmob service did not start: serving() got 'processes_graze', and there is no such setting"
    assert f"\n{line}; did you mean 'processes_grace'?\n" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


async def test_a_service_ends_with_a_run_that_is_killed(database_url: str, tmp_path: Path) -> None:
    """SIGKILL of pytest leaves no service behind."""
    written = tmp_path / "url"
    tests = f"""
import os, pathlib, signal
def test_killed(smartmob_url):
    pathlib.Path({str(written)!r}).write_text(smartmob_url)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    command = _command(tmp_path, json.dumps({"database_url": database_url}), tests)
    run = asyncio.to_thread(subprocess.run, command, cwd=tmp_path, env=_ENVIRONMENT, capture_output=True)
    await run

    async def refused() -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(written.read_text()):
                return False
        except aiohttp.ClientConnectorError:
            return True

    assert await until(refused)
