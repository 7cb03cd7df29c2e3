"""What the checks of an installation find, on machines that are well and on those that are not."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from smartmob.errors import RemoteError
from smartmob.kernel.maintenance import checks
from smartmob.kernel.runtime.datadir import DataDirectory
from smartmob.settings import ConplyentSettings, DatabaseSettings, Settings, TurretsSettings
from tests.kernel.maintenance.conftest import KNOWN


class TestAddresses:
    """Where the service listens."""

    def test_free_ports(self) -> None:
        """Each port that the settings name is tried; 0 is whatever is free."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        turrets = TurretsSettings(hq=True, hq_publish_port=0, hq_rc_port=0, hq_external_port=0)
        settings = Settings(port=port, turrets=turrets)
        found = list(checks.addresses(settings))
        assert [finding.level for finding in found] == ["good"] * 4
        assert found[0].said == f"{port} is free"

    def test_a_port_that_is_taken(self) -> None:
        """It is told how to find out by whom, and what to give instead."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            (_, found) = checks.addresses(Settings(port=0, conplyent=ConplyentSettings(port=port)))
        assert (found.name, found.level) == ("port of conplyent", "bad")
        assert f":{port}" in found.advice
        assert "--conplyent-port" in found.advice

    async def test_a_port_that_is_ours(self, client: Any) -> None:
        """A service that answers there is no fault."""
        settings = Settings(port=client.server.port)
        (found,) = await asyncio.to_thread(lambda: list(checks.addresses(settings)))
        assert (found.level, found.said) == ("good", f"{settings.port}: a smartmob listens there")

    def test_everybody_without_a_token(self) -> None:
        """It is what the start would refuse."""
        found = next(checks.addresses(Settings(host="0.0.0.0", port=0)))
        assert (found.name, found.level) == ("address", "bad")
        assert "--token-file" in found.advice


class TestFiles:
    """The data directory, the disk and the files of secrets."""

    def test_a_data_directory(self, tmp_path: Path) -> None:
        """One that will be made, one that is there, one in use."""
        path = tmp_path / "a" / "data"
        assert checks.data_directory(path).said.endswith("is made at the first start")
        path.mkdir(parents=True)
        assert checks.data_directory(path).level == "good"
        path.chmod(0o777)
        found = checks.data_directory(path)
        assert (found.level, found.advice) == ("bad", f"chmod o-w {path}")

    def test_one_that_a_service_holds(self, tmp_path: Path) -> None:
        """It is good, and left to it."""
        folder = DataDirectory(tmp_path)
        folder.hold()
        assert checks.data_directory(tmp_path).said.endswith("held by the service that runs")
        folder.release()

    def test_one_that_cannot_be_made(self, tmp_path: Path) -> None:
        """It is told what stands in the way."""
        (tmp_path / "file").write_text("")
        found = checks.data_directory(tmp_path / "file" / "lock")
        assert found.level == "bad"

    def test_the_disk(self, tmp_path: Path) -> None:
        """What is free is told, also for a folder that is not there yet."""
        found = checks.disk(tmp_path / "x" / "y")
        assert "GB are free" in found.said

    @pytest.mark.parametrize(("mode", "level"), [(0o600, "good"), (0o640, "warning"), (0o604, "bad"), (0o666, "bad")])
    def test_a_token_file(self, tmp_path: Path, mode: int, level: str) -> None:
        """It is for its owner, or at least not for everybody."""
        path = tmp_path / "token"
        path.write_text("secret")
        path.chmod(mode)
        (found,) = checks.secrets(Settings(token_file=path, token="secret"))
        assert (found.level, "secret" in found.said) == (level, False)
        assert (found.advice == f"chmod 600 {path}") == (level != "good")


class TestDatabase:
    """Whether the database can be used."""

    async def test_none_yet(self, tmp_path: Path) -> None:
        """An embedded one will be made, and is not made now."""
        found = await checks.database(Settings(data_dir=tmp_path / "data"), KNOWN)
        assert (found.level, (tmp_path / "data").exists()) == ("good", False)

    async def test_good_and_old_and_new(self, settings: Settings, database_url: str) -> None:
        """Up to date, with a migration missing, and of a newer smartmob."""
        assert (await checks.database(settings, KNOWN)).level == "good"
        admin = await asyncpg.connect(database_url)
        await admin.execute("DELETE FROM schema_migrations WHERE room = 'marks'")
        found = await checks.database(settings, KNOWN)
        assert (found.level, "1 migrations are missing" in found.said) == ("warning", True)
        await admin.execute("INSERT INTO schema_migrations VALUES ('marks', 9, 'x', 'x')")
        assert (await checks.database(settings, KNOWN)).level == "bad"
        await admin.close()

    async def test_away(self, settings: Settings) -> None:
        """A server that does not answer is bad, and its password is not told."""
        away = DatabaseSettings(url="postgresql://u:hidden@127.0.0.1:1/x", wait=0.1)
        found = await checks.database(replace(settings, database=away), KNOWN)
        assert found.level == "bad"
        assert "hidden" not in found.said + found.advice


@pytest.mark.parametrize(
    ("server", "outdated"),
    [
        ("18.3", True),
        ("18.0 (Debian 18.0-1)", True),
        ("18.4", False),
        ("18.5", False),
        ("17.1", False),
        ("19beta1", False),
    ],
)
def test_a_server_below_the_newest_known_minor_version_is_outdated(server: str, outdated: bool) -> None:
    """Only a lower minor version of a known major version is reported."""
    assert checks.is_outdated(server) is outdated


async def test_programs() -> None:
    """A program and its daemon are started and ended, and nothing is left open."""
    before = set(os.listdir("/proc/self/fd"))
    found = await checks.programs()
    assert found.level == "good", found
    assert len(set(os.listdir("/proc/self/fd")) - before) == 0


@pytest.mark.parametrize(("few", "level"), [(300, "bad"), (1024, "warning"), (8192, "good")])
def test_descriptors(few: int, level: str) -> None:
    """The hard limit counts, which a process may only lower: so another one is asked."""
    program = (
        "import resource, sys; n = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))\n"
        "from smartmob.kernel.maintenance import checks; found = checks.descriptors(); print(found.level, found.said)\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", program, str(few)], capture_output=True, text=True, check=True
    ).stdout
    assert output.startswith(f"{level} {few:,} may be open")


async def test_clocks() -> None:
    """The kernel says whether the clock is kept; beside a service half a second is too much."""
    assert checks.clock_sync().level in ("good", "warning")

    async def measured(offset: float) -> tuple[float, float]:
        return 0.002, offset

    assert (await checks.clock_offset("http://x", lambda: measured(-0.1))).said.startswith("-100.0 ms to http://x")
    assert (await checks.clock_offset("http://x", lambda: measured(0.7))).level == "bad"

    async def away() -> tuple[float, float]:
        raise RemoteError("nobody there")

    assert (await checks.clock_offset("http://x", away)).said == "nobody there"
