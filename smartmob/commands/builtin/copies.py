"""Commands that copy files: `find_files` lists what a tree has, `get` and `put` carry the content, `place` the rest.

`raw` is a path as bytes, for names that are no UTF-8; `path` is then only what people read.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import aclosing, closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from smartmob.commands import tree_entries
from smartmob.commands.call import CallContext
from smartmob.commands.hashed_file import FileReader, Writer, make_folders, mode_of
from smartmob.commands.model import SUCCESS, Offset
from smartmob.commands.partial_file import PART, PartialFile, kind_of, part_name
from smartmob.commands.registry import command
from smartmob.errors import Conflict, InvalidInput
from smartmob.kernel.runtime.disk import Floor, check_free

_DIGEST_BYTES = 32  # SHA-256
_LONGEST_NAME_BYTES = 255  # of a file, see NAME_MAX in limits.h
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_DEVICE = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC

Mode = Annotated[int, msgspec.Meta(ge=0, le=0o7777)]
Time = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""Nanoseconds since 1970."""
Source = Annotated[str, msgspec.Meta(min_length=8, max_length=64)]


@command
def find_files(
    call: CallContext, path: str, details: bool = False, raw: bytes | None = None, content: bool = True
) -> int:
    """Return the files below a path: `{"path", "size"}` for each. The path is empty when it names a file itself.

    With `details` also folders, links and other kinds, the path itself first, each with `kind`, `mode`, `mtime_ns` (of
    its last change, in nanoseconds), a link's `target`, and in `raw` and `raw_target` the base64 of names that are no
    UTF-8. Without `content` only the path itself.
    """
    target = _path(call, path, raw)
    if details:
        for entry in tree_entries.scan(os.fsencode(target)):
            call.emit(tree_entries.to_message(entry))
            if not content:
                break
        return SUCCESS
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
def place(
    call: CallContext,
    path: str,
    kind: Literal["folder", "link", "fifo"],
    *,
    raw: bytes | None = None,
    mode: Mode | None = None,
    mtime_ns: Time | None = None,
    target: bytes | None = None,
    done: bool = False,
) -> int:
    """Create a folder, a link to `target` or a fifo, for a copy. The folders above it are created.

    A folder that exists is taken, and gets its mode and time by a second call with `done`, after its content. No link
    is followed, and no other kind of file is replaced, but a link may replace a file or a link.
    """
    found = _path(call, path, raw)
    make_folders(found.parent)
    with _folder(found.parent) as parent:
        if kind == tree_entries.LINK:
            if not target:
                raise InvalidInput.at("target", "a link needs a target")
            tree_entries.make_link(parent, found.name, target, mtime_ns)
        elif kind == tree_entries.FIFO:
            tree_entries.make_fifo(parent, found.name, mode, mtime_ns)
        elif done:
            tree_entries.finish_folder(parent, found.name, mode, mtime_ns)
        else:
            tree_entries.make_folder(parent, found.name, mode)
    return SUCCESS


@command
async def get(call: CallContext, path: str, offset: Offset = 0, raw: bytes | None = None, follow: bool = True) -> int:
    """Send the bytes of a file from `offset` on, then its size and the SHA-256 of the whole file.

    So an interrupted transfer can go on where it ended, and the whole file is still checked. A file that grows is read
    to its end; the size and the digest are those of what was read. Only regular files are sent; without `follow` no
    link is followed.
    """
    descriptor = await asyncio.to_thread(tree_entries.open_file, str(_file_path(call, path, raw)), follow=follow)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if offset > size > 0:
            raise InvalidInput.at("offset", f"the file has {size} bytes only")
        reader = FileReader(file)
        async with aclosing(reader.parts(offset)) as parts:
            async for start, part in parts:
                await call.send(start, part)
        about = os.fstat(file.fileno())
    found = {"size": reader.size, "sha256": reader.sha256.hex(), "mode": about.st_mode & 0o777}
    await call.emit_and_drain(found | {"mtime_ns": about.st_mtime_ns})
    return SUCCESS


