"""Files that are read and written beside the loop, with the SHA-256 of all that is in them."""

from __future__ import annotations

import hashlib
import os
from contextlib import aclosing
from pathlib import Path

import pytest

from smartmob.commands.hashed_file import PART_BYTES, Reader, Writer


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 3 * PART_BYTES + 7])
@pytest.mark.parametrize("offset", [0, 1, PART_BYTES, PART_BYTES + 5])
async def test_reading(tmp_path: Path, size: int, offset: int) -> None:
    """What lies from an offset on comes in order, each part at its place, and the digest is of the whole."""
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    found = b""
    with (tmp_path / "f").open("rb") as file:
        reader = Reader(file)
        async with aclosing(reader.parts(offset)) as parts:
            async for place, part in parts:
                assert place == offset + len(found)
                found += part
    assert (found, reader.size) == (data[offset:], size)
    assert reader.sha256 == hashlib.sha256(data).digest()


async def test_reading_that_is_given_up(tmp_path: Path) -> None:
    """The thread is done with the file when the parts are closed, so the file can be."""
    (tmp_path / "f").write_bytes(bytes(3 * PART_BYTES))
    with (tmp_path / "f").open("rb") as file:
        reader = Reader(file)
        async with aclosing(reader.parts()) as parts:
            async for place, _ in parts:
                assert place == 0
                break
        assert file.tell() == 2 * PART_BYTES


async def test_writing(tmp_path: Path) -> None:
    """What comes in pieces of any size is in the file after `flush`, and the digest is of all of it."""
    pieces = [os.urandom(size) for size in (1, 0, 70_000, PART_BYTES, 2 * PART_BYTES + 1, 5)]
    with (tmp_path / "f").open("a+b") as file:
        writer = Writer(file)
        for piece in pieces:
            await writer.write(piece)
        await writer.flush()
        await writer.flush()
    assert (tmp_path / "f").read_bytes() == b"".join(pieces)
    assert writer.sha256 == hashlib.sha256(b"".join(pieces)).digest()


async def test_writing_on(tmp_path: Path) -> None:
    """What is there of an earlier attempt is part of the digest, and the rest goes behind it."""
    (tmp_path / "f").write_bytes(b"begun ")
    with (tmp_path / "f").open("a+b") as file:
        writer = Writer(file)
        assert await writer.resume() == 6
        await writer.write(b"and ended")
        await writer.flush()
    assert (tmp_path / "f").read_bytes() == b"begun and ended"
    assert writer.sha256 == hashlib.sha256(b"begun and ended").digest()


async def test_a_full_disk(tmp_path: Path) -> None:
    """The error of the thread comes out, and what came behind the hole is not written any more."""
    (tmp_path / "full").symlink_to("/dev/full")
    with (tmp_path / "full").open("a+b", buffering=0) as file:
        # Unbuffered: a buffer would fail once more when the file is closed.
        writer = Writer(file)  # type: ignore[arg-type]  # it does what the writer needs of a buffered one
        await writer.write(b"x")
        with pytest.raises(OSError, match="No space left"):
            await writer.flush()
        await writer.flush()
