"""Unpacking zip archives."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, BinaryIO

from smartmob.processes.preparation.unpacked_tree import (
    CHUNK_BYTES,
    LONGEST_TARGET,
    ArchiveError,
    CountedReader,
    UnpackedTree,
    check_length,
    target_too_long,
)

_CENTRAL_ENTRY = b"PK\x01\x02"
_END_RECORD = b"PK\x05\x06"
_ZIP64_LOCATOR = b"PK\x06\x07"
_END_RECORD_BYTES = 22  # of the end record without its comment (APPNOTE.TXT of PKWARE, section 4.3.16)
_END_SEARCHED_BYTES = _END_RECORD_BYTES + 65_535  # with the longest comment
_ZIP64_LOCATOR_BYTES = 20  # section 4.3.15
_UNIX = 3  # section 4.4.2
_WINDOWS = (0, 10, 14)  # file systems of FAT, NTFS and VFAT (section 4.4.2)
_IS_UTF8 = 0x800  # bit 11 of the flags (section 4.4.4)
_UNICODE_PATH = 0x7075  # an extra field (section 4.6.9)
_FIELD_HEAD_BYTES = 4  # kind and length of an extra field (section 4.5.1)


def unpack_zip(path: Path, tree: UnpackedTree) -> None:
    """Unpack the zip archive at `path` into `tree`; raises ArchiveError, and the other exceptions of zipfile."""
    tree.check_entries(_count_zip_entries(path))
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                _unpack_possible(archive, info, tree)
    except zipfile.BadZipFile as error:
        raise ArchiveError(f"the archive is damaged or cut off: {error}") from None


def _unpack_possible(archive: zipfile.ZipFile, info: zipfile.ZipInfo, tree: UnpackedTree) -> None:
    try:
        _unpack_entry(archive, info, tree)
    except (NotImplementedError, RuntimeError) as error:
        raise ArchiveError(f"{info.filename!r} cannot be unpacked: {error} (method {info.compress_type})") from None


def _directory_start(file: BinaryIO) -> int:
    """Return the position from which a zip archive is searched for entries: that of its directory, or 0.

    With a ZIP64 locator the whole file is searched: these archives are rare.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_SEARCHED_BYTES))
    tail = file.read()
    end = tail.rfind(_END_RECORD)
    if not 0 <= end <= len(tail) - _END_RECORD_BYTES:
        return 0
    if tail[max(0, end - _ZIP64_LOCATOR_BYTES) :][:4] == _ZIP64_LOCATOR:
        return 0
    length = int.from_bytes(tail[end + 12 : end + 16], "little")
    return max(0, size - len(tail) + end - length)


def _count_zip_entries(path: Path) -> int:
    """Return an upper bound of the entries of a zip archive, before zipfile creates an object for each."""
    with path.open("rb") as file:
        file.seek(_directory_start(file))
        count, overlap = 0, b""
        while chunk := file.read(CHUNK_BYTES):
            count += (overlap + chunk).count(_CENTRAL_ENTRY)
            overlap = chunk[-3:]
    return count


def _link_target(content: IO[bytes], name: str) -> str:
    """Return the target of a symbolic link, which is the content of its entry. Raises ArchiveError."""
    target = content.read(LONGEST_TARGET + 1)
    if len(target) > LONGEST_TARGET:
        raise target_too_long(name)
    return target.decode("utf-8", "surrogateescape")


def _unpack_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, tree: UnpackedTree) -> None:
    name, mode = _zip_name(info), info.external_attr >> 16
    file_type = stat.S_IFMT(mode)
    check_length(name)
    if info.flag_bits & 0x1:
        raise ArchiveError(f"{name!r} is encrypted; pack the archive without a password")
    if name.endswith("/") or file_type == stat.S_IFDIR:
        tree.folder(name)
        return
    # `zip -` stores its input as a fifo; unzip makes a file from any fifo.
    if file_type not in (0, stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO):
        raise ArchiveError(f"{name!r} is neither a file nor a folder nor a link")
    with archive.open(info) as content:
        if file_type == stat.S_IFLNK:
            tree.add_link(name, _link_target(content, name))
        else:
            tree.file(name, CountedReader(content, tree), info.file_size, executable=bool(mode & 0o111))


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name of an entry, with `/` between folders.

    A name in UTF-8 in an extra field counts first. Otherwise the name is read as UTF-8 if possible, even when the entry
    does not say that it is UTF-8. Other bytes stay as they are in an archive from Unix, and are code page 437 in any
    other. As for unzip, `\\` stands for `/` in a name without `/` of an archive from Windows.
    """
    name = _decoded_name(info)
    if info.create_system in _WINDOWS and "/" not in name:
        return name.replace("\\", "/")
    return name


def _decoded_name(info: zipfile.ZipInfo) -> str:
    name = info.orig_filename
    if info.flag_bits & _IS_UTF8:
        return name
    raw = name.encode("cp437")
    try:
        return _unicode_path(info.extra, raw) or raw.decode()
    except UnicodeError:
        return raw.decode(errors="surrogateescape") if info.create_system == _UNIX else name


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Return the name in the Unicode path field of the extra fields, if there is one and it is about the name `raw`."""
    while len(extra) >= _FIELD_HEAD_BYTES:
        kind, length = struct.unpack_from("<HH", extra)
        content, extra = extra[_FIELD_HEAD_BYTES:][:length], extra[_FIELD_HEAD_BYTES + length :]
        # The first byte is the version 1, the next four a checksum of the name that the field replaces.
        if kind == _UNICODE_PATH and content[:1] == b"\x01" and content[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
            return content[5:].decode()
    return None