@command
async def put(
    call: CallContext,
    path: str,
    size: Offset,
    sha256: str | None = None,
    mode: Mode | None = None,
    transfer: str | None = None,
    *,
    raw: bytes | None = None,
    open_end: bool = False,
    source: Source | None = None,
    mtime_ns: Time | None = None,
    follow: bool = True,
) -> int:
    """Receive a file as bytes from the client, beginning where an earlier attempt was interrupted.

    The first message is `{"offset": N}`: an interrupted attempt with the same size, or with the same `source`, a text
    that names the file of the client with its size and time, has left N bytes, and the client sends the rest. The file
    gets its name when it is complete. The last message has its SHA-256, which is compared with `sha256`, or with the 32
    bytes that the client may send after the content. `transfer` is a text of the client's choice: a second attempt with
    the same text ends the first one, whose connection is lost.

    With `open_end` the content ends where the client ends it; `size` is then an estimate, and the 32 bytes are needed.
    A link is followed, or replaced without `follow`. Without `mode` a file keeps its own, a new one gets that of any
    program. What is sent to a device is written to it; a fifo, a socket and a disk are refused.
    """
    target = _file_path(call, path, raw)
    if (kind := await asyncio.to_thread(_kind, target, follow)) == "device":
        descriptor = os.open(target, _DEVICE)
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "wb") as device:
            writer = Writer(device, str(target))
            await call.emit_and_drain({"offset": 0})
            size, _ = await _receive_checked(call, writer, None if open_end else size, sha256, target)
        await call.emit_and_drain({"size": size, "sha256": writer.sha256.hex()})
        return SUCCESS
    if kind == tree_entries.LINK and follow:
        target = Path(os.path.realpath(target))
    name = _part(target, size, source, open_end)
    async with call.services.transfers.lock(target.with_name(name) if name else target, transfer):
        with _folder(target.parent) as folder, closing(_open(folder, target, name, sole=source is None)) as part:
            writer = Writer(part.file, str(target), Floor(target.parent, call.services.least_free).take)
            present = os.fstat(part.file.fileno()).st_size
            if present > size:
                part.restart()  # it is not the beginning of this file
            try:
                check_free(target.parent, max(size - present, 0), call.services.least_free)
                present = await writer.resume()
                await call.emit_and_drain({"offset": present})
                rest = None if open_end else size - present
                received, wrong = await _receive_checked(call, writer, rest, sha256, target)
                if wrong is not None:
                    raise wrong
                part.finish(_mode(target) if mode is None else mode_of(mode), mtime_ns)
            except OSError as error:
                if error.errno != errno.ECONNABORTED:
                    part.remove()  # the incomplete file would take space that is missing, or cannot be continued
                raise
    await call.emit_and_drain({"size": present + received, "sha256": writer.sha256.hex()})
    return SUCCESS


def _file_path(call: CallContext, path: str, raw: bytes | None) -> Path:
    """Return the path of a file; raises NotADirectoryError if it ends with a slash (POSIX.1-2017, XBD 4.13)."""
    if path.endswith("/"):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    return _path(call, path, raw)


