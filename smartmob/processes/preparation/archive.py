"""Source archives: what type one is, by its content, and unpacking it into a folder that nothing leaves.

Everything that an archive says is taken as hostile. Names must be relative and free of `..`; links must stay inside
after all of them have been followed; a hard link becomes a copy; devices, pipes and sparse files are refused, as is a
name that comes twice. Of the permissions only "executable" is kept, of the times nothing. The limits count what really
comes out, while it does. The functions block: call them in a thread.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Protocol, Self, cast

from smartmob.errors import InvalidInput, SmartmobError
from smartmob.kernel.runtime.disk import Floor

Kind = Literal["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]

PROCFILE = "Procfile"
_IGNORED_AT_TOP = frozenset({"__MACOSX", ".DS_Store"})  # macOS adds them to what it packs
_CHUNK = 256 * 1024
_MOST_METADATA = 1024 * 1024
_LONGEST_NAME = 4096  # as PATH_MAX of Linux
_LONGEST_TARGET = 4096
_MOST_LINKS = 40  # so many in a row are followed by Linux
_MOST_STEPS = 5_000_000
_CENTRAL_ENTRY = b"PK\x01\x02"
_END = b"PK\x05\x06"
_ZIP64_LOCATOR = b"PK\x06\x07"
_END_SEARCHED = 65_557  # the end record, and the longest comment that may follow it
_MOST_GLOBAL_HEADERS = 64
# What the readers of the standard library raise for bytes that are no archive, by their own code or by its failing.
_BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, struct.error),
    *(ValueError, IndexError, OverflowError, RuntimeError),
)


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """How much may come out of an archive; `ratio` to its own size counts only above `ratio_from` bytes.

    `least_free` are the bytes of the disk that are left free.
    """

    bytes: int = 2 * 1024**3
    files: int = 100_000
    ratio: float = 200.0
    ratio_from: int = 64 * 1024**2
    least_free: int = 0


class ArchiveError(InvalidInput):
    """The source archive cannot be used."""


class Interrupted(SmartmobError):
    """The work was stopped before its end, as asked."""


def kind_of(path: Path) -> Kind:
    """Return the type of the archive at `path`; raises ArchiveError, which says what else it seems to be."""
    with path.open("rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    if head.startswith((b"PK\x03\x04", _END)):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        return "tar.gz"
    if head.startswith(b"BZh"):
        return "tar.bz2"
    if head.startswith(b"\xfd7zXZ\x00"):
        return "tar.xz"
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise ArchiveError(
            f"this is {_likeness(head)}; the source must be a zip, tar, tar.gz, tar.bz2 or tar.xz"
        ) from None
    return "tar"


def unpack(path: Path, target: Path, limits: UnpackLimits, stop: threading.Event | None = None) -> Path:
    """Unpack the archive at `path` into the new folder `target` and return the root of the source in it.

    The root is `target`, unless it holds no Procfile but a single folder that does, as the archives of code hosts
    have it; then it is that folder.

    Raises ArchiveError, and Interrupted soon after `stop` is set; what was unpacked till then is left to the caller.
    """
    target.mkdir(parents=True)
    tree = _Tree(target, path.stat().st_size, limits, stop or threading.Event())
    try:
        kind = kind_of(path)
        if kind == "zip":
            _unpack_zip(path, tree)
        else:
            _unpack_tar(path, kind, tree)
        root = tree.link()
    except _BROKEN as error:
        raise ArchiveError(f"the archive is damaged or cut off: {error}") from None
    except OSError as error:
        raise ArchiveError(f"the archive cannot be unpacked: {error.strerror or error}") from None
    return target / root


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Tree:
    """The folder that is being filled. Links are made at the very end, so no name on the way can be one."""

    def __init__(self, target: Path, packed: int, limits: UnpackLimits, stop: threading.Event) -> None:
        self._target = str(target)
        self._limits = limits
        self._stop = stop
        self._most = min(limits.bytes, max(limits.ratio_from, int(packed * limits.ratio)))
        self._floor = Floor(target, limits.least_free)
        self._bytes = 0
        self._folders = {""}
        self._files: set[str] = set()
        self._links: dict[str, str] = {}
        self._steps = 0

    def folder(self, name: str) -> None:
        """Make a folder, and those above it."""
        self._folder(_inner(name), name)

    def file(self, name: str, content: _Reader, size: int, *, executable: bool) -> None:
        """Make a file of the next `size` bytes of `content`, which counts what it gives."""
        inner = self._place(name)
        self._files.add(inner)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(f"{self._target}/{inner}", flags, 0o755 if executable else 0o644)
        with os.fdopen(descriptor, "wb") as file:
            while size > 0:
                chunk = content.read(min(size, _CHUNK))
                if not chunk:
                    raise EOFError(f"the content of {name!r} ends early")
                size -= len(chunk)
                self._floor.take(len(chunk))
                file.write(chunk)

    def symbolic(self, name: str, to: str) -> None:
        """Remember a symbolic link."""
        if not to or "\0" in to or to.startswith("/"):
            raise _leads_out(name, to[:_LONGEST_TARGET])
        if len(to) > _LONGEST_TARGET:
            raise _target_too_long(name)
        self._links[self._place(name)] = to

    def hard(self, name: str, to: str) -> None:
        """Copy the earlier file `to`."""
        source = _inner(to)
        if source not in self._files:
            raise ArchiveError(f"the hard link {name!r} leads to {to!r}, which is no file before it in the archive")
        with open(f"{self._target}/{source}", "rb") as content:
            about = os.fstat(content.fileno())
            self.file(name, _Counted(content, self), about.st_size, executable=bool(about.st_mode & 0o100))

    def link(self) -> str:
        """Make the symbolic links and return the root; raises ArchiveError when one leaves it."""
        top = self._root()
        for inner, to in self._links.items():
            self.count(0)
            if not self._stays(inner, top):
                raise _leads_out(inner, to)
            os.symlink(to, f"{self._target}/{inner}")
        # Once more by the file system itself, which may know names that differ as the same.
        inside = os.path.realpath(f"{self._target}/{top}")
        for inner, to in self._links.items():
            self.count(0)
            end = os.path.realpath(f"{self._target}/{inner}")
            if end != inside and not end.startswith(inside + "/"):
                raise _leads_out(inner, to)
        return top

    def count(self, count: int) -> None:
        """Take note that `count` more bytes come out; raises ArchiveError at the limit, and Interrupted."""
        if self._stop.is_set():
            raise Interrupted
        self._bytes += count
        if self._bytes > self._most:
            why = (
                ""
                if self._most == self._limits.bytes
                else f", far more than the {self._limits.ratio:g}-fold of its size"
            )
            raise ArchiveError(f"the archive unpacks to more than {self._most} bytes{why}")

    def check_entries(self, count: int) -> None:
        """Raise ArchiveError when `count` files and folders are too many."""
        if count > self._limits.files:
            raise ArchiveError(f"the archive holds more than {self._limits.files} files and folders")

    def _root(self) -> str:
        """Return the only folder when it holds the Procfile and the top does not, else the top, ""."""
        names = self._files | self._links.keys()
        tops = {name for name in names | self._folders if name and "/" not in name} - _IGNORED_AT_TOP
        only = next(iter(tops), "")
        return only if len(tops) == 1 and f"{only}/{PROCFILE}" in names else ""

    def _stays(self, inner: str, top: str) -> bool:
        """Tell whether the link at `inner` leads to its end without leaving `top` on the way, by links or by text.

        One that leaves and comes back by name would lead elsewhere once the folder has another name.
        """
        lowest = len(_parts(top))
        at = _parts(inner)[:-1]
        pending = _parts(self._links[inner])[::-1]
        followed = 1
        while pending:
            self._step(len(at))
            part = pending.pop()
            if part == "..":
                if len(at) <= lowest:
                    return False
                at.pop()
                continue
            at.append(part)
            if (to := self._links.get("/".join(at))) is not None:
                if (followed := followed + 1) > _MOST_LINKS:
                    return False
                at.pop()
                pending.extend(_parts(to)[::-1])
        return at[:lowest] == _parts(top)

    def _step(self, depth: int) -> None:
        """Take note of a step along a link, which costs more in a deep folder; raises ArchiveError for too many."""
        self._steps += 1 + depth
        if self._steps > _MOST_STEPS:
            raise ArchiveError("the links of the archive lead along too many folders and other links")

    def _place(self, name: str) -> str:
        """Return the path, below the target, for a new thing that is no folder; the folder above it is there."""
        inner = _inner(name)
        if inner in self._folders:
            raise ArchiveError(f"the name {name!r} is both a folder and something else in the archive")
        if inner in self._files or inner in self._links:
            raise ArchiveError(f"the name {name!r} comes twice in the archive")
        self._folder(inner.rpartition("/")[0], name)
        self._one_more()
        return inner

    def _folder(self, inner: str, name: str) -> None:
        missing = []
        while inner not in self._folders:
            if inner in self._files or inner in self._links:
                raise ArchiveError(f"the name {name!r} takes {inner!r} for a folder, which is something else")
            missing.append(inner)
            inner = inner.rpartition("/")[0]
        for folder in reversed(missing):
            self._one_more()
            os.mkdir(f"{self._target}/{folder}", 0o755)
            self._folders.add(folder)

    def _one_more(self) -> None:
        self.count(0)
        self._floor.entry()
        self.check_entries(len(self._files) + len(self._folders) + len(self._links))


class _Counted:
    """Content that counts towards the limits of a tree as it is read."""

    def __init__(self, content: _Reader, tree: _Tree) -> None:
        self._content = content
        self._tree = tree

    def read(self, size: int, /) -> bytes:
        data = self._content.read(size)
        self._tree.count(len(data))
        return data


# -- tar ----------------------------------------------------------------------------------------------------------


class _Metered(_Counted):
    """All that a decompressor gives, counted. `budget` is what may come before somebody asks whether to go on.

    tarfile reads the long forms of a header in one piece into memory, however large they say they are.
    """

    budget = _MOST_METADATA

    def read(self, size: int, /) -> bytes:
        data = super().read(size)
        self.budget -= len(data)
        if self.budget < 0:
            raise ArchiveError(f"the archive has a header of more than {_MOST_METADATA} bytes")
        return data


class _StrictInfo(tarfile.TarInfo):
    """A header that must be whole: tarfile takes a damaged one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) == tarfile.BLOCKSIZE and not any(buf):
            return super().frombuf(buf, encoding, errors)  # the end mark, for which it raises
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def _unpack_tar(path: Path, kind: Kind, tree: _Tree) -> None:
    with _opened(path, kind) as file:
        source = _Metered(file, tree)
        with _tar_in(source) as tar:
            while (info := tar.next()) is not None:
                source.budget = max(info.size, 0) + 2 * _MOST_METADATA
                _unpack_member(tar, info, tree)
                source.budget = _MOST_METADATA
                # tarfile would keep every header that it has seen.
                vars(tar)["members"].clear()
                if len(tar.pax_headers) > _MOST_GLOBAL_HEADERS:
                    raise ArchiveError("the archive has too many global headers")
        # The checksum of compressed data stands behind the end of the archive.
        while data := file.read(_CHUNK):
            tree.count(len(data))


