"""The folder into which an archive is unpacked: no name and no link leaves it, and its content stays within limits.

Archives are untrusted. Names are below the folder, whether they begin with a slash or not, and free of `..`; each link
must end inside the folder after all links on its way have been followed; a hard link becomes a copy; of several entries
with one name the last one counts. Of the permissions only the executable bit is kept; times are not kept. The limits
count the unpacked bytes while they are unpacked, and all entries.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Protocol

import msgspec

from smartmob.errors import InvalidInput, SmartmobError
from smartmob.kernel.runtime.disk import Floor

PROCFILE = "Procfile"
# Files and folders that an operating system adds: macOS the first two, Windows the others.
_IGNORED_AT_TOP = frozenset({"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"})
_APPLE_DOUBLE = "._"  # prefix of the files in which macOS keeps attributes of others (RFC 1740)
CHUNK_BYTES = 256 * 1024
_LONGEST_NAME = 4096  # bytes or characters; PATH_MAX of Linux
LONGEST_TARGET = 4096  # bytes of the target of a link; PATH_MAX of Linux
_MOST_LINKS = 40  # MAXSYMLINKS of Linux: the number of links that are followed in a row
_MOST_STEPS = 5_000_000  # folders on the way of all links together; some seconds of work
_MOST_PARTS = 500  # folders of a name; copying and removing them recurses, and Python allows 1000 calls
_MOST_REMARKS = 5  # of one archive


class UnpackLimits(msgspec.Struct, frozen=True):
    """Limits of the unpacked content of an archive.

    `files` also counts folders and links. `ratio` is that of unpacked to packed bytes; content of fewer than
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


class Reader(Protocol):
    """A file to read from."""

    def read(self, size: int, /) -> bytes: ...


class UnpackedTree:
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
        self._entries = 0
        self._steps = 0
        self._remarks: list[str] = []

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks for the owner of the archive, for example about ignored data; the first few."""
        return tuple(self._remarks)

    def remark(self, text: str) -> None:
        """Add a remark about the archive, unless it was added before."""
        if text not in self._remarks and len(self._remarks) < _MOST_REMARKS:
            self._remarks.append(text)

    def folder(self, name: str) -> None:
        """Create a folder and its parents."""
        inner = self._inner(name)
        self._replace(inner, name)
        self._folder(inner, name)

    def file(self, name: str, content: Reader, size: int, *, executable: bool) -> None:
        """Create a file from the next `size` bytes of `content`, which counts the bytes that are read from it."""
        inner = self._new_path(name)
        self._files.add(inner)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(f"{self._target}/{inner}", flags, 0o755 if executable else 0o644)
        with os.fdopen(descriptor, "wb") as file:
            while size > 0:
                chunk = content.read(min(size, CHUNK_BYTES))
                if not chunk:
                    raise EOFError(f"the content of {name!r} ends early")
                size -= len(chunk)
                self._floor.take(len(chunk))
                file.write(chunk)

    def add_link(self, name: str, to: str) -> None:
        """Add a symbolic link, to be created by `create_links`."""
        if not to or "\0" in to or to.startswith("/"):
            raise _leads_out(name, to[:LONGEST_TARGET])
        if len(to) > LONGEST_TARGET:
            raise target_too_long(name)
        self._links[self._new_path(name)] = to

    def copy(self, name: str, to: str) -> None:
        """Create a copy of the earlier file or symbolic link `to`, in place of a hard link."""
        source = self._inner(to)
        if (target := self._links.get(source)) is not None:
            self.add_link(name, target)
            return
        if source not in self._files:
            raise ArchiveError(f"the hard link {name!r} leads to {to!r}, which is not a file before it in the archive")
        with open(f"{self._target}/{source}", "rb") as content:
            status = os.fstat(content.fileno())
            self.file(name, CountedReader(content, self), status.st_size, executable=bool(status.st_mode & 0o100))

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
        tops = {
            name
            for name in names | self._folders
            if name and "/" not in name and name not in _IGNORED_AT_TOP and not name.startswith(_APPLE_DOUBLE)
        }
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
        inner = self._inner(name)
        if inner in self._folders:
            raise ArchiveError(f"the name {name!r} is both a folder and something else in the archive")
        self._replace(inner, name)
        self._folder(inner.rpartition("/")[0], name)
        self._count_entry()
        return inner

    def _inner(self, name: str) -> str:
        """Return the path of a name below the target; a slash at its beginning is left out, as tar and unzip do."""
        if name.startswith("/"):
            self.remark("the slash at the beginning of names was left out")
            name = name.lstrip("/")
        return _normalised(name)

    def _replace(self, inner: str, name: str) -> None:
        """Remove an earlier file or link of this path, because the last entry of a name counts, as for tar."""
        if inner in self._files:
            os.unlink(f"{self._target}/{inner}")
            self._files.remove(inner)
        elif self._links.pop(inner, None) is None:
            return
        self.remark(f"the name {name!r} occurs several times; the last one counts")

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
        self._entries += 1
        self.check_entries(self._entries)


class CountedReader:
    """A reader that counts the bytes towards the limits of a tree."""

    def __init__(self, content: Reader, tree: UnpackedTree) -> None:
        self._content = content
        self._tree = tree

    def read(self, size: int, /) -> bytes:
        data = self._content.read(size)
        self._tree.count(len(data))
        return data


def _normalised(name: str) -> str:
    """Return the path below the target, without empty and `.` parts; "" is the target itself.

    Raises ArchiveError when the name leads out of the target.
    """
    check_length(name)
    if "\0" in name:
        raise ArchiveError(f"the name {name!r} is not allowed in an archive: it has a zero byte")
    parts = _parts(name)
    if len(parts) > _MOST_PARTS:
        raise ArchiveError(f"a name in the archive has more than {_MOST_PARTS} folders: {name[:80]!r}…")
    if ".." in parts:
        raise ArchiveError(f"the name {name!r} is not allowed in an archive: it leads out of its folder")
    return "/".join(parts)


def check_length(name: str) -> None:
    """Raise ArchiveError for a name that is longer than a path may be; without the check it costs much memory."""
    if len(name) > _LONGEST_NAME:
        raise ArchiveError(f"a name in the archive is longer than {_LONGEST_NAME} characters: {name[:80]!r}…")


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _leads_out(name: str, to: str) -> ArchiveError:
    return ArchiveError(f"the link {name!r} leads out of the source, to {to!r}")


def target_too_long(name: str) -> ArchiveError:
    return ArchiveError(f"the target of the link {name!r} is longer than {LONGEST_TARGET} bytes")
