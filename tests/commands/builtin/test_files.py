"""Commands on files and folders, with the messages of conplyent's server; and files as streams of bytes."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from typing import Any

import pytest

from smartmob.commands.registry import command
from tests.commands.features import RecordingSink, RunningFeature
from tests.waiting import until


class TestFiles:
    """Files and folders."""

    async def test_folders_are_created_and_listed(self, commands: RunningFeature) -> None:
        """The messages are those of conplyent's server."""
        home = commands.home
        (home / "f").write_text("x")
        (home / "l").symlink_to("f")
        replies = [
            [*(reply := await commands.call(*words)).values, reply.code]
            for words in (("mkdir", "d"), ("mkdir", "d"), ("mkdirs", "a/b"), ("touch", "t"), ("ls",), ("ls", "no"))
        ]
        assert replies == [
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
    async def test_failed_commands_have_the_exit_codes_of_conplyents_server(
        self, commands: RunningFeature, words: Any, code: int, kind: type | None
    ) -> None:
        """1 comes with a typed error, -1 with a text."""
        (commands.home / "full" / "inner").mkdir(parents=True)
        (commands.home / "file").write_text("x")
        reply = await commands.call(*words)

        assert reply.code == code
        if kind is not None:
            assert type(reply.error) is kind
        else:
            assert reply.error is not None or reply.values

    async def test_files_links_and_folders_are_removed(self, commands: RunningFeature) -> None:
        """The target of a link stays; a folder that is not empty needs `recursive`."""
        home = commands.home
        (home / "full" / "inner").mkdir(parents=True)
        (home / "file").write_text("x")
        (home / "link").symlink_to("full")
        for name in ("link", "file", "full/inner"):
            assert (await commands.call("rm", name)).code == 0
        (home / "full" / "f").write_text("x")
        assert (await commands.call("rm", "full", recursive=True)).values == ["Removed directory full"]
        assert list(home.iterdir()) == []

    async def test_content_is_written_appended_and_read_in_pieces(self, commands: RunningFeature) -> None:
        """The first message names the file."""
        data = os.urandom(2_500)
        await commands.call("wrfile", "f", data[:1_000])
        assert (await commands.call("wrfile", "f", data[1_000:], append=True)).values == ["Finished writing data to f"]
        reply = await commands.call("rdfile", "f")

        assert reply.values[0] == "Contents of f"
        assert [len(piece) for piece in reply.values[1:]] == [1024, 1024, 452]
        assert b"".join(reply.values[1:]) == data

    async def test_other_kinds_of_files_are_refused_at_once(self, commands: RunningFeature) -> None:
        """A fifo with or without a reader, a socket and an endless device do not keep the service waiting."""
        home = commands.home
        os.mkfifo(home / "fifo")
        (home / "link").symlink_to("fifo")
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(home / "socket"))
            for name, kind in (("fifo", "fifo"), ("link", "fifo"), ("socket", "socket"), ("/dev/zero", "device")):
                for words in (("rdfile", name), ("wrfile", name, b"x")):
                    if words[:2] != ("wrfile", "/dev/zero"):
                        reply = await commands.call(*words)
                        assert (reply.code, f"it is a {kind}" in str(reply.error)) == (1, True), words
        reader = os.open(home / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        assert "it is a fifo" in str((await commands.call("wrfile", "fifo", b"x")).error)
        assert os.read(reader, 1) == b""
        os.close(reader)
        assert (await commands.call("wrfile", "/dev/null", b"x")).code == 0
        assert isinstance((await commands.call("wrfile", "/dev/full", b"x")).error, OSError)

    async def test_reading_ends_when_the_client_leaves(self, commands: RunningFeature) -> None:
        """The thread of a command does not read on for a client that is gone."""
        emitted = threading.Event()
        ended = threading.Event()

        def endless(call: Any) -> None:
            try:
                while True:
                    call.emit(b"x")
                    emitted.set()
            finally:
                ended.set()

        commands.service.registry.add(command(endless))
        reply = commands.begin("endless")
        await until(emitted.is_set)
        assert reply.task is not None
        reply.task.cancel()
        await until(ended.is_set)

    async def test_touch_sets_the_time_and_keeps_the_content(self, commands: RunningFeature) -> None:
        """The file exists before."""
        path = commands.home / "f"
        path.write_text("content")
        os.utime(path, (1, 1))
        await commands.call("touch", "f")
        assert (path.read_text(), path.stat().st_mtime > 1) == ("content", True)

    async def test_find_files_returns_paths_and_sizes(self, commands: RunningFeature) -> None:
        """A path that names a file gives the file itself."""
        (commands.home / "a" / "b").mkdir(parents=True)
        (commands.home / "a" / "b" / "f").write_text("xyz")
        assert (await commands.call("find_files", "a")).values == [{"path": "b/f", "size": 3}]
        assert (await commands.call("find_files", "a/b/f")).values == [{"path": "", "size": 3}]


class TestTransfers:
    """`get` and `put`."""

    @pytest.mark.parametrize("size", [0, 1, 3_000_000])
    @pytest.mark.parametrize("offset", [0, 1])
    async def test_get_sends_the_bytes_from_an_offset_and_the_digest_of_the_whole(
        self, commands: RunningFeature, size: int, offset: int
    ) -> None:
        """The size is that of the whole file."""
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

    async def test_put_makes_a_complete_file_with_its_digest_and_mode(self, commands: RunningFeature) -> None:
        """The digest may come after the content."""
        data = os.urandom(100_000)
        digest = hashlib.sha256(data).digest()
        reply = await self._put(commands, data, data[:7], data[7:] + digest[:5], digest[5:], None, mode=0o640)

        assert reply.values == [{"offset": 0}, {"size": 100_000, "sha256": digest.hex()}]
        assert (commands.home / "f").read_bytes() == data
        assert (commands.home / "f").stat().st_mode & 0o777 == 0o640

    async def test_an_interrupted_put_continues_where_it_ended(self, commands: RunningFeature) -> None:
        """The file has no name before it is complete, and the digest covers all of it."""
        data = os.urandom(100_000)
        reply = await self._put(commands, data, data[:60_000], None)
        assert isinstance(reply.error, ConnectionError)
        assert not (commands.home / "f").exists()

        reply = await self._put(commands, data, data[60_000:], None, sha256=hashlib.sha256(data).hexdigest())
        assert (reply.values[0], reply.code) == ({"offset": 60_000}, 0)
        assert [path.name for path in commands.home.iterdir()] == ["f"]
        assert (commands.home / "f").read_bytes() == data

    async def test_a_wrong_digest_is_an_error(self, commands: RunningFeature) -> None:
        """Nothing of the file is kept."""
        reply = await self._put(commands, b"abc", b"abX", None, sha256=hashlib.sha256(b"abc").hexdigest())

        assert "SHA-256 differs" in str(reply.error)
        assert list(commands.home.iterdir()) == []

    async def test_two_transfers_cannot_write_one_file(self, commands: RunningFeature) -> None:
        """The second one is refused, and the first one goes on."""
        first = commands.begin("put", "f", 10)
        await until(lambda: first.values)
        second = await commands.call("put", "f", 10)
        assert "being written by another transfer" in str(second.error)
        first.inputs.put_nowait(b"0123456789")
        first.inputs.put_nowait(None)
        await first.ended.wait()
        assert first.code == 0

    async def test_more_bytes_than_announced_are_an_error(self, commands: RunningFeature) -> None:
        """The error says so."""
        reply = await self._put(commands, b"a", b"a" + bytes(100), None)
        assert "more data arrived" in str(reply.error)
