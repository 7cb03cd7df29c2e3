"""`smartmob doctor`: what it prints, and how it ends."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from smartmob.cli.doctor import command
from smartmob.errors import StartupError
from tests.acceptance.commands import run

pytestmark = pytest.mark.timeout(900)


async def test_a_sound_installation_passes_all_checks(client: Any, tmp_path: Path, database_url: str) -> None:
    """Each check is a line; with a service its clock is compared. It ends with 0."""
    url = f"http://127.0.0.1:{client.server.port}"
    options = ("--data-dir", tmp_path / "data", "--port", "0", "--server", url)
    code, output, _ = await run("doctor", *options, DATABASE_URL=database_url)
    assert code == 0, output
    names = (
        "port",
        "data directory",
        "disk",
        "database",
        "programs",
        "file descriptors",
        "clock compared with the service",
    )
    for name in names:
        assert f" {name} " in output
    assert "bad" not in output.split()
    code, output, _ = await run("doctor", *options, "--json", DATABASE_URL=database_url)
    assert {finding["level"] for finding in json.loads(output)} <= {"good", "warning"}


async def test_a_bad_finding_gives_exit_code_1(tmp_path: Path) -> None:
    """The output has the next step."""
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, output, errors = await run(
            *("doctor", "--data-dir", tmp_path / "data", "--conplyent-port", port, "--port", "0"),
            *("--token-file", token),
        )
    assert code == 1
    assert f"chmod 600 {token}" in errors.replace("\n", "")
    assert "--conplyent-port" in errors
    assert "secret" not in output + errors


@pytest.mark.parametrize(
    ("text", "mode", "level", "said"),
    [
        ("0123456789012345678901234567890123456789 rack7\n", 0o644, "good", "holds 1"),
        ("0123456789012345678901234567890123456789\n", 0o646, "bad", "others may add turrets"),
        ("# none yet\n", 0o600, "warning", "no turret can connect"),
        ("rack7\n", 0o600, "bad", "line 1"),
    ],
    ids=["good", "permissions", "empty", "syntax"],
)
async def test_the_list_of_turrets(text: str, mode: int, level: str, said: str, tmp_path: Path) -> None:
    """It is read as the service would read it, and must be for its owner to write."""
    turrets = tmp_path / "turrets"
    turrets.write_text(text)
    turrets.chmod(mode)
    _, output, _ = await run(
        *("doctor", "--data-dir", tmp_path / "data", "--port", "0", "--hq-turret-keys", turrets, "--json")
    )
    (found,) = [finding for finding in json.loads(output) if finding["name"] == "keys of turrets"]
    assert (found["level"], said in found["said"]) == (level, True)


def test_an_installation_without_the_server_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a package of the extra, doctor says how to install it instead of failing on the import."""
    monkeypatch.setattr("smartmob.embedded_service._PACKAGES", ("no_such_package",))
    ended = CliRunner().invoke(command, ["--data-dir", str(tmp_path)])
    assert isinstance(ended.exception, StartupError)
    assert "pip install 'smartmob[server]'" in str(ended.exception)


_WITHOUT_RIGHTS = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAPABILITIES = 24, 64  # prctl(2); a number that the kernel does not know changes nothing
os.chdir(sys.argv[1])
for number in range(CAPABILITIES if os.geteuid() == 0 else 0):
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
os.chmod(sys.argv[1], 0)
if os.geteuid() == 0:
    os.chown(sys.argv[1], 65534, 65534)
words = ["doctor", "--data-dir", os.path.join(sys.argv[1], "data"), "--port", "0"]
os.execv(sys.executable, [sys.executable, "-m", "smartmob", *words])
"""


async def test_the_folder_of_another_user(tmp_path: Path) -> None:
    """In a folder that this user may not enter, with the data directory below it, there is a line and no traceback."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    code, output, errors = await run("-c", _WITHOUT_RIGHTS, folder, program="python")
    folder.chmod(0o700)
    assert (code, "Traceback" in output + errors) == (1, False), errors
    (line,) = [line for line in output.splitlines() if " data directory " in line]
    assert line.startswith("bad"), output
    assert str(folder) in line, output
    assert "data directory: " in errors, errors
