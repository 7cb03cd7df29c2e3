"""Trees of files for copies: the list of what a tree has, and the folders, links and fifos to create below another.

Names are bytes, as the operating system has them. A message has a name as text, and in `raw` as base64 if it is no
UTF-8.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from typing import Any

import msgspec

from smartmob.commands.hashed_file import mode_of
from smartmob.commands.partial_file import PART, check_replaceable, kind_of
from smartmob.errors import InvalidInput

FOLDER, FILE, LINK, FIFO = "folder", "file", "link", "fifo"
"""Kinds of files that are copied; `socket` and `device` are not."""

_LARGEST = 2**63  # bytes, or nanoseconds; what a 64-bit integer does not hold
_OWNER = 0o700
"""The bits of a folder's mode that its owner needs to fill it."""
_NEW_FOLDER = 0o777  # the mode of a folder that programs create, before the umask
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a tree. `path` is relative to its root and empty for the root itself.

    `mode` and `mtime_ns` are None if they are not known, `target` is that of a link, and `problem` the reason why the
    content of a folder could not be listed.
    """

    path: bytes
    kind: str
    size: int
    mode: int | None = None
    mtime_ns: int | None = None
    target: bytes | None = None
    problem: str | None = None

    @property
    def shown(self) -> str:
        """Return the path for people."""
        return self.path.decode(errors="replace")


def scan(root: bytes) -> Iterator[FileEntry]:
    """Yield the entry of a path, then of all below it, folders before their content; links below are not followed.

    Raises OSError for the root only.
    """
    about = os.stat(root)
    yield _entry(root, b"", about)
    if stat.S_ISDIR(about.st_mode):
        yield from _below(root, b"")


def _entries_of(folder: bytes) -> list[os.DirEntry[bytes]]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def _below(folder: bytes, inner: bytes) -> Iterator[FileEntry]:
    waiting = [(folder, inner)]
    while waiting:
        folder, inner = waiting.pop()
        try:
            entries = _entries_of(folder)
        except OSError as error:
            yield FileEntry(path=inner, kind=FOLDER, size=0, problem=error.strerror or str(error))
            continue
        for entry in entries:
            path = inner + b"/" + entry.name if inner else entry.name
            try:
                found_entry = _entry(entry.path, path, entry.stat(follow_symlinks=False))
            except OSError:
                continue  # it was removed meanwhile
            yield found_entry
            if found_entry.kind == FOLDER:
                waiting.append((entry.path, path))


def _entry(full: bytes, path: bytes, about: os.stat_result) -> FileEntry:
    kind = kind_of(about.st_mode)
    return FileEntry(
        path=path,
        kind=kind,
        size=about.st_size if kind == FILE else 0,
        mode=stat.S_IMODE(about.st_mode),
        mtime_ns=about.st_mtime_ns,
        target=os.readlink(full) if kind == LINK else None,
    )


def to_message(entry: FileEntry) -> dict[str, Any]:
    """Return an entry as the message of `find_files`."""
    found: dict[str, Any] = {**named("path", "raw", entry.path), "kind": entry.kind, "size": entry.size}
    found |= {"mode": entry.mode, "mtime_ns": entry.mtime_ns}
    if entry.target is not None:
        found |= named("target", "raw_target", entry.target)
    if entry.problem is not None:
        found["problem"] = entry.problem
    return found


def named(field: str, raw_field: str, name: bytes) -> dict[str, str]:
    """Return a name as text in `field`, and if it is no UTF-8 also as base64 in `raw_field`."""
    try:
        return {field: name.decode()}
    except UnicodeDecodeError:
        return {field: name.decode(errors="replace"), raw_field: base64.b64encode(name).decode()}


def from_message(message: object) -> FileEntry:
    """Return the entry of a message; one of an earlier release has only `path` and `size`. Raises InvalidInput."""
    if not isinstance(message, dict):
        raise InvalidInput("an entry of the list of files is not an object")
    size, kind = message.get("size"), message.get("kind", FILE)
    mode, mtime_ns, problem = message.get("mode"), message.get("mtime_ns"), message.get("problem")
    if type(size) is not int or not 0 <= size < _LARGEST or not isinstance(kind, str):
        raise InvalidInput("an entry of the list of files has no size or no kind")
    for value in (mode, mtime_ns):
        if value is not None and (type(value) is not int or not -_LARGEST <= value < _LARGEST):
            raise InvalidInput("an entry of the list of files has no valid mode or time")
    path = _name(message, "path", "raw")
    target = _name(message, "target", "raw_target") if kind == LINK else None
    if path is None or (kind == LINK and not target):
        raise InvalidInput("an entry of the list of files has no name or no target")
    if problem is not None and not isinstance(problem, str):
        raise InvalidInput("an entry of the list of files has a reason that is not text")
    return FileEntry(path=path, kind=kind, size=size, mode=mode, mtime_ns=mtime_ns, target=target, problem=problem)


def _name(message: dict[Any, Any], field: str, raw_field: str) -> bytes | None:
    text, raw = message.get(field), message.get(raw_field)
    try:
        if isinstance(raw, str):
            return base64.b64decode(raw, validate=True)
        return text.encode() if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


def open_file(path: str | bytes, *, follow: bool) -> int:
    """Return the descriptor of a regular file; raises OSError that names the kind of any other file."""
    name = os.fsdecode(path)
    try:
        descriptor = os.open(path, _READ if follow else _READ | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OSError(errno.EINVAL, "it is a socket or a missing device, not a regular file", name) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    raise OSError(errno.EINVAL, f"it is a {kind_of(mode)}, not a regular file", name)


def make_folder(parent: int, name: str, mode: int | None = None) -> None:
    """Create a folder that its owner may fill, or take one that exists; raises OSError for any other kind of file.

    It has its mode below the umask from the beginning, so that a copy which is killed leaves no other one.
    """
    try:
        os.mkdir(name, _OWNER, dir_fd=parent)
    except FileExistsError:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        if not stat.S_ISDIR(found):
            raise FileExistsError(errno.EEXIST, f"it is a {kind_of(found)} there, not a folder", name) from None
        if found & _OWNER != _OWNER:
            os.chmod(name, stat.S_IMODE(found) | _OWNER, dir_fd=parent)
    else:
        _set(parent, name, mode_of(_NEW_FOLDER if mode is None else mode) | _OWNER, None)


def finish_folder(parent: int, name: str, mode: int | None, mtime_ns: int | None) -> None:
    """Set the mode below the umask and the time of a folder, after all of its content is there."""
    _set(parent, name, None if mode is None else mode_of(mode), mtime_ns)


def _set(parent: int, name: str, mode: int | None, mtime_ns: int | None) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if mode is not None:
            os.fchmod(descriptor, mode)
        if mtime_ns is not None:
            os.utime(descriptor, ns=(mtime_ns, mtime_ns))
    finally:
        os.close(descriptor)


def make_link(parent: int, name: str, target: bytes, mtime_ns: int | None) -> None:
    """Create a link, in the place of a regular file or a link of that name if there is one."""
    check_replaceable(parent, name)
    part = f".{secrets.token_hex(12)}{PART}"
    os.symlink(target, os.fsencode(part), dir_fd=parent)
    try:
        if mtime_ns is not None:
            os.utime(part, ns=(mtime_ns, mtime_ns), dir_fd=parent, follow_symlinks=False)
        os.replace(part, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError:
        os.unlink(part, dir_fd=parent)
        raise


def make_fifo(parent: int, name: str, mode: int | None, mtime_ns: int | None) -> None:
    """Create a fifo, or take one that exists; raises FileExistsError for any other kind of file."""
    try:
        os.mkfifo(name, 0o600, dir_fd=parent)
    except FileExistsError:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        if not stat.S_ISFIFO(found):
            raise FileExistsError(errno.EEXIST, f"it is a {kind_of(found)} there, not a fifo", name) from None
    if mode is not None:
        os.chmod(name, mode_of(mode), dir_fd=parent)
    if mtime_ns is not None:
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=parent, follow_symlinks=False)
