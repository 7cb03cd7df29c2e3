"""Builders of source archives: valid ones of each type, and malicious ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from smartmob.processes.preparation.archive import Kind
from smartmob.processes.preparation.decompression import zstd_module

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class File:
    """A file with permissions; plain text or bytes are a file with 0644."""

    content: str | bytes = b""
    mode: int = 0o755


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class HardLink:
    """A hard link to an earlier entry, for tar only."""

    target: str


@dataclass(frozen=True)
class Folder:
    """An entry for a folder."""

    mode: int = 0o755


@dataclass(frozen=True)
class Special:
    """A device, pipe or other special file; `kind` is its type in tar."""

    kind: bytes = tarfile.CHRTYPE


Entry = str | bytes | File | Link | HardLink | Folder | Special


def _zstd(data: bytes) -> bytes:
    module = zstd_module()
    assert module is not None
    return bytes(module.compress(data))


_COMPRESS: Mapping[Kind, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": lambda data: gzip.compress(data, mtime=0),
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
    "tar.zst": _zstd,
}


def make_archive(kind: Kind, files: Mapping[str, Entry] | Iterable[tuple[str, Entry]]) -> bytes:
    """Return the bytes of an archive with these entries, in this order; with pairs, names may occur twice."""
    pairs = list(files.items() if isinstance(files, Mapping) else files)
    return _zip(pairs) if kind == "zip" else _COMPRESS[kind](_tar(pairs))


def _as_file(entry: Entry) -> File | None:
    if isinstance(entry, str | bytes):
        return File(entry, 0o644)
    return entry if isinstance(entry, File) else None


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _tar(pairs: Iterable[tuple[str, Entry]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, entry in pairs:
            info, content = tarfile.TarInfo(name), b""
            if (file := _as_file(entry)) is not None:
                content, info.mode = _bytes(file.content), file.mode
                info.size = len(content)
            elif isinstance(entry, Link):
                info.type, info.linkname = tarfile.SYMTYPE, entry.target
            elif isinstance(entry, HardLink):
                info.type, info.linkname = tarfile.LNKTYPE, entry.target
            elif isinstance(entry, Folder):
                info.type, info.mode = tarfile.DIRTYPE, entry.mode
            elif isinstance(entry, Special):
                info.type = entry.kind
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _zip(pairs: Iterable[tuple[str, Entry]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, entry in pairs:
            content, mode = b"", 0
            if (file := _as_file(entry)) is not None:
                content, mode = _bytes(file.content), stat.S_IFREG | file.mode
            elif isinstance(entry, Link):
                content, mode = entry.target.encode(), stat.S_IFLNK | 0o777
            elif isinstance(entry, Folder):
                name, mode = name.rstrip("/") + "/", stat.S_IFDIR | entry.mode
            elif isinstance(entry, Special):
                mode = stat.S_IFCHR | 0o600
            else:
                raise TypeError(f"a zip has no {type(entry).__name__}")
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr, info.compress_type = 3, mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def wheel(name: str, version: str, modules: Mapping[str, str]) -> bytes:
    """Return a wheel of pure Python, which pip installs without an index."""
    about = f"{name}-{version}.dist-info"
    files = {
        **modules,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{about}/RECORD"))
    return make_archive("zip", {**files, f"{about}/RECORD": record})
