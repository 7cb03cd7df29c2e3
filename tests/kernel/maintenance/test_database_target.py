"""The database of a data directory, whether a service looks after it or not."""

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
    async with reach(settings, KNOWN, **options) as place:
        return place.serving, await place.database.fetchval("SELECT 1")


async def test_a_folder_without_a_database(tmp_path: Path) -> None:
    """It is named, and nothing is made."""
    with pytest.raises(StartupError, match=r"no embedded database in .*--data-dir"):
        await _ask(Settings(data_dir=tmp_path / "data"))
    assert not (tmp_path / "data").exists()


async def test_a_database_that_does_not_run(reachable_path: Path) -> None:
    """It runs as long as it is used, and the folder is held meanwhile; when asked for, it is made."""
    settings = Settings(data_dir=reachable_path / "data")
    async with reach(settings, KNOWN, make=True) as place:
        assert place.embedded is not None
        assert place.embedded.pid() is not None
        with pytest.raises(StartupError, match="in use"):
            DataDirectory(settings.data_dir).hold()
    assert place.embedded.pid() is None
    assert await _ask(settings) == (False, 1)


@pytest.mark.parametrize("name", ["data", "d" * 120])
async def test_a_database_of_a_running_service(reachable_path: Path, name: str) -> None:
    """It is used beside the service, also when its path is too long for a socket, and goes on afterwards."""
    settings = Settings(data_dir=reachable_path / name)
    async with reach(settings, KNOWN, make=True) as first:
        # The lock of a service is the lock of its process.
        assert await _ask_from_a_child(settings.data_dir) == "serving 1"
        assert first.embedded is not None
        assert first.embedded.pid() is not None
        assert await first.database.fetchval("SELECT 1") == 1


async def _ask_from_a_child(data_dir: Path) -> str:
    program = (
        "import asyncio, sys; from pathlib import Path; from smartmob.settings import Settings\n"
        "from smartmob.kernel.maintenance.database_target import reach\n"
        "async def main():\n"
        "    async with reach(Settings(data_dir=Path(sys.argv[1])), []) as place:\n"
        "        print('serving' if place.serving else 'alone', await place.database.fetchval('SELECT 1'))\n"
        "asyncio.run(main())\n"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(data_dir), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    return output.decode().strip()


async def test_a_service_that_uses_another_database(reachable_path: Path) -> None:
    """The error says what to give."""
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


async def test_a_server_that_a_crash_left_behind(reachable_path: Path) -> None:
    """A server whose service and watchdog were killed is taken over, and stopped at the end."""
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
