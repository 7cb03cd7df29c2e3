"""Unpacking tar archives, compressed or not."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import IO, Self, cast

from smartmob.processes.preparation.decompression import Compression, Decompressed
from smartmob.processes.preparation.unpacked_tree import (
    CHUNK_BYTES,
    ArchiveError,
    CountedReader,
    UnpackedTree,
    check_length,
)

_METADATA_BYTES = 1024 * 1024
"""Limit of the headers between two members of a tar archive."""
_GNU_MAGIC = b"ustar  \0"
"""Magic of GNU's own format, in which the prefix of ustar is other data (GNU tar manual, "Basic Tar Format")."""
_MAGIC_AT, _NAME_BYTES = 257, 100  # offset and length in a header, in bytes (POSIX, pax, "ustar Interchange Format")
_DUMP_FOLDER, _VOLUME_LABEL, _CONTINUED = b"D", b"V", b"M"
"""Types of members of GNU tar: a folder of an incremental dump, a label, and the rest of a file of another volume."""
_MOST_GLOBAL_HEADERS = 64  # keywords of the global headers of a tar archive, which tarfile keeps in memory


class _Metered(CountedReader):
    """A reader of the decompressed archive. At most `budget` bytes are read before the budget is set again.

    It bounds memory: tarfile reads an extended header in one piece, whatever size it claims.
    """

    budget = _METADATA_BYTES

    def read(self, size: int, /) -> bytes:
        data = super().read(size)
        self.budget -= len(data)
        if self.budget < 0:
            raise ArchiveError(f"the archive has a header of more than {_METADATA_BYTES} bytes")
        return data


class _StrictInfo(tarfile.TarInfo):
    """A header of a tar archive that must be intact: tarfile treats a damaged one as the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if not any(buf) and len(buf) in (0, tarfile.BLOCKSIZE):
            return super().frombuf(buf, encoding, errors)  # the end, for which tarfile expects its exceptions
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None
        if buf[_MAGIC_AT:].startswith(_GNU_MAGIC):
            info.name = bytes(buf[:_NAME_BYTES]).partition(b"\0")[0].decode(encoding, errors)
        return info


def unpack_tar(path: Path, compression: Compression | None, tree: UnpackedTree) -> None:
    with path.open("rb") as packed:
        file = packed if compression is None else Decompressed(packed, compression, tree)
        source = _Metered(file, tree)
        with _open_tar(source) as tar:
            while (info := tar.next()) is not None:
                source.budget = max(info.size, 0) + 2 * _METADATA_BYTES
                _unpack_member(tar, info, tree)
                source.budget = _METADATA_BYTES
                # tarfile keeps all headers; without this, memory would grow with the number of members.
                vars(tar)["members"].clear()
                if len(tar.pax_headers) > _MOST_GLOBAL_HEADERS:
                    raise ArchiveError("the archive has too many global headers")
        _read_to_end(file, tree)


def _read_to_end(file: IO[bytes] | Decompressed, tree: UnpackedTree) -> None:
    """Read to the end of the compressed data, where its checksum is, and add a remark on content after the archive."""
    ignored = False
    while data := file.read(CHUNK_BYTES):
        tree.count(len(data))
        ignored = ignored or any(data)
    if ignored:
        tree.remark("what follows the end of the tar archive was ignored, for example a second archive")


def _open_tar(source: _Metered) -> tarfile.TarFile:
    file = cast(IO[bytes], source)
    try:
        return tarfile.open(fileobj=file, mode="r|", bufsize=CHUNK_BYTES, tarinfo=_StrictInfo, encoding="utf-8")
    except tarfile.ReadError:
        raise ArchiveError("the content is not a tar archive: compressed twice, damaged, or something else") from None


def _unpack_member(tar: tarfile.TarFile, info: tarfile.TarInfo, tree: UnpackedTree) -> None:
    check_length(info.name)
    if info.isdir() or info.type == _DUMP_FOLDER or (info.isreg() and info.name.endswith("/")):
        tree.folder(info.name)
    elif info.type == _VOLUME_LABEL:
        return
    elif info.isfifo():
        tree.remark(f"the fifo {info.name!r} was left out")
    elif info.type == _CONTINUED:
        raise ArchiveError("this is a later part of a tar archive in several volumes")
    elif info.isreg() or info.type not in tarfile.SUPPORTED_TYPES:
        if not info.isreg():
            tree.remark(f"{info.name!r} is of the unknown type {info.type!r}, and was taken for a file")
        _check_holes(info, tree)
        content = tar.extractfile(info)
        assert content is not None
        tree.file(info.name, content, info.size, executable=bool(info.mode & 0o111))
    elif info.issym():
        tree.add_link(info.name, info.linkname)
    elif info.islnk():
        tree.copy(info.name, info.linkname)
    else:
        raise ArchiveError(f"{info.name!r} is neither a file nor a folder nor a link")


def _check_holes(info: tarfile.TarInfo, tree: UnpackedTree) -> None:
    """Count the holes of a sparse file, which are written as zeros; raises ArchiveError for a wrong list of its data.

    The pieces of data must stand in order: tarfile would search endlessly for a position outside of them.
    """
    if info.sparse is None:
        return
    end = data = 0
    # typeshed does not know the type: pairs of the position and the size of data.
    for offset, size in cast(list[tuple[int, int]], info.sparse):
        if size == 0:
            continue  # the end mark, and unused entries of the old format of GNU
        if offset < end or size < 0 or offset + size > info.size:
            raise ArchiveError(f"the sparse file {info.name!r} is damaged: its pieces are not in order")
        end, data = offset + size, data + size
    tree.count(info.size - data)
