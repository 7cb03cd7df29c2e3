"""Decompressing: parts, padding and what follows them, as the commands of the formats treat them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from smartmob.processes.preparation.decompression import Compression, Decompressed, zstd_module
from smartmob.processes.preparation.unpacked_tree import ArchiveError, Interrupted, UnpackedTree, UnpackLimits

ZSTD = zstd_module()
assert ZSTD is not None
PACK: dict[Compression, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": ZSTD.compress,
}
COMMANDS: dict[Compression, str] = {"gz": "gzip", "bz2": "bzip2", "xz": "xz"}


def _tree(folder: Path, stop: threading.Event | None = None) -> UnpackedTree:
    return UnpackedTree(folder, 1, UnpackLimits(), stop or threading.Event())


def _all(reader: Decompressed, size: int = 1000) -> bytes:
    return b"".join(iter(lambda: reader.read(size), b""))


INPUTS: dict[str, Callable[[Callable[[bytes], bytes]], bytes]] = {
    "one part": lambda pack: pack(b"abc" * 1000),
    "two parts": lambda pack: pack(b"abc" * 1000) + pack(b"def"),
    "an empty part between": lambda pack: pack(b"abc") + pack(b"") + pack(b"def"),
    "many parts": lambda pack: b"".join(pack(b"%d" % number) for number in range(300)),
    "garbage behind": lambda pack: pack(b"abc") + b"junk of a mailer",
    "a part, padding, a part": lambda pack: pack(b"abc") + bytes(512) + pack(b"def"),
    "padding behind": lambda pack: pack(b"abc") + bytes(10240),
    "cut off": lambda pack: pack(b"abc" * 100)[:-3],
}


@pytest.mark.machine
@pytest.mark.parametrize("compression", COMMANDS)
def test_files_are_read_as_their_commands_read_them(compression: Compression, tmp_path: Path) -> None:
    """The content is that which `gzip -dc`, `bzip2 -dc` and `xz -dc` print; where they only warn, there is a remark."""
    for name, make in INPUTS.items():
        data = make(PACK[compression])
        printed = subprocess.run([COMMANDS[compression], "-dc"], input=data, capture_output=True, check=False)
        tree = _tree(tmp_path)
        try:
            found = _all(Decompressed(io.BytesIO(data), compression, tree))
        except (ArchiveError, EOFError):
            found = b"refused"
        # bzip2 warns of zeros, too, which gzip and xz take for padding.
        warned = (printed.returncode == 2 or b"ignored" in printed.stderr) and name != "padding behind"
        if printed.returncode not in (0, 2) or (name == "cut off"):
            assert found == b"refused", (compression, name)
        elif name == "a part, padding, a part" and found != printed.stdout:
            # gzip and bzip2 ignore a part behind padding; here nothing is lost.
            assert found == b"abcdef", (compression, name)
        else:
            assert (found, bool(tree.remarks)) == (printed.stdout, warned), (compression, name, printed.stderr)


def test_zstd_frames_are_read(tmp_path: Path) -> None:
    """Frames in a row, those without data, and nothing else."""
    skipped = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    data = PACK["zst"](b"abc") + skipped + PACK["zst"](b"def")
    assert _all(Decompressed(io.BytesIO(skipped + data), "zst", _tree(tmp_path))) == b"abcdef"
    for wrong in (data[:-2], data + b"junk"):
        with pytest.raises((ArchiveError, EOFError)):
            _all(Decompressed(io.BytesIO(wrong), "zst", _tree(tmp_path)))


@pytest.mark.parametrize("compression", PACK)
def test_not_more_is_decompressed_than_is_read(compression: Compression, tmp_path: Path) -> None:
    """The output of a small file does not fill the memory."""
    data = PACK[compression](bytes(64 * 1024**2))
    reader = Decompressed(io.BytesIO(data), compression, _tree(tmp_path))
    tracemalloc.start()
    try:
        assert len(reader.read(1000)) <= 1000
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024**2
    finally:
        tracemalloc.stop()


def test_a_dictionary_or_window_that_needs_much_memory_is_refused(tmp_path: Path) -> None:
    """The head of an xz or zstd file may ask for gigabytes."""
    xz = bytearray(lzma.compress(b"abc"))
    # The header of the block stands at 12; its byte 4 is the size of the dictionary, 40 for 4 GiB (section 5.3.1 of the
    # format), and a checksum follows at 8.
    xz[16] = 40
    xz[20:24] = zlib.crc32(xz[12:20]).to_bytes(4, "little")
    # A frame whose window has 2**31 bytes (RFC 8878, section 3.1.1.1.2), and one block with one byte.
    huge = b"\x28\xb5\x2f\xfd\x00" + bytes([(31 - 10) << 3]) + b"\x09\x00\x00a"
    cases: list[tuple[Compression, bytes]] = [("xz", bytes(xz)), ("zst", huge)]
    for compression, data in cases:
        with pytest.raises(ArchiveError, match=r"cannot be decompressed.*(?i:memory)"):
            _all(Decompressed(io.BytesIO(data), compression, _tree(tmp_path)))


def test_many_empty_parts_can_be_interrupted(tmp_path: Path) -> None:
    """They yield nothing, so the reader itself looks whether the work was stopped."""
    stop = threading.Event()
    stop.set()
    reader = Decompressed(io.BytesIO(gzip.compress(b"") * 3), "gz", _tree(tmp_path, stop))
    with pytest.raises(Interrupted):
        reader.read(10)