def _tar_in(source: _Metered) -> tarfile.TarFile:
    file = cast(IO[bytes], source)
    try:
        return tarfile.open(fileobj=file, mode="r|", bufsize=_CHUNK, tarinfo=_StrictInfo, encoding="utf-8")
    except tarfile.ReadError:
        raise ArchiveError("the content is compressed or damaged, but no tar archive") from None


def _opened(path: Path, kind: Kind) -> IO[bytes]:
    openers: dict[Kind, Callable[[Path], object]] = {
        "tar": lambda place: place.open("rb"),
        "tar.gz": gzip.open,
        "tar.bz2": bz2.open,
        "tar.xz": lzma.open,
    }
    return cast(IO[bytes], openers[kind](path))


def _unpack_member(tar: tarfile.TarFile, info: tarfile.TarInfo, tree: _Tree) -> None:
    _check_length(info.name)
    if info.issparse():
        raise ArchiveError(f"{info.name!r} is a sparse file; pack it as an ordinary one")
    if info.isdir():
        tree.folder(info.name)
    elif info.isreg():
        content = tar.extractfile(info)
        assert content is not None
        tree.file(info.name, content, info.size, executable=bool(info.mode & 0o111))
    elif info.issym():
        tree.symbolic(info.name, info.linkname)
    elif info.islnk():
        tree.hard(info.name, info.linkname)
    else:
        raise ArchiveError(f"{info.name!r} is neither a file nor a folder nor a link")


