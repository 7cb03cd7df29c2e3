"""Files both ways: whole, checked, and continued where they were cut off."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from smartmob.client.command_client import CommandClient
from smartmob.client.failures import ClientError
from tests.client.servers import Wire


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
async def test_there_and_back(lab: CommandClient, tmp_path: Path, size: int) -> None:
    """Content and mode arrive, folders are made, and progress is told."""
    src, there, back = tmp_path / "src", tmp_path / "a" / "b" / "there", tmp_path / "c" / "back"
    src.write_bytes(os.urandom(size))
    src.chmod(0o640)
    told: list[int] = []
    sent = await lab.transfer(src, str(there), progress=lambda done, total: told.append(done))
    got = await lab.fetch(str(there), back)

    assert there.read_bytes() == src.read_bytes() == back.read_bytes()
    assert (there.stat().st_mode & 0o777, back.stat().st_mode & 0o777) == (0o640, 0o640)
    assert sent["sha256"] == got["sha256"]
    assert told[-1:] == ([size] if size else [])
    assert not list(tmp_path.rglob("*.smartmob-part"))


async def test_cut_in_the_middle(wire: Wire, tmp_path: Path) -> None:
    """A transfer whose connection is cut goes on over the next one, and what arrives is whole."""
    data = os.urandom(8_000_000)
    (tmp_path / "src").write_bytes(data)
    async with CommandClient(wire.url, timeout=300) as lab:

        def cut(done: int, total: int) -> None:
            if wire.connections < 3 and done > 3_000_000 * wire.connections:
                wire.cut()

        await lab.transfer(tmp_path / "src", str(tmp_path / "there"), progress=cut)
        assert wire.connections >= 2
        wire.limit = 3_000_000
        await lab.fetch(str(tmp_path / "there"), tmp_path / "back")
    assert (tmp_path / "there").read_bytes() == data == (tmp_path / "back").read_bytes()
    assert wire.connections >= 3


async def test_the_next_attempt_of_a_killed_client_continues(lab: CommandClient, client: Any, tmp_path: Path) -> None:
    """The bytes that it sent are used by the next attempt, and no partial file appears under the final name."""
    data = os.urandom(3_000_000)
    (tmp_path / "src").write_bytes(data)
    killed = CommandClient(f"http://127.0.0.1:{client.server.port}", timeout=300)
    await killed.connect()
    listener = killed.start("put", str(tmp_path / "there"), len(data))
    assert await listener.next() == {"offset": 0}
    await listener.write(data[:1_000_000])
    await killed.close()
    assert not (tmp_path / "there").exists()

    seen: list[int] = []
    await lab.transfer(tmp_path / "src", str(tmp_path / "there"), progress=lambda done, _: seen.append(done))
    assert (tmp_path / "there").read_bytes() == data


async def test_errors_have_the_types_of_the_operating_system(lab: CommandClient, tmp_path: Path) -> None:
    """Typed, here and there."""
    with pytest.raises(FileNotFoundError):
        await lab.transfer(tmp_path / "missing", str(tmp_path / "x"))
    with pytest.raises(FileNotFoundError):
        await lab.fetch(str(tmp_path / "missing"), tmp_path / "x")
    (tmp_path / "f").write_text("x")
    with pytest.raises(IsADirectoryError):
        await lab.transfer(tmp_path / "f", str(tmp_path))
    with pytest.raises(FileExistsError):
        await lab.transfer(tmp_path / "f", str(tmp_path / "f" / "g"))


async def test_a_partial_file_with_other_content_is_discarded(lab: CommandClient, tmp_path: Path) -> None:
    """The rest of another file's beginning is found out, and the next attempt is clean."""
    (tmp_path / "src").write_bytes(b"right content")
    (tmp_path / "back.smartmob-part").write_bytes(b"wrong")
    with pytest.raises(ClientError, match="another SHA-256"):
        await lab.fetch(str(tmp_path / "src"), tmp_path / "back")
    await lab.fetch(str(tmp_path / "src"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"right content"
