"""Files to write below a folder of this machine, under names that a server has chosen."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

from smartmob.client.failures import ClientError

PART = ".smartmob-part"
"""Suffix of a file until all of it has arrived."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SEPARATORS = tuple(mark for mark in (os.sep, os.altsep, "\0") if mark)


@dataclass(frozen=True, slots=True)
class SafePath:
    """The path of a file to write: `parts` are names of folders below `root`, and the name of the file.

    `root` is chosen by the user, `parts` may be chosen by a server.
    """

    root: Path
    parts: tuple[str, ...]


def chosen(path: Path) -> SafePath:
    """Return the path of a file that the user has named."""
    return SafePath(path.parent, (path.name,))


def below(root: Path, inner: object) -> SafePath:
    """Return the path below `root` that a server names; raises ClientError for one that could leave `root`."""
    parts = tuple(inner.split("/")) if isinstance(inner, str) else ()
    if not parts or not all(map(_is_name, parts)):
        raise ClientError(f"the server names the file {str(inner)[:200]!r}, which is not a path below a folder")
    return SafePath(root, parts)


def _is_name(part: str) -> bool:
    return part not in ("", ".", "..") and not any(mark in part for mark in _SEPARATORS)


class PartialFile:
    """The part of a file that has arrived, open to append to, in a folder that is held by its descriptor."""

    def __init__(self, folder: int, name: str) -> None:
        self._folder = folder
        self._name = name
        self.file = self._open()

    def _open(self) -> BufferedRandom:
        descriptor = os.open(self._name + PART, _FILE, 0o600, dir_fd=self._folder)
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
            os.close(descriptor)
            raise FileExistsError(errno.EEXIST, "another kind of file has this name", self._name + PART)
        return os.fdopen(descriptor, "a+b")

    def remove(self) -> None:
        """Remove the part that has arrived."""
        os.unlink(self._name + PART, dir_fd=self._folder)

    def finish(self, mode: int) -> None:
        """Set the mode of the file, which the caller has masked, and its name. A link of that name is replaced."""
        os.fchmod(self.file.fileno(), mode)
        os.replace(self._name + PART, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)


@contextmanager
def partial_file(path: SafePath) -> Iterator[PartialFile]:
    """Make the folders of a path and open its file until the end of the block, following no link below the root.

    Raises OSError.
    """
    path.root.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.root, _FOLDER)
    try:
        for part in path.parts[:-1]:
            try:
                os.mkdir(part, dir_fd=folder)
            except FileExistsError:
                pass  # the next call fails unless it is a folder
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        found = PartialFile(folder, path.parts[-1])
        with found.file:
            yield found
    finally:
        os.close(folder)
