"""Whether the service can do its work."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from smartmob.errors import NotFound, Unavailable
from smartmob.kernel.observability import health
from smartmob.kernel.observability.health import Readiness, database_check, disk_check
from smartmob.kernel.runtime.datadir import DataDirectory
from tests.conftest import as_admin
from tests.kernel.proxy import Proxy

_numbers = itertools.count()


async def _well() -> None:
    """Find nothing wrong."""


async def _away() -> None:
    raise Unavailable("the database is away")


async def _broken() -> None:
    raise FileNotFoundError(2, "No such file or directory")


class TestReadiness:
    """What the checks say together."""

    async def test_all_is_well(self) -> None:
        """Each check is named, and so is the service itself."""
        readiness = Readiness()
        readiness.add("database", _well)
        readiness.add("disk", _well)

        assert await readiness.run_checks() == {"service": "ok", "database": "ok", "disk": "ok"}

    async def test_one_fails(self) -> None:
        """It says why, and the others are asked all the same."""
        readiness = Readiness()
        readiness.add("database", _away)
        readiness.add("disk", _well)

        assert await readiness.run_checks() == {"service": "ok", "database": "the database is away", "disk": "ok"}

    async def test_any_of_our_errors(self) -> None:
        """Whatever a check raises of our own is its word."""

        async def lost() -> None:
            raise NotFound("there is no disk")

        readiness = Readiness()
        readiness.add("disk", lost)

        assert (await readiness.run_checks())["disk"] == "there is no disk"

    async def test_a_check_that_breaks(self) -> None:
        """A check that cannot even look does not pass, and does not keep the others from being asked."""
        readiness = Readiness()
        readiness.add("disk", _broken)
        readiness.add("database", _well)

        said = await readiness.run_checks()

        assert said["disk"] not in ("", "ok")
        assert said["database"] == "ok"

    async def test_while_it_stops(self) -> None:
        """A service that stops takes no more work, however well it is."""
        readiness = Readiness()
        readiness.add("database", _well)
        readiness.stopping = True

        assert await readiness.run_checks() == {"service": "stopping", "database": "ok"}


class TestDisk:
    """Room for what is to be kept."""

    async def test_enough(self, tmp_path: Path) -> None:
        """It passes."""
        await disk_check(DataDirectory(tmp_path))()

    async def test_too_little(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It tells how much is left, and where."""
        monkeypatch.setattr(health, "MIN_FREE_BYTES", 2**62)

        with pytest.raises(Unavailable, match=rf"only \d+ MiB are free in {tmp_path}"):
            await disk_check(DataDirectory(tmp_path))()

    async def test_a_folder_that_is_gone(self, tmp_path: Path) -> None:
        """A data directory that somebody removed is no room at all."""
        with pytest.raises(Unavailable, match="gone"):
            await disk_check(DataDirectory(tmp_path / "gone"))()


class TestDatabase:
    """The database's answer."""

    async def test_it_answers(self, opened: Any) -> None:
        """It passes."""
        await database_check(await opened())()

    async def test_it_is_away_and_comes_back(self, opened: Any, proxy: Proxy) -> None:
        """It fails while the server is away, and passes once it is back."""
        check = database_check(await opened(proxy.url))
        proxy.cut()

        with pytest.raises(Unavailable, match="the database is not available"):
            await check()

        proxy.up = True
        await check()

    async def test_it_was_dropped(self, opened: Any, postgres_url: str) -> None:
        """A database that no longer exists is a database that is not available."""
        name = f"dropped_{os.getpid()}_{next(_numbers)}"
        admin = await asyncpg.connect(as_admin(postgres_url.format("postgres")))
        await admin.execute(f"CREATE DATABASE {name}")
        check = database_check(await opened(postgres_url.format(name)))
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()

        with pytest.raises(Unavailable):
            await check()