# -- zip ----------------------------------------------------------------------------------------------------------


def _unpack_zip(path: Path, tree: _Tree) -> None:
    tree.check_entries(_entries(path))
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            try:
                _unpack_entry(archive, info, tree)
            except (NotImplementedError, RuntimeError) as error:
                raise ArchiveError(f"{info.filename!r} cannot be unpacked: {error}") from None


def _entries(path: Path) -> int:
    """Return how many entries the directory of a zip has at most, before zipfile makes an object of each."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END_SEARCHED))
        tail = file.read()
        end = tail.rfind(_END)
        start = 0
        # With the extensions for large archives it is not worth finding out where the directory begins.
        if 0 <= end <= len(tail) - 22 and tail[max(0, end - 20) :][:4] != _ZIP64_LOCATOR:
            length = int.from_bytes(tail[end + 12 : end + 16], "little")
            start = max(0, size - len(tail) + end - length)
        file.seek(start)
        count, overlap = 0, b""
        while chunk := file.read(_CHUNK):
            count += (overlap + chunk).count(_CENTRAL_ENTRY)
            overlap = chunk[-3:]
    return count


def _unpack_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, tree: _Tree) -> None:
    name, mode = _zip_name(info), info.external_attr >> 16
    form = stat.S_IFMT(mode)
    _check_length(name)
    if info.flag_bits & 0x1:
        raise ArchiveError(f"{name!r} is encrypted")
    if name.endswith("/") or form == stat.S_IFDIR:
        tree.folder(name)
        return
    if form not in (0, stat.S_IFREG, stat.S_IFLNK):
        raise ArchiveError(f"{name!r} is neither a file nor a folder nor a link")
    with archive.open(info) as content:
        if form == stat.S_IFLNK:
            to = content.read(_LONGEST_TARGET + 1)
            if len(to) > _LONGEST_TARGET:
                raise _target_too_long(name)
            tree.symbolic(name, to.decode("utf-8", "surrogateescape"))
        else:
            tree.file(name, _Counted(content, tree), info.file_size, executable=bool(mode & 0o111))


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name of an entry: what is not marked as UTF-8 is it all the same, if it can be."""
    if info.flag_bits & 0x800:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode()
    except UnicodeError:
        return info.orig_filename


