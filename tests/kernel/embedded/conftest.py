"""Fixtures of the tests of the embedded PostgreSQL: folders in which initdb has run before, once for all tests."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from smartmob.kernel.embedded import cluster
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.embedded.roles import ROLE
from smartmob.kernel.runtime.tasks import TaskRegistry
from tests.acceptance.installed import made
from tests.kernel.embedded.earlier import prepare


@pytest.fixture(name="made_home")
def _made_home(home: Path) -> Path:
    """Return the folder for the server, with a cluster of an earlier start."""

    async def start(_: Path, postgres: EmbeddedPostgres) -> None:
        await postgres.start()

    return _copied("cluster", start, home)


@pytest.fixture(name="earlier_home")
def _earlier_home(home: Path) -> Path:
    """Return the folder for the server, with a cluster as an earlier smartmob made it: its one role is a superuser."""

    async def start(folder: Path, postgres: EmbeddedPostgres) -> None:
        with pytest.MonkeyPatch.context() as patch:
            # The earlier call of initdb differed in the name of the first superuser only.
            patch.setattr(cluster, "ADMIN", ROLE)
            postgres._locate()
            postgres._initialise()
        postgres._launch()
        await prepare(f"{folder}/socket")

    return _copied("earlier-cluster", start, home)


def _copied(name: str, start: Callable[[Path, EmbeddedPostgres], Awaitable[None]], home: Path) -> Path:
    """Copy a cluster, which one process of the test run makes, to `home`, and return `home`."""

    async def run(folder: Path) -> None:
        tasks = TaskRegistry()
        postgres = EmbeddedPostgres(folder, tasks)
        try:
            await start(folder, postgres)
        finally:
            await postgres.stop()
            await tasks.close()

    def make(folder: Path) -> None:
        folder.mkdir()
        folder.chmod(0o711)
        asyncio.run(run(folder / "postgres"))

    # With owners and modes, on which PostgreSQL insists.
    subprocess.run(["cp", "-a", made(name, make) / "postgres", home], check=True)
    return home
