"""Commands on files and folders. Paths begin at the connection's working directory.

Their messages are those of the stock server, to the letter, since programs read them.
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
from smartmob.commands.model import BAD_PARAMETER, GOOD, Offset
from smartmob.commands.registry import command
from smartmob.errors import Conflict, InvalidInput
from smartmob.kernel.runtime.disk import DiskLow, Floor, check_free

_PART = ".smartmob-part"
_DIGEST_BYTES = 32

_FULL = "Non-Empty Directory... Pass recursive to recursivly remove directory"  # codespell:ignore recursivly

Limit = Annotated[int, msgspec.Meta(ge=1, le=4 * 1024 * 1024)]
Mode = Annotated[int, msgspec.Meta(ge=0, le=0o7777)]


@command(inline=True)
def cwd(call: CallContext) -> int:
    """Say the connection's working directory."""
    call.say(str(call.session.cwd))
    return GOOD


@command
def cd(call: CallContext, dest: str) -> int:
    """Change the connection's working directory, and say the new one. Other connections keep theirs."""
    path = call.path(dest)
    # Opened as a folder, so that whatever hinders tells itself.
    os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    if not os.access(path, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    path = path.resolve()
    call.session.cwd = path
    call.say(str(path))
    return GOOD


@command
def ls(call: CallContext, src: str = ".") -> int:
    """List a directory: one text with its folders (d), files (f) and links (l)."""
    path = call.path(src)
    if not path.is_dir():
        call.say(f"{src}: No such directory")
        return BAD_PARAMETER
    entries = [entry for entry in os.scandir(path) if not entry.name.startswith(".")]
    shown = sorted(
        (("l" if entry.is_symlink() else "d" if entry.is_dir() else "f") + f" {entry.name}" for entry in entries),
        key=lambda line: ("dfl".index(line[0]), line),
    )
    call.say(f"Listing of Directory {path if src == '.' else src}:\n\n" + "\n".join(shown))
    return GOOD


@command
def find_files(call: CallContext, path: str) -> int:
    """Say which files are below a path, with their sizes: `{"path", "size"}` each; of a file itself the path is ""."""
    target = call.path(path)
    if not target.is_dir():
        call.say({"path": "", "size": target.stat().st_size})
        return GOOD
    for folder, _, names in os.walk(target):
        for name in sorted(names):
            found = Path(folder) / name
            if found.is_file():
                call.say({"path": str(found.relative_to(target)), "size": found.stat().st_size})
    return GOOD


@command
def mkdir(call: CallContext, path: str, mode: Mode | None = None) -> int:
    """Make a directory; it must not exist, and its parent must."""
    target = call.path(path)
    if os.path.lexists(target):
        call.say(f"Directory or File {path} already exists")
        return BAD_PARAMETER
    target.mkdir(0o777 if mode is None else mode)
    call.say(f"Created directory: {path}")
    return GOOD


@command
def mkdirs(call: CallContext, path: str, exist_ok: bool = False) -> int:
    """Make a directory and its parents; one that exists is an error unless `exist_ok`."""
    call.path(path).mkdir(parents=True, exist_ok=exist_ok)
    call.say(f"Created directory: {path}")
    return GOOD


@command
def rm(call: CallContext, path: str, recursive: bool = False) -> int:
    """Remove a file, a link or an empty directory; with `recursive` a directory with all that is in it."""
    target = call.path(path)
    if not os.path.lexists(target):
        call.say(f"Directory or File {path} doesn't exist?")
        return BAD_PARAMETER
    if target.is_dir() and not target.is_symlink():
        if not recursive and any(target.iterdir()):
            call.say(_FULL)
            return BAD_PARAMETER
        shutil.rmtree(target)
        call.say(f"Removed directory {path}")
    else:
        target.unlink()
        call.say(f"Removed file {path}")
    return GOOD


@command
def rdfile(call: CallContext, path: str, limit: Limit = 1024) -> int:
    """Say the content of a file in pieces of `limit` bytes, after a line that names it; see `get` for large ones."""
    target = call.path(path)
    if not target.exists() or target.is_dir():
        call.say(f"Unknown file: {path}")
        return BAD_PARAMETER
    with target.open("rb") as file:
        call.say(f"Contents of {path}")
        while piece := file.read(limit):
            call.say(piece)
    return GOOD


@command
def wrfile(call: CallContext, path: str, data: bytes, append: bool = False) -> int:
    """Write a file, or `append` to it; see `put` for large ones."""
    target = call.path(path)
    if target.is_dir():
        call.say("wrfile: Path exists as a directory.")
        return BAD_PARAMETER
    check_free(target.parent, len(data), call.service.least_free)
    with target.open("ab" if append else "wb") as file:
        file.write(data)
    call.say(f"Finished writing data to {path}")
    return GOOD


@command
def touch(call: CallContext, path: str) -> int:
    """Make an empty file, or set the time of one that exists to now."""
    target = call.path(path)
    if target.is_dir():
        call.say("wrfile: Path exists as a directory.")
        return BAD_PARAMETER
    target.touch()
    call.say(f"Touched {path}")
    return GOOD


@command
async def get(call: CallContext, path: str, offset: Offset = 0) -> int:
    """Send a file as bytes from `offset` on, then its size and the SHA-256 of the whole file.

    So a transfer that was cut off goes on where it ended, and still everything is checked.
    """
    target = call.path(path)
    with target.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if offset > size:
            raise InvalidInput.at("offset", f"the file has {size} bytes only")
        reader = Reader(file)
        async with aclosing(reader.parts(offset)) as parts:
            async for place, part in parts:
                await call.send(place, part)
        sha256, mode = reader.sha256.hex(), os.fstat(file.fileno()).st_mode & 0o777
    await call.tell({"size": reader.size, "sha256": sha256, "mode": mode})
    return GOOD


@command
async def put(
    call: CallContext,
    path: str,
    size: Offset,
    sha256: str | None = None,
    mode: Mode | None = None,
    transfer: str | None = None,
) -> int:
    """Take a file: the bytes that the client sends, beginning where an earlier attempt ended.

    First it says `{"offset": N}`: that many bytes are there already, of an attempt with the same size that was cut off.
    The client sends the rest. The file appears under its name when all has come; its SHA-256 is said, and checked
    against `sha256`, or against the one that the client sends as the last 32 bytes after the content. An attempt with
    the same `transfer`, a text of the client's choice, ends an earlier one whose connection is lost.
    """
    target = call.path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    part = target.with_name(f"{target.name}.{size}{_PART}")
    async with call.service.transfers.only(part, transfer):
        begun = part.stat().st_size if part.exists() else 0
        check_free(target.parent, size - begun, call.service.least_free)
        with part.open("a+b") as file:
            _lock(file, target)
            writer = Writer(file, Floor(target.parent, call.service.least_free).take)
            there = await writer.resume()
            if there > size:
                raise Conflict("another file of that size was begun under this name")
            await call.tell({"offset": there})
            try:
                trailer = await _take(call, writer, size - there)
            except DiskLow:
                part.unlink()  # what is there of it takes the room that is missing
                raise
            found = writer.sha256
        if (sha256 is not None and sha256.lower() != found.hex()) or (trailer and trailer != found):
            part.unlink()
            said = "the content is not what was sent: its SHA-256 differs. Send it again."
            raise OSError(errno.EIO, said, str(target))
        if mode is not None:
            part.chmod(mode_of(mode))
        part.replace(target)
    await call.tell({"size": size, "sha256": found.hex()})
    return GOOD


def _lock(file: Any, target: Path) -> None:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(f"{target} is being written by another transfer") from None


async def _take(call: CallContext, writer: Writer, missing: int) -> bytes:
    """Write what comes, and return the bytes after the content."""
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
