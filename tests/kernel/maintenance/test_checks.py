"""The checks of an installation, with and without problems."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from smartmob.errors import RemoteError
from smartmob.feature_settings import ConplyentSettings, DatabaseSettings, TurretsSettings
from smartmob.kernel.maintenance import checks
from smartmob.kernel.runtime.datadir import DataDirectory
from smartmob.settings import Settings
from tests.kernel.maintenance.conftest import KNOWN
from tests.open_files import OpenFiles
from tests.waiting import until


class TestAddresses:
    """The addresses of the service."""

    def test_free_ports_are_good(self) -> None:
        """Every port of the settings is tried; 0 means any free port."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        turrets = TurretsSettings(hq=True, hq_publish_port=0, hq_rc_port=0, hq_external_port=0)
        settings = Settings(port=port, turrets=turrets)
        found = list(checks.addresses(settings))
        assert [finding.level for finding in found] == ["good"] * 4
        assert found[0].said == f"{port} is free"

    def test_a_taken_port_is_bad(self) -> None:
        """The advice says how to find the other program, and which option to change."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            (_, found) = checks.addresses(Settings(port=0, conplyent=ConplyentSettings(port=port)))
        assert (found.name, found.level) == ("port of conplyent", "bad")
        assert f":{port}" in found.advice
        assert "--conplyent-port" in found.advice

    async def test_a_port_with_a_running_service_is_good(self, client: Any) -> None:
        """The service answers there."""
        settings = Settings(port=client.server.port)
        (found,) = await asyncio.to_thread(lambda: list(checks.addresses(settings)))
        assert (found.level, found.said) == ("good", f"{settings.port}: a smartmob listens there")

    def test_an_open_address_without_a_token_is_bad(self) -> None:
        """The service would refuse to start."""
        found = next(checks.addresses(Settings(host="0.0.0.0", port=0)))
        assert (found.name, found.level) == ("address", "bad")
        assert "--token-file" in found.advice


class TestFiles:
    """The data directory, the disk and the files of secrets."""

    def test_a_private_data_directory_is_good_and_an_open_one_bad(self, tmp_path: Path) -> None:
        """One that does not exist will be made."""
        path = tmp_path / "a" / "data"
        assert checks.data_directory(path).said.endswith("is created at the first start")
        path.mkdir(parents=True)
        assert checks.data_directory(path).level == "good"
        path.chmod(0o777)
        found = checks.data_directory(path)
        assert (found.level, found.advice) == ("bad", f"chmod o-w {path}")

    def test_a_data_directory_in_use_is_good(self, tmp_path: Path) -> None:
        """It is not changed."""
        folder = DataDirectory(tmp_path)
        folder.hold()
        assert checks.data_directory(tmp_path).said.endswith("is in use by the service that runs")
        folder.release()

    def test_a_data_directory_that_cannot_be_made_is_bad(self, tmp_path: Path) -> None:
        """There is a file in its path."""
        (tmp_path / "file").write_text("")
        found = checks.data_directory(tmp_path / "file" / "lock")
        assert found.level == "bad"

    def test_the_free_space_is_reported(self, tmp_path: Path) -> None:
        """The folder need not exist."""
        found = checks.disk(tmp_path / "x" / "y")
        assert "GB are free" in found.said

    @pytest.mark.parametrize(("mode", "level"), [(0o600, "good"), (0o640, "warning"), (0o604, "bad"), (0o666, "bad")])
    def test_a_token_file_that_others_can_read_is_bad(self, tmp_path: Path, mode: int, level: str) -> None:
        """A file that its group can read is a warning."""
        path = tmp_path / "token"
        path.write_text("secret")
        path.chmod(mode)
        (found,) = checks.secrets(Settings(token_file=path, token="secret"))
        assert (found.level, "secret" in found.said) == (level, False)
        assert (found.advice == f"chmod 600 {path}") == (level != "good")


class TestDatabase:
    """The check of the database."""

    async def test_a_database_that_does_not_exist_yet_is_good(self, tmp_path: Path) -> None:
        """It is not made by the check."""
        found = await checks.database(Settings(data_dir=tmp_path / "data"), KNOWN)
        assert (found.level, (tmp_path / "data").exists()) == ("good", False)

    async def test_missing_migrations_are_a_warning_and_unknown_ones_bad(
        self, settings: Settings, database_url: str
    ) -> None:
        """A database that is up to date is good."""
        assert (await checks.database(settings, KNOWN)).level == "good"
        admin = await asyncpg.connect(database_url)
        await admin.execute("DELETE FROM schema_migrations WHERE room = 'marks'")
        found = await checks.database(settings, KNOWN)
        assert (found.level, "1 migration pending" in found.said) == ("warning", True)
        await admin.execute("INSERT INTO schema_migrations VALUES ('marks', 9, 'x', 'x')")
        assert (await checks.database(settings, KNOWN)).level == "bad"
        await admin.close()

    async def test_a_database_that_does_not_answer_is_bad(self, settings: Settings) -> None:
        """The finding does not contain its password."""
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


async def test_the_check_of_programs_leaves_nothing_open() -> None:
    """A program and its daemon are started and ended."""
    files = OpenFiles()
    found = await checks.programs()
    assert found.level == "good", found
    await until(lambda: not files.more())  # the event loop closes pipes in its next turns


def test_the_hard_limit_of_open_files_is_checked() -> None:
    """Another process is used, because a process can only lower its limit."""
    program = """
import resource
from smartmob.kernel.maintenance import checks

for few in (8192, 1024, 300):
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))
    found = checks.descriptors()
    print(found.level, found.said)
"""
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    good, warning, bad = output.splitlines()
    assert good.startswith("good 8,192 may be open")
    assert warning.startswith("warning 1,024 may be open")
    assert bad.startswith("bad 300 may be open")


async def test_a_clock_half_a_second_beside_that_of_the_service_is_bad() -> None:
    """The state of the kernel is a warning at most."""
    assert checks.clock_sync().level in ("good", "warning")

    async def measured(offset: float) -> tuple[float, float]:
        return 0.002, offset

    assert (await checks.clock_offset("http://x", lambda: measured(-0.1))).said.startswith("-100.0 ms to http://x")
    assert (await checks.clock_offset("http://x", lambda: measured(0.7))).level == "bad"

    async def away() -> tuple[float, float]:
        raise RemoteError("no answer")

    assert (await checks.clock_offset("http://x", away)).said == "no answer"
