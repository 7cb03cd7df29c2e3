"""Transfers of files to and from a service.

A file is a stream of bytes that is checked by its SHA-256. A transfer that was cut off continues where it ended.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from io import BufferedReader
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from smartmob.client import safe_paths, streams
from smartmob.client.failures import ClientError, ClientTimeout, NotConnected
from smartmob.client.limits import LIMITS
from smartmob.client.listener import Listener
from smartmob.client.safe_paths import SafePath
from smartmob.client.stream_pipes import PipeWriter, StreamPipeReader
from smartmob.commands import tree_entries
from smartmob.commands.hashed_file import FileReader, Writer, mode_of
from smartmob.commands.partial_file import PartialFile, part_name
from smartmob.commands.tree_entries import FileEntry
from smartmob.errors import InvalidInput

Progress = Callable[[int, int], None]
"""A callback for the progress of a transfer: the bytes that are done, and all bytes."""

_ATTEMPTS = 5
"""Attempts of one transfer, counting the first."""
_RECONNECT_SECONDS = 30.0
_PERMISSIONS = 0o777
"""The bits of a file's mode that are sent: neither setuid, nor setgid, nor the sticky bit."""
_GROWTH_BYTES = 64 * 1024 * 1024
"""By how many bytes a file may have grown since the server sent its size."""


class Commands(Protocol):
    """The calls of a CommandClient that a transfer needs."""

    @property
    def url(self) -> str:
        """Return the address of the server."""

    def takes(self, name: str, parameter: str | None = None) -> bool:
        """Return whether the server has a command, with this parameter if one is given."""

    async def run(self, name: str, *args: Any, raise_error: bool = False, **options: Any) -> Any:
        """Call a command, and return its messages."""

    def start(self, name: str, *args: Any, binary: bool = False, **kwargs: Any) -> Listener:
        """Call a command, and return its listener at once."""

    async def heartbeat(self, timeout: float | None = None) -> bool:
        """Return whether the server answers within `timeout` seconds."""


class Content(Protocol):
    """The content of a file or a stream that is sent."""

    @property
    def size(self) -> int:
        """Return the bytes that were read so far."""

    @property
    def sha256(self) -> bytes:
        """Return their digest."""

    def parts(self, offset: int = 0) -> AsyncGenerator[tuple[int, Any]]:
        """Yield the content from `offset` on, in parts with their offsets."""


class ContentReceiver(Protocol):
    """A file or a stream that received content is written to."""

    @property
    def sha256(self) -> bytes:
        """Return the digest of all content."""

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""

    async def flush(self) -> None:
        """Wait until all bytes are written."""


def path_arguments(path: str | bytes) -> dict[str, Any]:
    """Return the arguments of `get`, `put`, `place` and `find_files` for a path on the server."""
    raw = os.fsencode(path)
    try:
        return {"path": raw.decode()}
    except UnicodeDecodeError:
        return {"path": raw.decode(errors="replace"), "raw": raw}


async def upload(
    client: Commands,
    src: str | Path,
    dest: str | bytes,
    progress: Progress | None,
    *,
    follow: bool = True,
    times: bool = False,
    folders: bool = True,
) -> dict[str, Any]:
    """Send a file or a stream, and return its size and digest; raises OSError, NotConnected and the server's errors.

    The folders of `dest` are created with `folders`. The time of the file is sent with `times`. Without `follow` no
    link is followed, here and there.
    """
    if folders:
        await _make_folders(client, dest)
    stream = streams.open_source(str(src)) if follow else None
    if stream is None:
        descriptor = await asyncio.to_thread(tree_entries.open_file, str(src), follow=follow)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            options = {"mode": about.st_mode & _PERMISSIONS, "source": _identity(str(src), about)}
            if times:
                options["mtime_ns"] = about.st_mtime_ns
            if not follow:
                options["follow"] = False
            sending = _Sending(client, dest, about.st_size, options)

            async def attempt(stall: asyncio.Timeout) -> dict[str, Any]:
                return await sending.attempt(_content(file), _noticed(stall, progress))

            try:
                return await _with_retries(client, attempt)
            except OSError as error:
                if not sending.resumed or error.errno != errno.EIO:
                    raise
            # What an earlier transfer has left was not the beginning of this file; the server has removed it.
            return await _with_retries(client, attempt)
    try:
        sending = _Sending(client, dest, 0, {})
        return await sending.attempt(StreamPipeReader(stream), progress or _quiet)  # it may be silent for any time
    finally:
        os.close(stream)


