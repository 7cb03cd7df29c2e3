"""`smartmob keys`: the installed command, and that its files are what both sides take."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import zmq

from tests.acceptance.commands import run

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]


async def test_only_the_owner_can_read_the_secret_key(tmp_path: Path) -> None:
    """The keys belong together, and only the owner can read the secret one."""
    code, output, _ = await run("keys", "new", tmp_path / "hq")

    assert code == 0
    private, public = ((tmp_path / f"hq.{kind}").read_text().strip() for kind in ("key", "pub"))
    assert zmq.curve_public(private.encode()).decode() == public
    assert stat.S_IMODE((tmp_path / "hq.key").stat().st_mode) == 0o600
    assert f"--hq-curve-key-file {tmp_path}/hq.key" in output
    assert f"--hq-key-file {tmp_path}/hq.pub" in output
    assert private not in output
    assert (await run("keys", "public", tmp_path / "hq.key"))[1] == f"{public}\n"


async def test_a_key_that_is_there(tmp_path: Path) -> None:
    """It is never written over."""
    assert (await run("keys", "new", tmp_path / "hq"))[0] == 0
    before = (tmp_path / "hq.key").read_text()

    code, _, errors = await run("keys", "new", tmp_path / "hq")

    assert (code, "exists already" in errors) == (1, True)
    assert (tmp_path / "hq.key").read_text() == before


@pytest.mark.parametrize("text", ["nothing", "x" * 40 + "y"])
async def test_what_is_no_key(tmp_path: Path, text: str) -> None:
    """The error names the file."""
    (tmp_path / "file").write_text(text)
    code, _, errors = await run("keys", "public", tmp_path / "file")

    assert code == 1
    assert f"{tmp_path}/file: this is not a secret CURVE key" in errors


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The error names the file that could not be written."""
    code, _, errors = await run("keys", "new", tmp_path / "nowhere" / "hq")
    assert (code, "hq.key cannot be written: No such file" in errors) == (1, True)


async def test_keys_of_turrets_are_made_listed_and_revoked(tmp_path: Path) -> None:
    """They are made, added to a list once, listed with their names, and revoked by key or name."""
    turrets = tmp_path / "turrets"
    code, output, _ = await run("keys", "turret", tmp_path / "rack7", "--list", turrets)
    public = (tmp_path / "rack7.pub").read_text().strip()
    assert (code, f"--key-file {tmp_path}/rack7.key" in output) == (0, True)
    assert stat.S_IMODE((tmp_path / "rack7.key").stat().st_mode) == 0o600

    other = zmq.curve_keypair()[0].decode()
    for _ in range(2):
        assert (await run("keys", "allow", turrets, "--", other, "rack 8"))[0] == 0
    assert (await run("keys", "list", turrets))[1] == f"{public} rack7\n{other} rack 8\n"

    turrets.chmod(0o640)
    code, output, _ = await run("keys", "revoke", turrets, "rack 8")
    assert (code, output) == (0, f"revoked {other}\n")
    assert (turrets.read_text(), stat.S_IMODE(turrets.stat().st_mode)) == (f"{public} rack7\n", 0o640)
    assert (await run("keys", "revoke", turrets, "--", other))[0] == 1
    assert (await run("keys", "revoke", turrets, "--", public))[0] == 0
    assert turrets.read_text() == ""

    code, _, errors = await run("keys", "allow", turrets, "short")
    assert (code, "short is not a public CURVE key" in errors) == (1, True)