# -- names and ends -------------------------------------------------------------------------------------------------


def _inner(name: str) -> str:
    """Return the name without empty and `.` parts; "" is the top. Raises ArchiveError when it leads anywhere else."""
    _check_length(name)
    if name.startswith("/") or "\0" in name:
        raise ArchiveError(f"the name {name!r} is not allowed in an archive: it must be relative")
    parts = _parts(name)
    if ".." in parts:
        raise ArchiveError(f"the name {name!r} is not allowed in an archive: it leads out of its folder")
    return "/".join(parts)


def _check_length(name: str) -> None:
    """Raise ArchiveError for a name that no file can have: taken apart, it has as many folders as it has slashes."""
    if len(name) > _LONGEST_NAME:
        raise ArchiveError(f"a name in the archive is longer than {_LONGEST_NAME} characters: {name[:80]!r}…")


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _leads_out(name: str, to: str) -> ArchiveError:
    return ArchiveError(f"the link {name!r} leads out of the source, to {to!r}")


def _target_too_long(name: str) -> ArchiveError:
    return ArchiveError(f"the target of the link {name!r} is longer than {_LONGEST_TARGET} bytes")


def _likeness(head: bytes) -> str:
    """Say what something that is no archive may be."""
    start = head.lstrip()[:64].lower()
    if not head:
        return "an empty file"
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, not an archive"
    if start.startswith((b"<?xml", b"{", b"[")):
        return "a document, not an archive"
    return "not an archive of a known type"
