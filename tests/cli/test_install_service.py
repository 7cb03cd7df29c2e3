"""`smartmob install-service`: the installed command."""

from __future__ import annotations

import asyncio
import configparser
import shlex
import signal
import socket
from pathlib import Path

import pytest

from tests.acceptance.commands import SECONDS, environment, kill_postgres, run

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]


def _start(text: str) -> list[str]:
    parser = configparser.RawConfigParser(strict=True, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # as configparser's own documentation does it
    parser.read_string(text)
    return shlex.split(parser["Service"]["ExecStart"])


async def test_it_writes_and_explains(tmp_path: Path) -> None:
    """The unit is in the wanted folder, and the next steps are printed in the order in which they work."""
    code, output, errors = await run("install-service", "--folder", tmp_path, "--host", "0.0.0.0")

    assert (code, output) == (0, "")
    words = _start((tmp_path / "smartmob.service").read_text())
    assert (Path(words[0]).name, words[1], words[-2:]) == ("smartmob", "serve", ["--host", "0.0.0.0"])
    assert Path(words[0]).is_file()
    steps = ("useradd --system", "systemctl daemon-reload", "systemctl enable --now smartmob")
    assert [errors.index(step) for step in steps] == sorted(errors.index(step) for step in steps)


async def test_a_user_of_this_machine(tmp_path: Path) -> None:
    """The unit goes where that user's systemd looks, and the agent's has its address."""
    words = ("install-service", "--user", "--role", "agent", "--to", "https://lab:8080")
    code, _, errors = await run(*words, XDG_CONFIG_HOME=str(tmp_path))

    assert code == 0
    path = tmp_path / "systemd" / "user" / "smartmob-report-host.service"
    assert _start(path.read_text())[1:] == ["report-host", "--to", "https://lab:8080"]
    assert "loginctl enable-linger" in errors
    assert "useradd" not in errors


async def test_the_unit_of_a_node_joins_the_service(tmp_path: Path) -> None:
    """The unit joins the service, with the token as a credential; the role without an address is refused."""
    words = ("install-service", "--join", "https://lab:8080", "--folder", tmp_path, "--label", "rack=7")
    code, _, errors = await run(*words, "--token-file", tmp_path / "token")

    assert code == 0
    start = _start((tmp_path / "smartmob-node.service").read_text())
    state = ["--state-dir", "/var/lib/smartmob-node"]
    assert start[1:] == ["join", "https://lab:8080", *state, "--label", "rack=7", "--token-file", "%d/token"]
    assert "systemctl enable --now smartmob-node" in errors
    code, _, errors = await run("install-service", "--role", "node", "--dry-run")
    assert (code, "--join URL" in errors) == (2, True)
    assert (await run("install-service", "--join", "https://lab:8080", "--dry-run", "--port", "1"))[0] == 2


async def test_a_dry_run_writes_no_unit(tmp_path: Path) -> None:
    """A dry run prints the unit and writes nothing."""
    code, output, errors = await run("install-service", "--dry-run", "--folder", tmp_path)

    assert (code, errors) == (0, "")
    assert output.startswith("[Unit]\n")
    assert list(tmp_path.iterdir()) == []


async def test_a_changed_unit_is_overwritten_only_on_request(tmp_path: Path) -> None:
    """A second identical call is no change."""
    assert (await run("install-service", "--folder", tmp_path))[0] == 0
    assert (await run("install-service", "--folder", tmp_path))[0] == 0
    unit = tmp_path / "smartmob.service"
    unit.write_text("mine")

    code, _, errors = await run("install-service", "--folder", tmp_path)
    assert (code, "--force" in errors, unit.read_text()) == (1, True, "mine")
    assert (await run("install-service", "--folder", tmp_path, "--force"))[0] == 0
    assert unit.read_text() != "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--role", "agent"), "--to"),
        (("--prot", "1"), "--prot"),
        (("--role", "boss"), "boss"),
        (("--role", "agent", "--to", "http://lab", "--interval", "0"), "--interval"),
    ],
)
async def test_what_would_never_start(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Options that the program refuses are refused now, and nothing is written."""
    code, _, errors = await run("install-service", "--folder", tmp_path, *words)

    assert (code, said in errors) == (2, True)
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The error has the next step."""
    (tmp_path / "file").touch()
    code, _, errors = await run("install-service", "--folder", tmp_path / "file" / "below")

    assert (code, "--user" in errors) == (1, True)


async def test_a_program_that_others_cannot_reach(tmp_path: Path) -> None:
    """A unit whose user may not enter the folder of the installation would not start; a warning is printed."""
    _, _, errors = await run("install-service", "--folder", tmp_path)
    program = Path(_start((tmp_path / "smartmob.service").read_text())[0])
    closed = [folder for folder in program.parents if not folder.stat().st_mode & 0o001]

    assert ("Others cannot enter" in errors) == bool(closed)


async def test_the_command_of_the_unit_starts_and_stops_in_order(reachable_path: Path) -> None:
    """Started as by systemd it reports that it is ready, runs, and stops in order."""
    words = ("--user", "--dry-run", "--port", "0", "--data-dir", reachable_path / "data")
    command = _start((await run("install-service", *words))[1])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0smartmob-test-{reachable_path.name}")
        sock.setblocking(False)
        env = environment(NOTIFY_SOCKET=f"@smartmob-test-{reachable_path.name}", WATCHDOG_USEC="1000000")
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, env=env)
        try:
            async with asyncio.timeout(SECONDS):
                loop = asyncio.get_running_loop()
                heard = [await loop.sock_recv(sock, 4096) for _ in range(3)]
                assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
                process.send_signal(signal.SIGTERM)
                while (told := await loop.sock_recv(sock, 4096)) == b"WATCHDOG=1":
                    pass
                assert (told, await process.wait()) == (b"STOPPING=1", 0)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            kill_postgres(reachable_path / "data")


async def test_a_token_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing token file is told with the command that makes it; one that is there is not mentioned."""
    (tmp_path / "token").write_text("x")
    for name, told in (("missing", True), ("token", False)):
        file = tmp_path / name
        code, _, errors = await run("install-service", "--folder", tmp_path, "--force", "--token-file", file)
        assert (code, f"The token file {file} does not exist" in errors) == (0, told)
