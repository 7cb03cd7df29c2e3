"""Files that are read and written in a thread, with the SHA-256 of the whole content."""

from __future__ import annotations

import hashlib
import os
from contextlib import aclosing
from pathlib import Path

import pytest

from smartmob.commands.hashed_file import PART_BYTES, FileReader, Writer


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 3 * PART_BYTES + 7])
@pytest.mark.parametrize("offset", [0, 1, PART_BYTES, PART_BYTES + 5])
async def test_a_file_is_read_from_an_offset_and_hashed_from_its_beginning(
    tmp_path: Path, size: int, offset: int
) -> None:
    """Each part has its offset."""
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    found = b""
    with (tmp_path / "f").open("rb") as file:
        reader = FileReader(file)
        async with aclosing(reader.parts(offset)) as parts:
            async for place, part in parts:
                assert place == offset + len(found)
                found += part
    assert (found, reader.size) == (data[offset:], size)
    assert reader.sha256 == hashlib.sha256(data).digest()


async def test_the_thread_is_done_when_the_reader_is_closed(tmp_path: Path) -> None:
    """So the file can be closed."""
    (tmp_path / "f").write_bytes(bytes(3 * PART_BYTES))
    with (tmp_path / "f").open("rb") as file:
        reader = FileReader(file)
        async with aclosing(reader.parts()) as parts:
            async for place, _ in parts:
                assert place == 0
                break
        assert file.tell() == 2 * PART_BYTES


async def test_pieces_of_any_size_are_written_and_hashed(tmp_path: Path) -> None:
    """All of them are in the file after `flush`."""
    pieces = [os.urandom(size) for size in (1, 0, 70_000, PART_BYTES, 2 * PART_BYTES + 1, 5)]
    with (tmp_path / "f").open("a+b") as file:
        writer = Writer(file, "f")
        for piece in pieces:
            await writer.write(piece)
        await writer.flush()
        await writer.flush()
    assert (tmp_path / "f").read_bytes() == b"".join(pieces)
    assert writer.sha256 == hashlib.sha256(b"".join(pieces)).digest()


async def test_an_interrupted_file_is_continued(tmp_path: Path) -> None:
    """The digest covers the content that was there before."""
    (tmp_path / "f").write_bytes(b"begun ")
    with (tmp_path / "f").open("a+b") as file:
        writer = Writer(file, "f")
        assert await writer.resume() == 6
        await writer.write(b"and ended")
        await writer.flush()
    assert (tmp_path / "f").read_bytes() == b"begun and ended"
    assert writer.sha256 == hashlib.sha256(b"begun and ended").digest()


async def test_an_error_of_the_thread_is_raised(tmp_path: Path) -> None:
    """Data after the hole is not written."""
    (tmp_path / "full").symlink_to("/dev/full")
    with (tmp_path / "full").open("a+b", buffering=0) as file:
        # Unbuffered: a buffer would fail once more when the file is closed.
        writer = Writer(file, "f")  # type: ignore[arg-type]  # it does what the writer needs of a buffered one
        await writer.write(b"x")
        with pytest.raises(OSError, match="No space left"):
            await writer.flush()
        await writer.flush()