def _path(call: CallContext, path: str, raw: bytes | None) -> Path:
    return call.path(path if raw is None else os.fsdecode(raw))


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _kind(target: Path, follow: bool) -> str | None:
    """Return the kind of the target of a transfer, None if there is none; raises OSError for one that takes no file."""
    try:
        mode = target.lstat().st_mode
        behind = target.stat().st_mode if follow else mode
    except FileNotFoundError:
        return tree_entries.LINK if target.is_symlink() else None
    if stat.S_ISDIR(behind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if stat.S_ISFIFO(behind) or stat.S_ISSOCK(behind) or stat.S_ISBLK(behind) or (stat.S_ISCHR(behind) and not follow):
        reason = f"it is a {kind_of(behind)} there, which is not replaced by a file"
        raise FileExistsError(errno.EEXIST, reason, str(target))
    return "device" if stat.S_ISCHR(behind) else kind_of(mode)


def _mode(target: Path) -> int:
    """Return the mode of a file whose content comes without one: its own, or the mode of files that programs create."""
    try:
        about = target.lstat().st_mode
    except OSError:
        about = 0
    return about & 0o777 if stat.S_ISREG(about) else mode_of(0o666)


def _part(target: Path, size: int, source: str | None, open_end: bool) -> str | None:
    """Return the temporary name of a transfer that can be continued, else None."""
    if source is not None:
        return part_name(target.name, source)
    if open_end:
        return None
    plain = f"{target.name}.{size}{PART}"
    return plain if len(os.fsencode(plain)) <= _LONGEST_NAME_BYTES else part_name(target.name, size)


def _open(folder: int, target: Path, name: str | None, *, sole: bool) -> PartialFile:
    try:
        return PartialFile(folder, target.name, name, sole=sole)
    except BlockingIOError:
        raise Conflict(f"{target} is being written by another transfer") from None
    except OSError as error:
        error.filename = str(target)
        raise


async def _receive_checked(
    call: CallContext, writer: Writer, missing: int | None, sha256: str | None, target: Path
) -> tuple[int, OSError | None]:
    """Write the client's bytes; return their size, and an error if the content differs from the one that was sent."""
    if missing is None:
        size, trailer = await _receive_open(call, writer)
    else:
        size, trailer = missing, await _receive(call, writer, missing)
    digest = writer.sha256
    if (sha256 is None or sha256.lower() == digest.hex()) and trailer in (b"", digest):
        return size, None
    reason = "the content is not what was sent: its SHA-256 differs. Send it again."
    return size, OSError(errno.EIO, reason, str(target))


async def _receive(call: CallContext, writer: Writer, missing: int) -> bytes:
    """Write the `missing` bytes that the client sends, and return the bytes after them."""
    trailer = b""
    try:
        while missing:
            data = await call.receive()
            if data is None:
                raise _cut_off(f"the content ended {missing} bytes too early; send the rest")
            body, trailer = data[:missing], data[missing:]
            missing -= len(body)
            await writer.write(body)
    finally:
        await writer.flush()
    return await _receive_trailer(call, trailer)


async def _receive_trailer(call: CallContext, trailer: bytes) -> bytes:
    """Return all bytes after the content, of which `trailer` has arrived; raises InvalidInput for too many."""
    while len(trailer) <= _DIGEST_BYTES:
        data = await call.receive()
        if data is None:
            return trailer
        trailer += data
    raise InvalidInput("more data arrived than the file's content and its SHA-256")


async def _receive_open(call: CallContext, writer: Writer) -> tuple[int, bytes]:
    """Write all bytes of the client except the last 32; return the size of the written content, and these 32 bytes.

    Pieces are held until 32 bytes have arrived after them, and are passed on whole: a copy of each would cost a quarter
    of the time of a transfer.
    """
    size, held, held_size = 0, deque[bytes](), 0
    try:
        while (data := await call.receive()) is not None:
            if data:
                held.append(data)
            held_size += len(data)
            while held and held_size - len(held[0]) >= _DIGEST_BYTES:
                piece = held.popleft()
                held_size -= len(piece)
                size += len(piece)
                await writer.write(piece)
        rest = b"".join(held)
        if body := rest[:-_DIGEST_BYTES]:
            size += len(body)
            await writer.write(body)
    finally:
        await writer.flush()
    if len(rest) < _DIGEST_BYTES:
        raise _cut_off("the content ended without its SHA-256; send the rest")
    return size, rest[-_DIGEST_BYTES:]


def _cut_off(reason: str) -> Any:
    return ConnectionAbortedError(errno.ECONNABORTED, reason)
