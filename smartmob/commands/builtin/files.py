"""Commands on files and directories. Relative paths begin at the connection's working directory.

Programs parse the messages, so those of commands that conplyent's server has are the same to the letter (seed 003).
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec

from smartmob.commands import tree_entries
from smartmob.commands.call import CallContext
from smartmob.commands.hashed_file import make_folders, mode_of
from smartmob.commands.model import BAD_PARAMETER, SUCCESS
from smartmob.commands.partial_file import kind_of
from smartmob.commands.registry import command
from smartmob.kernel.runtime.disk import check_free

_NOT_EMPTY = "Non-Empty Directory... Pass recursive to recursivly remove directory"  # codespell:ignore recursivly

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_LARGEST_PIECE_BYTES = 4 * 1024 * 1024

Mode = Annotated[int, msgspec.Meta(ge=0, le=0o7777)]


@command(inline=True)
def cwd(call: CallContext) -> int:
    """Return the connection's working directory."""
    call.emit(str(call.session.cwd))
    return SUCCESS


@command
def cd(call: CallContext, dest: str) -> int:
    """Change the connection's working directory, and return the new one. Other connections keep theirs."""
    path = call.path(dest)
    # Opening the path as a directory raises the right error if it is missing, a file, or not permitted.
    os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    if not os.access(path, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    path = path.resolve()
    call.session.cwd = path
    call.emit(str(path))
    return SUCCESS


@command
def ls(call: CallContext, src: str = ".") -> int:
    """List a directory: one text with its directories (d), files (f) and links (l)."""
    path = call.path(src)
    if not path.is_dir():
        call.emit(f"{src}: No such directory")
        return BAD_PARAMETER
    entries = [entry for entry in os.scandir(path) if not entry.name.startswith(".")]
    shown = sorted(
        (("l" if entry.is_symlink() else "d" if entry.is_dir() else "f") + f" {entry.name}" for entry in entries),
        key=lambda line: ("dfl".index(line[0]), line),
    )
    call.emit(f"Listing of Directory {path if src == '.' else src}:\n\n" + "\n".join(shown))
    return SUCCESS


@command
def mkdir(call: CallContext, path: str, mode: Mode | None = None) -> int:
    """Create a directory. It must not exist yet, and its parent must exist."""
    target = call.path(path)
    if os.path.lexists(target):
        call.emit(f"Directory or File {path} already exists")
        return BAD_PARAMETER
    wanted = 0o777 if mode is None else mode
    target.mkdir(wanted)
    target.chmod(mode_of(wanted) | wanted & stat.S_ISVTX)
    call.emit(f"Created directory: {path}")
    return SUCCESS


@command
def mkdirs(call: CallContext, path: str, exist_ok: bool = False) -> int:
    """Create a directory and its parents. A directory that exists is an error unless `exist_ok`."""
    target = call.path(path)
    make_folders(target.parent)
    if not exist_ok or not target.is_dir():
        target.mkdir()
        target.chmod(mode_of(0o777))
    call.emit(f"Created directory: {path}")
    return SUCCESS


@command
def rm(call: CallContext, path: str, recursive: bool = False) -> int:
    """Remove a file, a link or an empty directory; with `recursive`, a directory with its content."""
    target = call.path(path)
    if not os.path.lexists(target):
        call.emit(f"Directory or File {path} doesn't exist?")
        return BAD_PARAMETER
    if target.is_dir() and not target.is_symlink():
        if not recursive and any(target.iterdir()):
            call.emit(_NOT_EMPTY)
            return BAD_PARAMETER
        shutil.rmtree(target)
        call.emit(f"Removed directory {path}")
    else:
        target.unlink()
        call.emit(f"Removed file {path}")
    return SUCCESS


@command
def rdfile(call: CallContext, path: str, limit: int = 1024) -> int:
    """Return a line that names a file, and its content in pieces of `limit` bytes, at most 4 MiB.

    Use `get` for large files. Only regular files are read: a fifo or a device may have no end, or wait for a writer.
    """
    target = call.path(path)
    if not target.exists() or target.is_dir():
        call.emit(f"Unknown file: {path}")
        return BAD_PARAMETER
    with os.fdopen(tree_entries.open_file(str(target), follow=True), "rb") as file:
        call.emit(f"Contents of {path}")
        while piece := file.read(limit if 0 <= limit <= _LARGEST_PIECE_BYTES else _LARGEST_PIECE_BYTES):
            call.emit(piece)
    return SUCCESS


@command
def wrfile(call: CallContext, path: str, data: bytes, append: bool = False) -> int:
    """Write a file, or `append` to it. Use `put` for large files.

    What is written to a device goes to it; a fifo, a socket and a disk are refused.
    """
    target = call.path(path)
    if target.is_dir():
        call.emit("wrfile: Path exists as a directory.")
        return BAD_PARAMETER
    check_free(target.parent, len(data), call.services.least_free)
    with os.fdopen(_open_to_write(target, append), "ab" if append else "wb") as file:
        file.write(data)
    call.emit(f"Finished writing data to {path}")
    return SUCCESS


def _open_to_write(target: Path, append: bool) -> int:
    """Return the descriptor of a new or existing file or device; raises OSError, and never waits for a reader."""
    try:
        return _create(target, append)
    except FileExistsError:
        pass  # or a broken link
    try:
        descriptor = os.open(target, _WRITE | (os.O_APPEND if append else os.O_TRUNC), mode_of(0o666))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        descriptor = None  # a fifo that no program reads, or a socket
    mode = os.stat(target if descriptor is None else descriptor).st_mode
    if descriptor is not None and (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
        return descriptor
    if descriptor is not None:
        os.close(descriptor)
    raise OSError(errno.EINVAL, f"it is a {kind_of(mode)}, not a regular file", str(target))


def _create(target: Path, append: bool) -> int:
    """Return the descriptor of a new file with the mode that programs give it; raises FileExistsError, OSError."""
    descriptor = os.open(target, _WRITE | os.O_EXCL | (os.O_APPEND if append else 0), 0o600)
    os.fchmod(descriptor, mode_of(0o666))
    return descriptor


@command
def touch(call: CallContext, path: str) -> int:
    """Create an empty file, or set the time of an existing file to now."""
    target = call.path(path)
    if target.is_dir():
        call.emit("wrfile: Path exists as a directory.")
        return BAD_PARAMETER
    with suppress(FileExistsError):
        os.close(_create(target, append=True))
    target.touch()
    call.emit(f"Touched {path}")
    return SUCCESS
