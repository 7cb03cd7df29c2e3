"""`find_files` with details, `place`, and `put` with an open end, as other clients call them."""

from __future__ import annotations

import hashlib
import os
import stat

import pytest

from tests.commands.features import RecordingSink, RunningFeature


async def test_find_files_lists_all_kinds(commands: RunningFeature) -> None:
    """The path itself comes first; a name that is no UTF-8 comes as base64 too; links are not followed."""
    (commands.home / "a").mkdir()
    (commands.home / "a" / "link").symlink_to("..")
    (commands.home / "a" / os.fsdecode(b"\xff")).write_text("x")
    found = (await commands.call("find_files", "a", details=True)).values
    assert [(entry["path"], entry.get("raw"), entry["kind"], entry["size"]) for entry in found] == [
        ("", None, "folder", 0),
        ("link", None, "link", 0),
        ("\ufffd", "/w==", "file", 1),
    ]
    assert found[1]["target"] == ".."
    assert len((await commands.call("find_files", "a", details=True, content=False)).values) == 1


async def test_place_follows_no_link_and_replaces_no_other_kind(commands: RunningFeature) -> None:
    """A link may replace a file; a folder does not replace one, and nothing is created behind a link."""
    (commands.home / "file").write_text("x")
    (commands.home / "outside").mkdir()
    (commands.home / "link").symlink_to("outside")
    assert isinstance((await commands.call("place", "file", "folder")).error, FileExistsError)
    assert isinstance((await commands.call("place", "link", "folder")).error, FileExistsError)
    assert isinstance((await commands.call("place", "outside", "link", target=b"x")).error, IsADirectoryError)
    assert (await commands.call("place", "file", "link", target=b"outside")).code == 0
    assert os.readlink(commands.home / "file") == "outside"
    assert (await commands.call("place", "new/fifo", "fifo", mode=0o600)).code == 0
    assert stat.S_ISFIFO((commands.home / "new" / "fifo").stat().st_mode)


async def _put(commands: RunningFeature, path: str, sent: bytes) -> RecordingSink:
    reply = RecordingSink()
    for piece in (sent[:10], sent[10:], None):
        reply.inputs.put_nowait(piece)
    arguments = ((path, 0), {"open_end": True})
    await commands.service.calls.run(commands.session(), "put", arguments, reply, native=True)
    return reply


@pytest.mark.parametrize("data", [b"", b"content" * 100])
async def test_put_with_an_open_end(commands: RunningFeature, data: bytes) -> None:
    """The content ends where the client ends it; a wrong or missing digest leaves no file."""
    digest = hashlib.sha256(data).digest()
    reply = await _put(commands, "f", data + digest)
    assert reply.values == [{"offset": 0}, {"size": len(data), "sha256": digest.hex()}]
    assert (commands.home / "f").read_bytes() == data
    assert isinstance((await _put(commands, "g", data + bytes(32))).error, OSError)
    assert isinstance((await _put(commands, "g", b"short")).error, ConnectionError)
    assert [path.name for path in commands.home.iterdir()] == ["f"]


async def test_get_of_a_fifo_is_refused_at_once(commands: RunningFeature) -> None:
    """The service does not wait for a writer."""
    os.mkfifo(commands.home / "fifo")
    assert "it is a fifo" in str((await commands.call("get", "fifo")).error)
