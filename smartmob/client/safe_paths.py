"""Files to write below a folder of this machine, under names that a server has chosen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from smartmob.client.failures import ClientError
from smartmob.commands.partial_file import PartialFile

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_SEPARATORS = tuple(character for character in (os.sep, os.altsep, "\0") if character)


class SafePath(msgspec.Struct, frozen=True):
    """The path of a file to write: `parts` are names of folders below `root`, and the name of the file.

    `root` is chosen by the user, `parts` may be chosen by a server.
    """

    root: Path
    parts: tuple[str, ...]

    def __str__(self) -> str:
        return str(self.root.joinpath(*self.parts))


def chosen(path: Path) -> SafePath:
    """Return the path of a file that the user has named."""
    return SafePath(path.parent, (path.name,))


def below(root: Path, inner: object) -> SafePath:
    """Return the path below `root` that a server names; raises ClientError for one that could leave `root`."""
    if isinstance(inner, bytes):
        inner = os.fsdecode(inner)
    parts = tuple(inner.split("/")) if isinstance(inner, str) else ()
    if not parts or not all(map(_is_name, parts)):
        raise ClientError(f"the server names the file {str(inner)[:200]!r}, which is not a path below a folder")
    return SafePath(root, parts)


def _is_name(part: str) -> bool:
    return part not in ("", ".", "..") and not any(character in part for character in _SEPARATORS)


@contextmanager
def named_errors(path: SafePath) -> Iterator[None]:
    """Name the whole path in errors of the block, where calls below the descriptor of a folder have only its parts."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


@contextmanager
def folder_of(path: SafePath) -> Iterator[int]:
    """Make the folders of a path and return the descriptor of the last one, following no link below the root.

    Raises OSError.
    """
    path.root.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.root, _FOLDER)
    try:
        for part in path.parts[:-1]:
            inner = _made_folder(part, folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _made_folder(name: str, parent: int) -> int:
    """Make a folder in the folder `parent` unless it is there, and return its descriptor. Raises OSError."""
    try:
        os.mkdir(name, dir_fd=parent)
    except FileExistsError:
        pass  # the next call fails unless it is a folder
    return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)


@contextmanager
def partial_file(path: SafePath, part: str | None = None) -> Iterator[PartialFile]:
    """Open the temporary file of a path until the end of the block; `part` is the name of one to continue.

    Raises OSError.
    """
    with folder_of(path) as folder, closing(PartialFile(folder, path.parts[-1], part)) as found:
        yield found
