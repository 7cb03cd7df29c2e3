"""The readiness checks."""

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
from tests.databases import as_admin
from tests.kernel.proxy import Proxy

_numbers = itertools.count()


async def _well() -> None:
    """Pass."""


async def _away() -> None:
    raise Unavailable("the database is not available")


async def _broken() -> None:
    raise FileNotFoundError(2, "No such file or directory")


class TestReadiness:
    """All checks together."""

    async def test_all_checks_pass(self) -> None:
        """Each check is named, and so is the service itself."""
        readiness = Readiness()
        readiness.add("database", _well)
        readiness.add("disk", _well)

        assert await readiness.run_checks() == {"service": "ok", "database": "ok", "disk": "ok"}

    async def test_a_failed_check_does_not_stop_the_others(self) -> None:
        """A failed check has its reason, and the other checks run."""
        readiness = Readiness()
        readiness.add("database", _away)
        readiness.add("disk", _well)

        found = await readiness.run_checks()
        assert found == {"service": "ok", "database": "the database is not available", "disk": "ok"}

    async def test_a_note_does_not_fail_a_check(self) -> None:
        """A check with a note passes; a quiet check is listed only with a note or when it fails."""

        async def noted() -> str:
            return "storage is stale"

        readiness = Readiness()
        for name, check in (("well", _well), ("noted", noted), ("away", _away)):
            readiness.add(name, check, quiet=True)

        assert await readiness.run_checks() == {
            **{"service": "ok", "noted": "ok; storage is stale"},
            "away": "the database is not available",
        }
        assert [health.passes(result) for result in ("ok", "ok; x", "okay", "away")] == [True, True, False, False]

    async def test_the_message_of_an_error_is_the_reason(self) -> None:
        """The message of any SmartmobError is the reason."""

        async def lost() -> None:
            raise NotFound("there is no disk")

        readiness = Readiness()
        readiness.add("disk", lost)

        assert (await readiness.run_checks())["disk"] == "there is no disk"

    async def test_an_unexpected_error_fails_its_check(self) -> None:
        """A check with an unexpected error fails and is logged, and the other checks run."""
        readiness = Readiness()
        readiness.add("disk", _broken)
        readiness.add("database", _well)

        said = await readiness.run_checks()

        assert said["disk"] not in ("", "ok")
        assert said["database"] == "ok"

    async def test_a_stopping_service_is_not_ready(self) -> None:
        """A stopping service is not ready, even if all checks pass."""
        readiness = Readiness()
        readiness.add("database", _well)
        readiness.stopping = True

        assert await readiness.run_checks() == {"service": "stopping", "database": "ok"}


class TestDisk:
    """The check of free space."""

    async def test_enough_free_space_passes(self, tmp_path: Path) -> None:
        """Enough free space passes."""
        await disk_check(DataDirectory(tmp_path))()

    async def test_too_little_free_space_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The reason names the free space and the folder."""
        monkeypatch.setattr(health, "MIN_FREE_BYTES", 2**62)

        with pytest.raises(Unavailable, match=rf"only \d+ MiB are free in {tmp_path}"):
            await disk_check(DataDirectory(tmp_path))()

    async def test_a_missing_folder_fails(self, tmp_path: Path) -> None:
        """A data directory that was removed fails the check."""
        with pytest.raises(Unavailable, match="gone"):
            await disk_check(DataDirectory(tmp_path / "gone"))()


class TestDatabase:
    """The check of the database."""

    async def test_an_answering_database_passes(self, opened: Any) -> None:
        """A database that answers passes."""
        await database_check(await opened())()

    async def test_the_check_follows_the_database(self, opened: Any, proxy: Proxy) -> None:
        """The check fails while the server is unavailable, and passes after that."""
        check = database_check(await opened(proxy.url))
        proxy.cut()

        with pytest.raises(Unavailable, match="the database is not available"):
            await check()

        proxy.up = True
        await check()

    async def test_a_dropped_database_fails(self, opened: Any, postgres_url: str) -> None:
        """A database that was dropped fails the check."""
        name = f"dropped_{os.getpid()}_{next(_numbers)}"
        admin = await asyncpg.connect(as_admin(postgres_url.format("postgres")))
        await admin.execute(f"CREATE DATABASE {name}")
        check = database_check(await opened(postgres_url.format(name)))
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()

        with pytest.raises(Unavailable):
            await check()
