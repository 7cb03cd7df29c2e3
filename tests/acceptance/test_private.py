"""Other users and programs of the machine cannot read the files and secrets of a running service."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.acceptance.commands import PROGRAMS, launch, serving

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

TOKEN = "a-secret-that-must-not-be-seen"
OWNER = {"Authorization": f"Bearer {TOKEN}"}
_LOOK = """
import os, sys
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for path in sys.stdin.read().split("\\0"):
    try:
        open(path, "rb").close()
        print(path)
    except OSError:
        pass
"""


@pytest.fixture(name="ordinary_umask")
def _ordinary_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def _opened_by_others(files: str) -> str:
    """Return the files that another user can open."""
    look = [sys.executable, "-I", "-S", "-c", _LOOK]
    return subprocess.run(look, input=files, check=True, capture_output=True, text=True).stdout


async def _run(url: str, command: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/commands/exec", json={"cmd": command}, headers=OWNER) as answer,
    ):
        assert answer.status == 200
        return await answer.text()


@pytest.mark.usefixtures("ordinary_umask")
async def test_files_for_clients_have_the_modes_that_programs_give_them(reachable_path: Path) -> None:
    """Files and folders of commands have the umask of the start of the service, as those of a shell there."""
    made = {
        "mkdir": ["{0}/a", None], "mkdirs": ["{0}/b/c"], "wrfile": ["{0}/b/f", "eA=="], "touch": ["{0}/t"],
        "exec": ["cd {0} && mkdir -p sa sb/sc && echo x >sb/sf && touch st"],
    }  # fmt: skip
    async with serving(reachable_path / "data") as service, aiohttp.ClientSession() as session:
        folder = str(reachable_path / "made")
        for name, words in {"mkdirs ": ["{0}"], **made}.items():
            body = [word.format(folder) if word else word for word in words]
            async with session.post(f"{service.url}/commands/{name.strip()}", json=body) as answer:
                assert '"exit_code":0' in await answer.text()
    for name in ("a", "b", "b/c", "b/f", "t"):
        ours, theirs = Path(folder, name), Path(folder, "/".join(f"s{part}" for part in name.split("/")))
        assert ours.stat().st_mode == theirs.stat().st_mode, name


@pytest.mark.usefixtures("ordinary_umask")
async def test_other_users_can_open_no_file_of_the_service(reachable_path: Path) -> None:
    """No file has permissions for others, even in a folder that was made by hand."""
    data = reachable_path / "data"
    service = await launch("--port", "0", "--data-dir", data, SMARTMOB_TOKEN=TOKEN)
    try:
        await service.event("bind", transport="tcp")
        assert "0022" in await _run(service.url, "sh -c umask")
        # The programs of the database may have been copied for the account that runs it; they hold nothing of ours.
        ours = [path for path in data.rglob("*") if not path.relative_to(data).parts[0].startswith("postgresql-")]
        modes = {path: path.lstat().st_mode for path in ours}
        assert {path.name for path in ours} >= {"lock", "postgres", "commands"}
        kept = {path: oct(mode) for path, mode in modes.items() if not stat.S_ISLNK(mode) and mode & 0o077}
        assert not {path: mode for path, mode in kept.items() if not stat.S_ISSOCK(modes[path])}
        files = "\0".join(str(path) for path, mode in modes.items() if stat.S_ISREG(mode))
        if os.geteuid() == 0:
            assert _opened_by_others(files) == ""
        assert data.stat().st_mode & 0o066 == 0
    finally:
        await service.stop()


async def test_the_token_is_in_no_environment_and_no_command_line(reachable_path: Path) -> None:
    """This holds for the service and its descendants, when the token came from the environment."""
    async with serving(reachable_path / "data", as_installed=True, SMARTMOB_TOKEN=TOKEN) as service:
        assert TOKEN not in await _run(service.url, "sh -c 'env; cat /proc/*/environ /proc/*/cmdline'")
        process = psutil.Process(service.pid)
        processes = (process, *process.children(recursive=True))
        assert len(processes) > 2
        for each in processes:
            assert TOKEN.encode() not in Path(f"/proc/{each.pid}/environ").read_bytes()
            assert TOKEN.encode() not in Path(f"/proc/{each.pid}/cmdline").read_bytes()
        async with aiohttp.ClientSession() as session, session.get(f"{service.url}/marks", headers=OWNER) as answer:
            assert answer.status == 200
        async with aiohttp.ClientSession() as session, session.get(f"{service.url}/marks") as answer:
            assert answer.status == 401


def test_a_wrong_secret_is_reported_with_its_source(tmp_path: Path) -> None:
    """The source is known after the secret was removed from the environment."""
    command = [str(PROGRAMS / "smartmob"), "serve", "--data-dir", str(tmp_path)]
    result = subprocess.run(
        command, env={**os.environ, "SMARTMOB_TOKEN": "ü"}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "SMARTMOB_TOKEN: a token may have printable ASCII characters only" in result.stderr
