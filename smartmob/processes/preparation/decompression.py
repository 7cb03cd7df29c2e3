"""Decompressing gzip, bzip2, xz and zstd in bounded pieces, as the commands of these formats read their files.

A compressed file is one or more parts, one after the other. Zeros after a part are padding. Anything else after the
last part is ignored with a remark if the command of the format ignores it, which gzip and bzip2 do, but not xz and
zstd.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import BinaryIO, Literal, Protocol

import msgspec

from smartmob.processes.preparation.unpacked_tree import ArchiveError, UnpackedTree

Compression = Literal["gz", "bz2", "xz", "zst"]

_READ_BYTES = 64 * 1024
_GZIP_WINDOW = 16 + zlib.MAX_WBITS  # a gzip header and checksum around the data (manual of zlib, inflateInit2)
_XZ_MEMORY = 256 * 1024**2
"""Limit of the memory for a part of an xz file, in bytes; `xz -9` needs 65 MiB."""
_ZSTD_WINDOW_LOG = 27
"""Limit of the window of zstd, as a power of two: 128 MiB, which is that of the command `zstd` without `--long`."""
ZSTD_MISSING = (
    "the archive is compressed with zstd, and the package backports.zstd for it is missing here: "
    "install smartmob[encodings] on the machine of the service"
)


class _Part(Protocol):
    """A decompressor of one part. `decompress` returns at most `size` bytes; bytes that it did not accept are kept."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _GzipPart:
    """A decompressor of one part of a gzip file, with the interface of those of bz2 and lzma."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP_WINDOW)
        self._rest = b""
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        output = self._inner.decompress(self._rest + data, max_length)
        self._rest = self._inner.unconsumed_tail
        # After a full output, zlib may have more of it without further input.
        self.needs_input = not self._rest and len(output) < max_length
        return output


class _Format(msgspec.Struct, frozen=True):
    """A format: the first bytes of each of its parts, the decompressor, and whether its command ignores other bytes."""

    starts: tuple[bytes, ...]
    part: Callable[[], _Part]
    ignores_rest: bool


def _xz_part() -> _Part:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def zstd_module() -> ModuleType | None:
    """Return the module for zstd: that of the standard library since Python 3.14, or its backport; None without."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def _zstd_part() -> _Part:
    module = zstd_module()
    if module is None:
        raise ArchiveError(ZSTD_MISSING)
    part: _Part = module.ZstdDecompressor(options={module.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})
    return part


ZSTD_STARTS = (b"\x28\xb5\x2f\xfd", *(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60)))
"""First bytes of a frame with data, and of those without any (RFC 8878, section 3.1)."""
_FORMATS: Mapping[Compression, _Format] = {
    "gz": _Format((b"\x1f\x8b",), _GzipPart, ignores_rest=True),
    "bz2": _Format((b"BZh",), bz2.BZ2Decompressor, ignores_rest=True),
    "xz": _Format((b"\xfd7zXZ\x00",), _xz_part, ignores_rest=False),
    "zst": _Format(ZSTD_STARTS, _zstd_part, ignores_rest=False),
}


class Decompressed:
    """A reader of the decompressed content of `file`. Remarks go to `tree`, which may also interrupt the work."""

    def __init__(self, file: BinaryIO, compression: Compression, tree: UnpackedTree) -> None:
        self._file = file
        self._format = _FORMATS[compression]
        self._tree = tree
        self._part: _Part | None = self._format.part()
        self._data = b""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; empty only at the end. Raises ArchiveError, and EOFError for a cut off file."""
        while self._part is not None:
            if not self._data and self._part.needs_input:
                self._data = self._file.read(_READ_BYTES)
                if not self._data:
                    raise EOFError("the compressed data ends early")
            output, self._data = self._decompress(self._part, size), b""
            if self._part.eof:
                self._data = self._part.unused_data
                self._part = self._next_part()
            if output:
                return output
        return b""

    def _decompress(self, part: _Part, size: int) -> bytes:
        try:
            return part.decompress(self._data, size)
        except (zlib.error, lzma.LZMAError, OSError) as error:
            reason = str(error)
        except Exception as error:
            # The exception of zstd comes from a package that may be absent.
            if type(error).__name__ != "ZstdError":
                raise
            reason = str(error)
        raise ArchiveError(f"the archive cannot be decompressed, it may be damaged: {reason}")

    def _next_part(self) -> _Part | None:
        """Return the decompressor of the part that begins in `_data`, or None at the end of the file."""
        self._tree.count(0)
        while not (data := self._data.lstrip(b"\0")):
            self._tree.count(0)
            if not (data := self._file.read(_READ_BYTES)):
                return None
            self._data = data
        longest = max(map(len, self._format.starts))
        if len(data) < longest:
            data += self._file.read(longest - len(data))
        self._data = data
        if data.startswith(self._format.starts):
            return self._format.part()
        if not self._format.ignores_rest:
            raise ArchiveError("the compressed data is followed by something else; the archive is damaged")
        self._tree.remark("what follows the compressed data was ignored")
        return None
