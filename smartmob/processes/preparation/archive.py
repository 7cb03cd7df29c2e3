"""Source archives: detecting the type by content, and unpacking into a folder that no name and no link leaves.

Archives are untrusted. Names must be relative and free of `..`; each link must end inside the folder after all links on
its way have been followed; a hard link becomes a copy; devices, pipes, sparse files and duplicate names are refused. Of
the permissions only the executable bit is kept; times are not kept. The limits count the unpacked bytes while they are
unpacked. The functions block: call them in a thread.
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
_CHUNK_BYTES = 256 * 1024
_METADATA_BYTES = 1024 * 1024
"""Limit of the headers between two members of a tar archive."""
_LONGEST_NAME = 4096  # bytes or characters; PATH_MAX of Linux
_LONGEST_TARGET = 4096  # bytes of the target of a link; PATH_MAX of Linux
_MOST_LINKS = 40  # MAXSYMLINKS of Linux: so many links are followed in a row
_MOST_STEPS = 5_000_000  # folders on the way of all links together; some seconds of work
_CENTRAL_ENTRY = b"PK\x01\x02"
_END_RECORD = b"PK\x05\x06"
_ZIP64_LOCATOR = b"PK\x06\x07"
_END_RECORD_BYTES = 22  # of the end record without its comment (APPNOTE.TXT of PKWARE, section 4.3.16)
_END_SEARCHED_BYTES = _END_RECORD_BYTES + 65_535  # with the longest comment
_ZIP64_LOCATOR_BYTES = 20  # section 4.3.15
_MOST_GLOBAL_HEADERS = 64  # keywords of the global headers of a tar archive, which tarfile keeps in memory
# Exceptions of the standard library for damaged archives: those that it documents, and those of its bugs.
_BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, struct.error),
    *(ValueError, IndexError, OverflowError, RuntimeError),
)


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """Limits of the unpacked content of an archive.

    `files` counts folders and links, too. `ratio` is that of unpacked to packed bytes; content of fewer than
    `ratio_from` bytes may exceed it. `least_free` bytes of the disk stay free.
    """

    bytes: int = 2 * 1024**3
    files: int = 100_000
    ratio: float = 200.0
    ratio_from: int = 64 * 1024**2
    least_free: int = 0


class ArchiveError(InvalidInput):
    """The source archive cannot be used."""


class Interrupted(SmartmobError):
    """The caller stopped the work before its end."""


def kind_of(path: Path) -> Kind:
    """Return the type of the archive at `path`; raises ArchiveError, whose message says what the file seems to be."""
    with path.open("rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    if head.startswith((b"PK\x03\x04", _END_RECORD)):
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

    The root is `target`; when that has only one folder and the Procfile is in there, the root is this folder. Archives
    of code hosts are like that.

    Raises ArchiveError, and Interrupted soon after `stop` is set; the caller removes what was unpacked by then.
    """
    target.mkdir(parents=True)
    tree = _Tree(target, path.stat().st_size, limits, stop or threading.Event())
    try:
        kind = kind_of(path)
        if kind == "zip":
            _unpack_zip(path, tree)
        else:
            _unpack_tar(path, kind, tree)
        root = tree.create_links()
    except _BROKEN as error:
        raise ArchiveError(f"the archive is damaged or cut off: {error}") from None
    except OSError as error:
        raise ArchiveError(f"the archive cannot be unpacked: {error.strerror or error}") from None
    return target / root


class _Reader(Protocol):
    """A file to read from."""

    def read(self, size: int, /) -> bytes: ...


