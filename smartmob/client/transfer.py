"""Transfers of files to and from a service.

A file is a stream of bytes that is checked by its SHA-256. A transfer that was cut off continues where it ended.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from smartmob.client import safe_paths
from smartmob.client.failures import ClientError, ClientTimeout, NotConnected
from smartmob.client.limits import LIMITS
from smartmob.client.listener import Listener
from smartmob.client.safe_paths import SafePath
from smartmob.commands.hashed_file import Reader, Writer, mode_of

Progress = Callable[[int, int], None]
"""A callback for the progress of a transfer: the bytes that are done, and all bytes."""

_ATTEMPTS = 5
"""Attempts of one transfer, counting the first."""
_RECONNECT_SECONDS = 30.0
_PERMISSIONS = 0o777
"""The bits of a file's mode that are sent: neither setuid, nor setgid, nor the sticky bit."""
_GROWTH_BYTES = 64 * 1024 * 1024
"""By how many bytes a file may have grown since the server told its size."""


class Commands(Protocol):
    """The calls of a CommandClient that a transfer needs."""

    async def run(self, name: str, *args: Any, raise_error: bool = False, **options: Any) -> Any:
        """Call a command, and return its messages."""

    def start(self, name: str, *args: Any, binary: bool = False, **kwargs: Any) -> Listener:
        """Call a command, and return its listener at once."""

    async def heartbeat(self, timeout: float | None = None) -> bool:
        """Return whether the server answers within `timeout` seconds."""


async def upload(client: Commands, src: Path, dest: str, progress: Progress | None) -> dict[str, Any]:
    """Send a file, and return its size and digest; raises OSError, NotConnected and the server's errors."""
    folder = os.path.dirname(dest)
    if folder:
        options = {"exist_ok": True, "raise_error": True}
        await client.run("mkdirs", folder, timeout=LIMITS.transfer_seconds, **options)
    transfer = uuid4().hex
    return await _with_retries(client, lambda stall: _upload(client, src, dest, transfer, _noticed(stall, progress)))


async def download(
    client: Commands, src: str, dest: SafePath, progress: Progress | None, size: int | None = None
) -> dict[str, Any]:
    """Get a file of about `size` bytes, and return its digest and mode.

    Raises OSError, ClientError and the server's errors.
    """
    max_bytes = None if size is None else size + _GROWTH_BYTES
    return await _with_retries(client, lambda stall: _download(client, src, dest, max_bytes, _noticed(stall, progress)))


def _noticed(stall: asyncio.Timeout, progress: Progress | None) -> Progress:
    """Return a callback that tells the progress and begins the time without progress anew."""

    def notice(done: int, size: int) -> None:
        stall.reschedule(asyncio.get_running_loop().time() + LIMITS.transfer_seconds)
        if progress is not None:
            progress(done, size)

    return notice


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
            raise ClientTimeout(f"the transfer made no progress for {LIMITS.transfer_seconds:g} s") from None
        except NotConnected:
            if number + 1 == _ATTEMPTS or not await client.heartbeat(_RECONNECT_SECONDS):
                raise
        else:
            return result
    raise NotConnected(f"the connection broke {_ATTEMPTS} times")


async def _upload(client: Commands, src: Path, dest: str, transfer: str, progress: Progress) -> dict[str, Any]:
    with src.open("rb") as file:
        status = os.fstat(file.fileno())
        listener = client.start("put", dest, status.st_size, mode=status.st_mode & _PERMISSIONS, transfer=transfer)
        try:
            resume_at = int((await _answer(listener))["offset"])
            reader = Reader(file)
            async with aclosing(reader.parts(resume_at)) as parts:
                async for offset, part in parts:
                    await listener.write(part)
                    progress(offset + len(part), status.st_size)
            if reader.size < resume_at:
                raise ClientError("the server already has more bytes than the file has here; was it cut off meanwhile?")
            await listener.write(reader.sha256)
            listener.end_input()
        except NotConnected:
            if listener.ended is None:
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


async def _download(
    client: Commands, src: str, dest: SafePath, max_bytes: int | None, progress: Progress
) -> dict[str, Any]:
    opening = safe_paths.partial_file(dest)
    part = await asyncio.to_thread(opening.__enter__)
    try:
        writer = Writer(part.file)
        offset = await writer.resume()
        listener = client.start("get", src, offset, binary=True)
        result: Any = None
        try:
            async for message in listener:
                if isinstance(message, BaseException):
                    raise message
                if not isinstance(message, bytes):
                    result = message
                    continue
                offset += len(message)
                if max_bytes is not None and offset > max_bytes:
                    listener.cancel()
                    part.remove()
                    raise ClientError(f"the server sends more bytes of {src} than it announced")
                await writer.write(message)
                progress(offset, 0)
        finally:
            await writer.flush()
        if not isinstance(result, dict) or result.get("sha256") != writer.sha256.hex():
            part.remove()
            raise ClientError(f"{src} came with another SHA-256 than the server's; it may have changed. Get it again.")
        mode = result.get("mode")
        if type(mode) is not int or mode < 0:
            raise ClientError(f"the server sent no mode of {src}")
        part.finish(mode_of(mode))
    finally:
        opening.__exit__(None, None, None)
    return dict(result)
