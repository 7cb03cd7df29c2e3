"""Opening the database of a data directory, with and without a service."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from smartmob.errors import StartupError
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.maintenance.database_target import reach
from smartmob.kernel.runtime.datadir import DataDirectory
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.settings import Settings
from tests.kernel.maintenance.conftest import KNOWN


async def _ask(settings: Settings, **options: Any) -> tuple[bool, int]:
    async with reach(settings, KNOWN, **options) as target:
        return target.serving, await target.database.fetchval("SELECT 1")


async def test_a_folder_without_a_database_is_refused(tmp_path: Path) -> None:
    """The error names it, and nothing is made."""
    with pytest.raises(StartupError, match=r"no embedded database in .*--data-dir"):
        await _ask(Settings(data_dir=tmp_path / "data"))
    assert not (tmp_path / "data").exists()


async def test_a_database_that_does_not_run_is_started_and_stopped(reachable_path: Path) -> None:
    """The folder is locked meanwhile; with `make` a missing database is made."""
    settings = Settings(data_dir=reachable_path / "data")
    async with reach(settings, KNOWN, make=True) as target:
        assert target.embedded is not None
        assert target.embedded.pid() is not None
        with pytest.raises(StartupError, match="in use"):
            DataDirectory(settings.data_dir).hold()
    assert target.embedded.pid() is None
    assert await _ask(settings) == (False, 1)


@pytest.mark.parametrize("name", ["data", "d" * 120])
async def test_the_database_of_a_running_service_is_used_and_left_running(reachable_path: Path, name: str) -> None:
    """This works for a path that is too long for a socket, too."""
    settings = Settings(data_dir=reachable_path / name)
    async with reach(settings, KNOWN, make=True) as first:
        # A child, because the lock belongs to this process.
        assert await _ask_from_a_child(settings.data_dir) == "serving 1"
        assert first.embedded is not None
        assert first.embedded.pid() is not None
        assert await first.database.fetchval("SELECT 1") == 1


async def _ask_from_a_child(data_dir: Path) -> str:
    program = (
        "import asyncio, sys; from pathlib import Path; from smartmob.settings import Settings\n"
        "from smartmob.kernel.maintenance.database_target import reach\n"
        "async def main():\n"
        "    async with reach(Settings(data_dir=Path(sys.argv[1])), []) as target:\n"
        "        print('serving' if target.serving else 'alone', await target.database.fetchval('SELECT 1'))\n"
        "asyncio.run(main())\n"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(data_dir), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    return output.decode().strip()


async def test_a_service_that_uses_another_database_is_reported(reachable_path: Path) -> None:
    """The error names the option for its address."""
    data = reachable_path / "data"
    async with reach(Settings(data_dir=data), KNOWN, make=True):
        pass
    folder = DataDirectory(data)
    folder.hold()
    try:
        with pytest.raises(StartupError, match="--database-url-file"):
            await _ask(Settings(data_dir=data))
    finally:
        folder.release()


async def test_a_server_that_outlived_its_service_is_taken_over_and_stopped(reachable_path: Path) -> None:
    """Service and watchdog were killed."""
    data = reachable_path / "data"
    settings, tasks = Settings(data_dir=data), TaskRegistry()
    async with reach(settings, KNOWN, make=True):
        pass
    left = EmbeddedPostgres(data / "postgres", tasks)
    await left.start()
    await tasks.close()
    left.watchdog.kill()
    assert left.pid() is not None
    assert await _ask(settings) == (False, 1)
    assert left.pid() is None