class _Tree:
    """The folder that is being filled. Links are created last, so no file is written through a link."""

    def __init__(self, target: Path, packed_bytes: int, limits: UnpackLimits, stop: threading.Event) -> None:
        self._target = str(target)
        self._limits = limits
        self._stop = stop
        self._most_bytes = min(limits.bytes, max(limits.ratio_from, int(packed_bytes * limits.ratio)))
        self._floor = Floor(target, limits.least_free)
        self._bytes = 0
        self._folders = {""}
        self._files: set[str] = set()
        self._links: dict[str, str] = {}
        self._steps = 0

    def folder(self, name: str) -> None:
        """Create a folder and its parents."""
        self._folder(_normalised(name), name)

    def file(self, name: str, content: _Reader, size: int, *, executable: bool) -> None:
        """Create a file from the next `size` bytes of `content`, which counts the bytes that are read from it."""
        inner = self._new_path(name)
        self._files.add(inner)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(f"{self._target}/{inner}", flags, 0o755 if executable else 0o644)
        with os.fdopen(descriptor, "wb") as file:
            while size > 0:
                chunk = content.read(min(size, _CHUNK_BYTES))
                if not chunk:
                    raise EOFError(f"the content of {name!r} ends early")
                size -= len(chunk)
                self._floor.take(len(chunk))
                file.write(chunk)

    def add_link(self, name: str, to: str) -> None:
        """Add a symbolic link, to be created by `create_links`."""
        if not to or "\0" in to or to.startswith("/"):
            raise _leads_out(name, to[:_LONGEST_TARGET])
        if len(to) > _LONGEST_TARGET:
            raise _target_too_long(name)
        self._links[self._new_path(name)] = to

    def copy(self, name: str, to: str) -> None:
        """Create a copy of the earlier file `to`, in place of a hard link."""
        source = _normalised(to)
        if source not in self._files:
            raise ArchiveError(f"the hard link {name!r} leads to {to!r}, which is not a file before it in the archive")
        with open(f"{self._target}/{source}", "rb") as content:
            status = os.fstat(content.fileno())
            self.file(name, _Counted(content, self), status.st_size, executable=bool(status.st_mode & 0o100))

    def create_links(self) -> str:
        """Create the symbolic links and return the root; raises ArchiveError for a link that leads out of the root."""
        top = self._root()
        for inner, to in self._links.items():
            self.count(0)
            if not self._stays(inner, top):
                raise _leads_out(inner, to)
            os.symlink(to, f"{self._target}/{inner}")
        # The file system checks again: it may treat different names as the same, for example without regard to case.
        inside = os.path.realpath(f"{self._target}/{top}")
        for inner, to in self._links.items():
            self.count(0)
            end = os.path.realpath(f"{self._target}/{inner}")
            if end != inside and not end.startswith(inside + "/"):
                raise _leads_out(inner, to)
        return top

    def count(self, count: int) -> None:
        """Count `count` more unpacked bytes; raises ArchiveError above the limit, and Interrupted."""
        if self._stop.is_set():
            raise Interrupted
        self._bytes += count
        if self._bytes > self._most_bytes:
            by_ratio = self._most_bytes != self._limits.bytes
            reason = f", more than {self._limits.ratio:g} times its size" if by_ratio else ""
            raise ArchiveError(f"the archive unpacks to more than {self._most_bytes} bytes{reason}")

    def check_entries(self, count: int) -> None:
        """Raise ArchiveError when `count` files, folders and links are more than the limit."""
        if count > self._limits.files:
            raise ArchiveError(f"the archive holds more than {self._limits.files} files and folders")

    def _root(self) -> str:
        """Return the only folder at the top when the Procfile is in it, else "", the top."""
        names = self._files | self._links.keys()
        tops = {name for name in names | self._folders if name and "/" not in name} - _IGNORED_AT_TOP
        only = next(iter(tops), "")
        return only if len(tops) == 1 and f"{only}/{PROCFILE}" in names else ""

    def _stays(self, inner: str, top: str) -> bool:
        """Return whether the link at `inner` leads to its end without leaving the folder `top` at any step.

        A link that leaves `top` and returns by its name would lead elsewhere once the folder is renamed.
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
        """Count a step along a link; deeper folders cost more. Raises ArchiveError for too many steps."""
        self._steps += 1 + depth
        if self._steps > _MOST_STEPS:
            raise ArchiveError("the links of the archive lead along too many folders and other links")

    def _new_path(self, name: str) -> str:
        """Return the path below the target for a new file or link, and create its parents."""
        inner = _normalised(name)
        if inner in self._folders:
            raise ArchiveError(f"the name {name!r} is both a folder and something else in the archive")
        if inner in self._files or inner in self._links:
            raise ArchiveError(f"the name {name!r} occurs twice in the archive")
        self._folder(inner.rpartition("/")[0], name)
        self._count_entry()
        return inner

    def _folder(self, inner: str, name: str) -> None:
        """Create the folder `inner` and its parents, for the entry `name`."""
        missing = []
        while inner not in self._folders:
            if inner in self._files or inner in self._links:
                raise ArchiveError(f"the name {name!r} uses {inner!r} as a folder, which is something else")
            missing.append(inner)
            inner = inner.rpartition("/")[0]
        for folder in reversed(missing):
            self._count_entry()
            os.mkdir(f"{self._target}/{folder}", 0o755)
            self._folders.add(folder)

    def _count_entry(self) -> None:
        """Count one more file, folder or link; raises ArchiveError above the limit, DiskLow and Interrupted."""
        self.count(0)
        self._floor.entry()
        self.check_entries(len(self._files) + len(self._folders) + len(self._links))


class _Counted:
    """A reader that counts the bytes towards the limits of a tree."""

    def __init__(self, content: _Reader, tree: _Tree) -> None:
        self._content = content
        self._tree = tree

    def read(self, size: int, /) -> bytes:
        data = self._content.read(size)
        self._tree.count(len(data))
        return data


# -- tar ----------------------------------------------------------------------------------------------------------


class _Metered(_Counted):
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
        if len(buf) == tarfile.BLOCKSIZE and not any(buf):
            return super().frombuf(buf, encoding, errors)  # the end mark, for which tarfile expects its exception
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def _unpack_tar(path: Path, kind: Kind, tree: _Tree) -> None:
    with _open_decompressed(path, kind) as file:
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
        # Read to the end of the compressed data: its checksum stands there.
        while data := file.read(_CHUNK_BYTES):
            tree.count(len(data))


def _open_tar(source: _Metered) -> tarfile.TarFile:
    file = cast(IO[bytes], source)
    try:
        return tarfile.open(fileobj=file, mode="r|", bufsize=_CHUNK_BYTES, tarinfo=_StrictInfo, encoding="utf-8")
    except tarfile.ReadError:
        raise ArchiveError("the content is not a tar archive: compressed twice, damaged, or something else") from None


def _open_decompressed(path: Path, kind: Kind) -> IO[bytes]:
    openers: dict[Kind, Callable[[Path], object]] = {
        "tar": lambda plain: plain.open("rb"),
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
        tree.add_link(info.name, info.linkname)
    elif info.islnk():
        tree.copy(info.name, info.linkname)
    else:
        raise ArchiveError(f"{info.name!r} is neither a file nor a folder nor a link")


# -- zip ----------------------------------------------------------------------------------------------------------


def _unpack_zip(path: Path, tree: _Tree) -> None:
    tree.check_entries(_count_zip_entries(path))
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            try:
                _unpack_entry(archive, info, tree)
            except (NotImplementedError, RuntimeError) as error:
                raise ArchiveError(f"{info.filename!r} cannot be unpacked: {error}") from None


def _count_zip_entries(path: Path) -> int:
    """Return an upper bound of the entries of a zip archive, before zipfile creates an object for each."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END_SEARCHED_BYTES))
        tail = file.read()
        end = tail.rfind(_END_RECORD)
        start = 0
        # With a ZIP64 locator the whole file is searched: these archives are rare.
        if (
            0 <= end <= len(tail) - _END_RECORD_BYTES
            and tail[max(0, end - _ZIP64_LOCATOR_BYTES) :][:4] != _ZIP64_LOCATOR
        ):
            length = int.from_bytes(tail[end + 12 : end + 16], "little")
            start = max(0, size - len(tail) + end - length)
        file.seek(start)
        count, overlap = 0, b""
        while chunk := file.read(_CHUNK_BYTES):
            count += (overlap + chunk).count(_CENTRAL_ENTRY)
            overlap = chunk[-3:]
    return count


