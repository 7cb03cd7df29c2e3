"""Files and folders by command, with the messages of the stock server; and files as streams of bytes."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest

from tests.commands.features import RecordingSink, RunningFeature
from tests.waiting import until


class TestFiles:
    """Files and folders."""

    async def test_folders(self, commands: RunningFeature) -> None:
        """Made, listed, entered and removed; the messages are those of the stock server."""
        home = commands.home
        (home / "f").write_text("x")
        (home / "l").symlink_to("f")
        said = [
            [*(reply := await commands.call(*words)).values, reply.code]
            for words in (("mkdir", "d"), ("mkdir", "d"), ("mkdirs", "a/b"), ("touch", "t"), ("ls",), ("ls", "no"))
        ]
        assert said == [
            ["Created directory: d", 0],
            ["Directory or File d already exists", -1],
            ["Created directory: a/b", 0],
            ["Touched t", 0],
            [f"Listing of Directory {home}:\n\nd a\nd d\nf f\nf t\nl l", 0],
            ["no: No such directory", -1],
        ]

    @pytest.mark.parametrize(
        ("words", "code", "kind"),
        [
            (("cd", "missing"), 1, FileNotFoundError),
            (("cd", "file"), 1, NotADirectoryError),
            (("mkdir", "x/y"), 1, FileNotFoundError),
            (("mkdirs", "full"), 1, FileExistsError),
            (("mkdir", "full"), -1, None),
            (("rm", "missing"), -1, None),
            (("rm", "full"), -1, None),
            (("rdfile", "missing"), -1, None),
            (("rdfile", "full"), -1, None),
            (("wrfile", "full", b""), -1, None),
            (("wrfile", "no/x", b""), 1, FileNotFoundError),
            (("touch", "full"), -1, None),
            (("get", "missing"), 1, FileNotFoundError),
            (("get", "file", 99), 1, None),
            (("put", "full", 0), 1, IsADirectoryError),
            (("find_files", "missing"), 1, FileNotFoundError),
        ],
    )
    async def test_errors(self, commands: RunningFeature, words: Any, code: int, kind: type | None) -> None:
        """What cannot be done ends with 1 and a typed error, or with -1 and a text, as the stock server has it."""
        (commands.home / "full" / "inner").mkdir(parents=True)
        (commands.home / "file").write_text("x")
        reply = await commands.call(*words)

        assert reply.code == code
        if kind is not None:
            assert type(reply.error) is kind
        else:
            assert reply.error is not None or reply.values

    async def test_removing(self, commands: RunningFeature) -> None:
        """Files, links (never what they lead to), empty folders, and full ones when that is asked for."""
        home = commands.home
        (home / "full" / "inner").mkdir(parents=True)
        (home / "file").write_text("x")
        (home / "link").symlink_to("full")
        for name in ("link", "file", "full/inner"):
            assert (await commands.call("rm", name)).code == 0
        (home / "full" / "f").write_text("x")
        assert (await commands.call("rm", "full", recursive=True)).values == ["Removed directory full"]
        assert list(home.iterdir()) == []

    async def test_content(self, commands: RunningFeature) -> None:
        """Bytes are written, appended to, and read in pieces after a line that names the file."""
        data = os.urandom(2_500)
        await commands.call("wrfile", "f", data[:1_000])
        assert (await commands.call("wrfile", "f", data[1_000:], append=True)).values == ["Finished writing data to f"]
        reply = await commands.call("rdfile", "f")

        assert reply.values[0] == "Contents of f"
        assert [len(piece) for piece in reply.values[1:]] == [1024, 1024, 452]
        assert b"".join(reply.values[1:]) == data

    async def test_touching(self, commands: RunningFeature) -> None:
        """The content of a file stays, its time is new."""
        path = commands.home / "f"
        path.write_text("content")
        os.utime(path, (1, 1))
        await commands.call("touch", "f")
        assert (path.read_text(), path.stat().st_mtime > 1) == ("content", True)

    async def test_finding(self, commands: RunningFeature) -> None:
        """All files below a folder with their sizes, and a file itself."""
        (commands.home / "a" / "b").mkdir(parents=True)
        (commands.home / "a" / "b" / "f").write_text("xyz")
        assert (await commands.call("find_files", "a")).values == [{"path": "b/f", "size": 3}]
        assert (await commands.call("find_files", "a/b/f")).values == [{"path": "", "size": 3}]


class TestTransfers:
    """`get` and `put`."""

    @pytest.mark.parametrize("size", [0, 1, 3_000_000])
    @pytest.mark.parametrize("offset", [0, 1])
    async def test_getting(self, commands: RunningFeature, size: int, offset: int) -> None:
        """The bytes from an offset on, then the size and the digest of the whole."""
        data = os.urandom(size)
        (commands.home / "f").write_bytes(data)
        offset = min(offset, size)
        reply = await commands.call("get", "f", offset)

        assert reply.data == data[offset:]
        assert reply.values[-1]["size"] == size
        assert reply.values[-1]["sha256"] == hashlib.sha256(data).hexdigest()

    async def _put(self, commands: RunningFeature, data: bytes, *pieces: bytes | None, **kwargs: Any) -> RecordingSink:
        reply = RecordingSink()
        for piece in pieces:
            reply.inputs.put_nowait(piece)
        arguments = (("f", len(data)), kwargs)
        await commands.service.calls.run(commands.session(), "put", arguments, reply, native=True)
        return reply

    async def test_putting(self, commands: RunningFeature) -> None:
        """The file appears whole, with its digest and its mode; the digest may come behind the content."""
        data = os.urandom(100_000)
        digest = hashlib.sha256(data).digest()
        reply = await self._put(commands, data, data[:7], data[7:] + digest[:5], digest[5:], None, mode=0o640)

        assert reply.values == [{"offset": 0}, {"size": 100_000, "sha256": digest.hex()}]
        assert (commands.home / "f").read_bytes() == data
        assert (commands.home / "f").stat().st_mode & 0o777 == 0o640

    async def test_one_that_was_cut_off(self, commands: RunningFeature) -> None:
        """Nothing appears under the name; the next attempt goes on where it ended, and everything is checked."""
        data = os.urandom(100_000)
        reply = await self._put(commands, data, data[:60_000], None)
        assert isinstance(reply.error, ConnectionError)
        assert not (commands.home / "f").exists()

        reply = await self._put(commands, data, data[60_000:], None, sha256=hashlib.sha256(data).hexdigest())
        assert (reply.values[0], reply.code) == ({"offset": 60_000}, 0)
        assert [path.name for path in commands.home.iterdir()] == ["f"]
        assert (commands.home / "f").read_bytes() == data

    async def test_damage_on_the_way(self, commands: RunningFeature) -> None:
        """Another digest is an error, and nothing of the file is kept."""
        reply = await self._put(commands, b"abc", b"abX", None, sha256=hashlib.sha256(b"abc").hexdigest())

        assert "SHA-256 differs" in str(reply.error)
        assert list(commands.home.iterdir()) == []

    async def test_two_at_once(self, commands: RunningFeature) -> None:
        """The second one that writes the same file is refused while the first goes on."""
        first = commands.begin("put", "f", 10)
        await until(lambda: first.values)
        second = await commands.call("put", "f", 10)
        assert "being written by another transfer" in str(second.error)
        first.inputs.put_nowait(b"0123456789")
        first.inputs.put_nowait(None)
        await first.ended.wait()
        assert first.code == 0

    async def test_too_much(self, commands: RunningFeature) -> None:
        """More bytes than were announced are an error."""
        reply = await self._put(commands, b"a", b"a" + bytes(100), None)
        assert "more came" in str(reply.error)
