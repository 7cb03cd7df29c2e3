"""Files both ways: whole, checked, and continued where they were cut off."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from smartmob.client.command_client import CommandClient
from smartmob.commands.partial_file import PartialFile
from tests.client.servers import Wire
from tests.waiting import SECONDS


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
async def test_a_file_arrives_there_and_comes_back(lab: CommandClient, tmp_path: Path, size: int) -> None:
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
    async with CommandClient(wire.url, timeout=SECONDS) as lab:

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
    killed = CommandClient(f"http://127.0.0.1:{client.server.port}", timeout=SECONDS)
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
    """A part with wrong or too much content is found out, here and there, and the file arrives in the same transfer."""
    (tmp_path / "src").write_bytes(b"right content")
    for left in (b"wrong", b"right content and more"):
        here = await _part_of(lab.fetch(str(tmp_path / "src"), tmp_path / "back"), tmp_path / "back")
        here.write_bytes(left)
        await lab.fetch(str(tmp_path / "src"), tmp_path / "back")
        there = await _part_of(lab.transfer(tmp_path / "src", str(tmp_path / "there")), tmp_path / "there")
        there.write_bytes(left)
        await lab.transfer(tmp_path / "src", str(tmp_path / "there"))
        assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes() == b"right content"
        assert not list(tmp_path.glob(".*.smartmob-part"))


async def _part_of(transfer: Any, target: Path) -> Path:
    """Return the path of the part that a transfer makes, which is run to its end."""
    seen: list[Path] = []
    finish = PartialFile.finish

    def spy(self: PartialFile, mode: int | None, mtime_ns: int | None = None) -> None:
        seen.extend(target.parent.glob(".*.smartmob-part"))
        finish(self, mode, mtime_ns)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartialFile, "finish", spy)
        await transfer
    (found,) = seen
    return found


async def test_two_fetches_to_one_name(lab: CommandClient, tmp_path: Path) -> None:
    """Each has a temporary file of its own, so both are whole, whichever gets the name last."""
    (tmp_path / "src").write_bytes(data := os.urandom(3_000_000))
    await asyncio.gather(*(lab.fetch(str(tmp_path / "src"), tmp_path / "back") for _ in range(4)))
    await asyncio.gather(*(lab.transfer(tmp_path / "src", str(tmp_path / "there")) for _ in range(4)))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["back", "src", "there"]


async def test_a_file_whose_name_is_long(lab: CommandClient, tmp_path: Path) -> None:
    """A name of 255 bytes is copied, since the temporary name is a short one."""
    (tmp_path / ("n" * 255)).write_text("x")
    (tmp_path / "to").mkdir()
    await lab.transfer(tmp_path / ("n" * 255), str(tmp_path / "to" / ("n" * 255)))
    await lab.fetch(str(tmp_path / ("n" * 255)), tmp_path / ("m" * 255))
    assert (tmp_path / "to" / ("n" * 255)).read_text() == (tmp_path / ("m" * 255)).read_text() == "x"