def _unpack_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, tree: _Tree) -> None:
    name, mode = _zip_name(info), info.external_attr >> 16
    file_type = stat.S_IFMT(mode)
    _check_length(name)
    if info.flag_bits & 0x1:
        raise ArchiveError(f"{name!r} is encrypted")
    if name.endswith("/") or file_type == stat.S_IFDIR:
        tree.folder(name)
        return
    if file_type not in (0, stat.S_IFREG, stat.S_IFLNK):
        raise ArchiveError(f"{name!r} is neither a file nor a folder nor a link")
    with archive.open(info) as content:
        if file_type == stat.S_IFLNK:
            to = content.read(_LONGEST_TARGET + 1)
            if len(to) > _LONGEST_TARGET:
                raise _target_too_long(name)
            tree.add_link(name, to.decode("utf-8", "surrogateescape"))
        else:
            tree.file(name, _Counted(content, tree), info.file_size, executable=bool(mode & 0o111))


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name of an entry: decoded as UTF-8 if possible, even when the entry does not say that it is UTF-8."""
    if info.flag_bits & 0x800:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode()
    except UnicodeError:
        return info.orig_filename


# -- names and errors -------------------------------------------------------------------------------------------------


def _normalised(name: str) -> str:
    """Return the path below the target, without empty and `.` parts; "" is the target itself.

    Raises ArchiveError when the name leads out of the target.
    """
    _check_length(name)
    if name.startswith("/") or "\0" in name:
        raise ArchiveError(f"the name {name!r} is not allowed in an archive: it must be relative")
    parts = _parts(name)
    if ".." in parts:
        raise ArchiveError(f"the name {name!r} is not allowed in an archive: it leads out of its folder")
    return "/".join(parts)


def _check_length(name: str) -> None:
    """Raise ArchiveError for a name that is longer than a path may be; without the check it costs much memory."""
    if len(name) > _LONGEST_NAME:
        raise ArchiveError(f"a name in the archive is longer than {_LONGEST_NAME} characters: {name[:80]!r}…")


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _leads_out(name: str, to: str) -> ArchiveError:
    return ArchiveError(f"the link {name!r} leads out of the source, to {to!r}")


def _target_too_long(name: str) -> ArchiveError:
    return ArchiveError(f"the target of the link {name!r} is longer than {_LONGEST_TARGET} bytes")


def _likeness(head: bytes) -> str:
    """Return a description of a file that is not an archive, from its first bytes."""
    start = head.lstrip()[:64].lower()
    if not head:
        return "an empty file"
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, not an archive"
    if start.startswith((b"<?xml", b"{", b"[")):
        return "a document, not an archive"
    return "not an archive of a known type"
