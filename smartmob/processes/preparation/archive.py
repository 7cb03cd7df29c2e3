"""Source archives: detecting the type by content, and unpacking.

The functions block: call them in a thread.
"""

from __future__ import annotations

import lzma
import struct
import tarfile
import threading
import zlib
from pathlib import Path
from typing import Literal, get_args

import msgspec

from smartmob.processes.preparation import tar_members
from smartmob.processes.preparation.decompression import ZSTD_STARTS, Compression
from smartmob.processes.preparation.unpacked_tree import ArchiveError, UnpackedTree, UnpackLimits

Kind = Literal["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"]

# First bytes of the types that are recognised; tar has its mark later, and is tried last.
_STARTS: tuple[tuple[Kind, tuple[bytes, ...]], ...] = (
    ("zip", (b"PK\x03\x04", b"PK\x05\x06")),  # the second one is that of an archive without entries
    ("tar.gz", (b"\x1f\x8b",)),
    ("tar.bz2", (b"BZh",)),
    ("tar.xz", (b"\xfd7zXZ\x00",)),
    ("tar.zst", ZSTD_STARTS),
)
_COMPRESSIONS: dict[Kind, Compression] = {"tar.gz": "gz", "tar.bz2": "bz2", "tar.xz": "xz", "tar.zst": "zst"}
# First bytes of archives that are not read, from the list of file(1).
_OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"\x1f\x9d": "a file of compress (.Z)",
    b"LZIP": "a file of lzip",
    b"\x5d\x00\x00": "a file of the old lzma format",
    b"\x04\x22\x4d\x18": "a file of lz4",
    b"xar!": "a xar archive",
    b"MSCF": "a cabinet file",
    b"!<arch>\n": "an ar archive or Debian package",
    b"0707": "a cpio archive",
    b"PK\x07\x08": "a part of a zip archive in several files",
}
# Exceptions of the standard library for damaged archives: those that it documents, and those of its bugs.
_BROKEN = (
    *(tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, struct.error),
    *(ValueError, IndexError, OverflowError, RuntimeError),
)


class Unpacked(msgspec.Struct, frozen=True):
    """An unpacked archive: the root of the source, and remarks, such as ignored content of the archive."""

    root: Path
    remarks: tuple[str, ...] = ()


def kind_of(path: Path) -> Kind:
    """Return the type of the archive at `path`; raises ArchiveError, whose message says what the file seems to be."""
    with path.open("rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    for kind, starts in _STARTS:
        if head.startswith(starts):
            return kind
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        import zipfile  # imported here: it takes a quarter of a megabyte, and few sources are zip archives

        if zipfile.is_zipfile(path):
            return "zip"  # after other content, such as a program that unpacks it
        known = ", ".join(get_args(Kind)[:-1])
        raise ArchiveError(f"this is {_likeness(head)}; the source must be a {known} or {get_args(Kind)[-1]}") from None
    return "tar"


def unpack(path: Path, target: Path, limits: UnpackLimits, stop: threading.Event | None = None) -> Unpacked:
    """Unpack the archive at `path` into the new folder `target`.

    The root is `target`; when that has only one folder and the Procfile is in there, the root is this folder. Archives
    of code hosts have this form.

    Raises ArchiveError, and Interrupted soon after `stop` is set; the caller removes what was unpacked by then.
    """
    target.mkdir(parents=True)
    tree = UnpackedTree(target, path.stat().st_size, limits, stop or threading.Event())
    try:
        kind = kind_of(path)
        if kind == "zip":
            from smartmob.processes.preparation import zip_entries

            zip_entries.unpack_zip(path, tree)
        else:
            tar_members.unpack_tar(path, _COMPRESSIONS.get(kind), tree)
        root = tree.create_links()
    except _BROKEN as error:
        raise ArchiveError(f"the archive is damaged or cut off: {error}") from None
    except OSError as error:
        raise ArchiveError(f"the archive cannot be unpacked: {error.strerror or error}") from None
    return Unpacked(target / root, tree.remarks)


def _likeness(head: bytes) -> str:
    """Return a description of a file that is not an archive, from its first bytes."""
    for first, name in _OTHERS.items():
        if head.startswith(first):
            return name
    start = head.lstrip()[:64].lower()
    if not head:
        return "an empty file"
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, not an archive"
    if start.startswith((b"<?xml", b"{", b"[")):
        return "a document, not an archive"
    return "not an archive of a known type"
