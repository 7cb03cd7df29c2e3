"""Commands on files and directories. Relative paths begin at the connection's working directory.

Programs parse the messages, so those of commands that conplyent's server has are the same to the letter (seed 003).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import msgspec

from smartmob.commands.call import CallContext
from smartmob.commands.hashed_file import Reader, Writer, mode_of
from smartmob.commands.model import BAD_PARAMETER, SUCCESS, Offset
from smartmob.commands.registry import command
from smartmob.errors import Conflict, InvalidInput
from smartmob.kernel.runtime.disk import DiskLow, Floor, check_free

_PART = ".smartmob-part"  # the ending of the name of a file that is being received
_DIGEST_BYTES = 32  # SHA-256

_NOT_EMPTY = "Non-Empty Directory... Pass recursive to recursivly remove directory"  # codespell:ignore recursivly

Limit = Annotated[int, msgspec.Meta(ge=1, le=4 * 1024 * 1024)]
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
def find_files(call: CallContext, path: str) -> int:
    """Return the files below a path: `{"path", "size"}` for each. The path is empty when it names a file itself."""
    target = call.path(path)
    if not target.is_dir():
        call.emit({"path": "", "size": target.stat().st_size})
        return SUCCESS
    for folder, _, names in os.walk(target):
        for name in sorted(names):
            found = Path(folder) / name
            if found.is_file():
                call.emit({"path": str(found.relative_to(target)), "size": found.stat().st_size})
    return SUCCESS


@command
def mkdir(call: CallContext, path: str, mode: Mode | None = None) -> int:
    """Create a directory. It must not exist yet, and its parent must exist."""
    target = call.path(path)
    if os.path.lexists(target):
        call.emit(f"Directory or File {path} already exists")
        return BAD_PARAMETER
    target.mkdir(0o777 if mode is None else mode)
    call.emit(f"Created directory: {path}")
    return SUCCESS


@command
def mkdirs(call: CallContext, path: str, exist_ok: bool = False) -> int:
    """Create a directory and its parents. A directory that exists is an error unless `exist_ok`."""
    call.path(path).mkdir(parents=True, exist_ok=exist_ok)
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
def rdfile(call: CallContext, path: str, limit: Limit = 1024) -> int:
    """Return a line that names a file, and its content in pieces of `limit` bytes. Use `get` for large files."""
    target = call.path(path)
    if not target.exists() or target.is_dir():
        call.emit(f"Unknown file: {path}")
        return BAD_PARAMETER
    with target.open("rb") as file:
        call.emit(f"Contents of {path}")
        while piece := file.read(limit):
            call.emit(piece)
    return SUCCESS


@command
def wrfile(call: CallContext, path: str, data: bytes, append: bool = False) -> int:
    """Write a file, or `append` to it. Use `put` for large files."""
    target = call.path(path)
    if target.is_dir():
        call.emit("wrfile: Path exists as a directory.")
        return BAD_PARAMETER
    check_free(target.parent, len(data), call.services.least_free)
    with target.open("ab" if append else "wb") as file:
        file.write(data)
    call.emit(f"Finished writing data to {path}")
    return SUCCESS


@command
def touch(call: CallContext, path: str) -> int:
    """Create an empty file, or set the time of an existing file to now."""
    target = call.path(path)
    if target.is_dir():
        call.emit("wrfile: Path exists as a directory.")
        return BAD_PARAMETER
    target.touch()
    call.emit(f"Touched {path}")
    return SUCCESS


@command
async def get(call: CallContext, path: str, offset: Offset = 0) -> int:
    """Send the bytes of a file from `offset` on, then its size and the SHA-256 of the whole file.

    So an interrupted transfer can go on where it ended, and the whole file is still checked.
    """
    target = call.path(path)
    with target.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if offset > size:
            raise InvalidInput.at("offset", f"the file has {size} bytes only")
        reader = Reader(file)
        async with aclosing(reader.parts(offset)) as parts:
            async for start, part in parts:
                await call.send(start, part)
        sha256, mode = reader.sha256.hex(), os.fstat(file.fileno()).st_mode & 0o777
    await call.emit_and_drain({"size": reader.size, "sha256": sha256, "mode": mode})
    return SUCCESS


@command
async def put(
    call: CallContext,
    path: str,
    size: Offset,
    sha256: str | None = None,
    mode: Mode | None = None,
    transfer: str | None = None,
) -> int:
    """Receive a file as bytes from the client, beginning where an earlier attempt was interrupted.

    The first message is `{"offset": N}`: an interrupted attempt with the same size has left N bytes, and the client
    sends the rest. The file gets its name when it is complete. The last message has its SHA-256, which is compared
    with `sha256`, or with the 32 bytes that the client may send after the content. `transfer` is a text of the
    client's choice: a second attempt with the same text ends the first one, whose connection is lost.
    """
    target = call.path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    part = target.with_name(f"{target.name}.{size}{_PART}")
    async with call.services.transfers.lock(part, transfer):
        present = part.stat().st_size if part.exists() else 0
        check_free(target.parent, size - present, call.services.least_free)
        with part.open("a+b") as file:
            _lock(file, target)
            writer = Writer(file, Floor(target.parent, call.services.least_free).take)
            present = await writer.resume()
            if present > size:
                raise Conflict("another file of that size was begun under this name")
            await call.emit_and_drain({"offset": present})
            try:
                trailer = await _receive(call, writer, size - present)
            except DiskLow:
                part.unlink()  # the incomplete file would take space that is missing
                raise
            digest = writer.sha256
        if (sha256 is not None and sha256.lower() != digest.hex()) or (trailer and trailer != digest):
            part.unlink()
            reason = "the content is not what was sent: its SHA-256 differs. Send it again."
            raise OSError(errno.EIO, reason, str(target))
        if mode is not None:
            part.chmod(mode_of(mode))
        part.replace(target)
    await call.emit_and_drain({"size": size, "sha256": digest.hex()})
    return SUCCESS


def _lock(file: Any, target: Path) -> None:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(f"{target} is being written by another transfer") from None


async def _receive(call: CallContext, writer: Writer, missing: int) -> bytes:
    """Write the `missing` bytes that the client sends, and return the bytes after them."""
    trailer = b""
    try:
        while missing:
            data = await call.receive()
            if data is None:
                raise ConnectionAbortedError(
                    errno.ECONNABORTED, f"the content ended {missing} bytes too early; send the rest"
                )
            body, trailer = data[:missing], data[missing:]
            missing -= len(body)
            await writer.write(body)
    finally:
        await writer.flush()
    while len(trailer) <= _DIGEST_BYTES:
        data = await call.receive()
        if data is None:
            return trailer
        trailer += data
    raise InvalidInput("more came than the file's content and its SHA-256")