async def _make_folders(client: Commands, dest: str | bytes) -> None:
    folder = os.path.dirname(os.fsencode(dest))
    if not folder:
        return
    found = path_arguments(folder)
    options: dict[str, Any] = {"raise_error": True, "timeout": LIMITS.transfer_seconds}
    if "raw" in found:
        await client.run("place", **found, kind=tree_entries.FOLDER, **options)
    else:
        await client.run("mkdirs", found["path"], exist_ok=True, **options)


def _quiet(done: int, size: int) -> None:
    """Tell no progress."""


def _content(file: BufferedReader) -> FileReader:
    file.seek(0)
    return FileReader(file)


def _identity(src: str, about: os.stat_result) -> str:
    """Return a text for a file with its content: another file, or the file when it was changed, has another one."""
    parts = (socket.gethostname(), os.path.realpath(src), about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
    return hashlib.sha256(repr(parts).encode(errors="surrogateescape")).hexdigest()


async def describe(client: Commands, src: str | bytes) -> FileEntry | None:
    """Return the entry of a path on the server, None if its release cannot tell; raises the server's errors."""
    if not client.takes("find_files", "content"):
        return None
    options: dict[str, Any] = {"raise_error": True, "timeout": LIMITS.transfer_seconds}
    found = await client.run("find_files", **path_arguments(src), details=True, content=False, **options)
    try:
        return tree_entries.from_message(found[0])
    except (InvalidInput, IndexError) as error:
        raise ClientError(f"the server's answer to find_files is malformed: {error}") from None


async def download(
    client: Commands,
    src: str | bytes,
    dest: SafePath,
    progress: Progress | None,
    entry: FileEntry | None = None,
    *,
    follow: bool = True,
    times: bool = False,
) -> dict[str, Any]:
    """Get a file, whose `entry` the server has listed, and return its digest and mode.

    Raises OSError, ClientError and the server's errors.
    """
    max_bytes = None if entry is None else entry.size + _GROWTH_BYTES
    part = None
    if entry is not None and entry.mtime_ns is not None:
        part = part_name(client.url, os.fsdecode(src), dest.parts[-1], entry.size, entry.mtime_ns)
    opening = safe_paths.partial_file(dest, part)
    with safe_paths.named_errors(dest):
        partial = await asyncio.to_thread(opening.__enter__)
    try:
        getting = _Getting(client, src, max_bytes, follow=follow)
        if entry is not None and _size(partial) > entry.size:
            partial.restart()  # it is not the beginning of this file
        while True:
            writer = Writer(partial.file, str(dest))
            resumed = await writer.resume()

            async def attempt(stall: asyncio.Timeout, writer: Writer = writer) -> dict[str, Any]:
                return await getting.attempt(writer, _size(partial), _noticed(stall, progress))

            try:
                result = await _with_retries(client, attempt)
            except _Differs:
                if not resumed:
                    partial.remove()
                    raise
                partial.restart()  # what an earlier transfer has left is not the beginning of this file
            except (NotConnected, ClientTimeout):
                raise  # the next transfer continues
            except (_TooLong, OSError):
                partial.remove()
                raise
            else:
                break
        mtime_ns = result.get("mtime_ns") if times else None
        with safe_paths.named_errors(dest):
            partial.finish(mode_of(result["mode"]), mtime_ns if type(mtime_ns) is int else None)
    finally:
        opening.__exit__(None, None, None)
    return result


def _size(partial: PartialFile) -> int:
    return os.fstat(partial.file.fileno()).st_size


async def download_stream(
    client: Commands, src: str | bytes, descriptor: int, progress: Progress | None
) -> dict[str, Any]:
    """Get a file and write it to a stream; raises OSError, ClientError and the server's errors."""
    writer = PipeWriter(descriptor)
    return await _Getting(client, src, None, follow=True).attempt(writer, 0, progress or _quiet)


class _Differs(ClientError):
    """The content has another digest than the server's."""


class _TooLong(ClientError):
    """The server sends more than it announced."""


def _noticed(stall: asyncio.Timeout, progress: Progress | None) -> Progress:
    """Return a callback that tells the progress and begins the time without progress anew."""

    def notice(done: int, size: int) -> None:
        stall.reschedule(asyncio.get_running_loop().time() + LIMITS.transfer_seconds)
        if progress is not None:
            progress(done, size)

    return notice


def stalled() -> ClientTimeout:
    """Return the error of a transfer that makes no progress."""
    return ClientTimeout(f"the transfer made no progress for {LIMITS.transfer_seconds:g} s")


async def _with_retries(client: Commands, attempt: Callable[[asyncio.Timeout], Any]) -> dict[str, Any]:
    """Repeat an attempt whose connection broke; each continues where the last one ended.

    Raises ClientTimeout if an attempt makes no progress; the attempt gets that time limit.
    """
    for number in range(_ATTEMPTS):
        try:
            async with asyncio.timeout(LIMITS.transfer_seconds) as stall:
                result: dict[str, Any] = await attempt(stall)
        except TimeoutError:
            if not stall.expired():
                raise
            raise stalled() from None
        except NotConnected:
            if number + 1 == _ATTEMPTS or not await client.heartbeat(_RECONNECT_SECONDS):
                raise
        else:
            return result
    raise NotConnected(f"the connection was lost {_ATTEMPTS} times")


class _Sending:
    """The transfer of one file or stream to a server, in one or more attempts."""

    def __init__(self, client: Commands, dest: str | bytes, size: int, options: dict[str, Any]) -> None:
        self._client = client
        self._size = size
        self.resumed = False
        self._modern = client.takes("put", "open_end")
        if self._modern:
            options = options | {"open_end": True}
        else:  # a server of an earlier release
            options = {name: value for name, value in options.items() if name == "mode"}
        self._arguments = {**path_arguments(dest), "size": size, "transfer": uuid4().hex, **options}

    async def attempt(self, content: Content, progress: Progress) -> dict[str, Any]:
        """Send what the server does not have yet, and return its answer."""
        listener = self._client.start("put", **self._arguments)
        try:
            resume_at = int((await _answer(listener))["offset"])
            self.resumed = resume_at > 0
            async with aclosing(content.parts(resume_at)) as parts:
                async for offset, part in parts:
                    await listener.write(part)
                    progress(offset + len(part), self._size)
            if content.size < resume_at and not self._modern:
                raise ClientError("the server already has more bytes than the file has here; was it cut off meanwhile?")
            await listener.write(content.sha256)
            listener.end_input()
        except NotConnected:
            if listener.ended is None:
                raise
        except BaseException:
            listener.cancel()
            raise
        return await _answer(listener, last=True)


async def _answer(listener: Listener, *, last: bool = False) -> dict[str, Any]:
    """Return the next message, or the `last` one; raises the error that the server sent instead."""
    found: dict[str, Any] | None = None
    async for message in listener:
        if isinstance(message, BaseException):
            raise message
        found = message
        if not last:
            break
    if found is None:
        raise ClientError("the server ended the transfer without an answer")
    return found


class _Getting:
    """The transfer of one file from a server, in one or more attempts."""

    def __init__(self, client: Commands, src: str | bytes, max_bytes: int | None, *, follow: bool) -> None:
        self._client = client
        self._shown = os.fsencode(src).decode(errors="replace")
        self._max_bytes = max_bytes
        self._arguments = path_arguments(src)
        if not follow and client.takes("get", "follow"):
            self._arguments["follow"] = False

    async def attempt(self, receiver: ContentReceiver, offset: int, progress: Progress) -> dict[str, Any]:
        """Get the content from `offset` on and return the server's last message, which has the digest and the mode."""
        listener = self._client.start("get", **self._arguments, offset=offset, binary=True)
        result: Any = None
        try:
            async for message in listener:
                if isinstance(message, BaseException):
                    raise message
                if not isinstance(message, bytes):
                    result = message
                    continue
                offset += len(message)
                if self._max_bytes is not None and offset > self._max_bytes:
                    raise _TooLong(f"the server sends more bytes of {self._shown} than it announced")
                await receiver.write(message)
                progress(offset, 0)
        except BaseException:
            listener.cancel()
            raise
        finally:
            await receiver.flush()
        if not isinstance(result, dict) or result.get("sha256") != receiver.sha256.hex():
            raise _Differs(
                f"{self._shown} came with another SHA-256 than the server's; it may have changed. Get it again."
            )
        mode = result.get("mode")
        if type(mode) is not int or mode < 0:
            raise ClientError(f"the server sent no mode of {self._shown}")
        return dict(result)
