"""Files to and from a service, as streams of bytes that are checked by SHA-256 and go on where they were cut off."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from smartmob.client import safe_paths
from smartmob.client.failures import ClientError, NotConnected
from smartmob.client.safe_paths import SafePath
from smartmob.commands.hashed_file import Reader, Writer, mode_of

if TYPE_CHECKING:
    from smartmob.client.lab import Lab, Listener

Progress = Callable[[int, int], None]
"""Told of how many bytes of how many are done."""

_ATTEMPTS = 5
_PERMISSIONS = 0o777
_GROWN = 64 * 1024 * 1024
"""By how much a file may have grown since its size was told."""


async def upload(lab: Lab, src: Path, dest: str, progress: Progress | None) -> dict[str, Any]:
    """Send a file; raises OSError, NotConnected and what the server raises."""
    folder = os.path.dirname(dest)
    if folder:
        await lab.run("mkdirs", folder, exist_ok=True, raise_error=True)
    transfer = uuid4().hex
    return await _again(lab, lambda: _upload(lab, (src, dest), transfer, progress))


async def download(
    lab: Lab, src: str, dest: SafePath, progress: Progress | None, size: int | None = None
) -> dict[str, Any]:
    """Get a file, which is about `size` bytes long; raises OSError, ClientError and what the server raises."""
    most = None if size is None else size + _GROWN
    return await _again(lab, lambda: _download(lab, (src, dest), most, progress))


async def _again(lab: Lab, attempt: Callable[[], Any]) -> dict[str, Any]:
    """Repeat an attempt whose connection broke; it goes on where the last one ended."""
    for number in range(_ATTEMPTS):
        try:
            result: dict[str, Any] = await attempt()
        except NotConnected:
            if number + 1 == _ATTEMPTS or not await lab.heartbeat(30.0):
                raise
        else:
            return result
    raise NotConnected("the connection broke again and again")


async def _upload(lab: Lab, way: tuple[Path, str], transfer: str, progress: Progress | None) -> dict[str, Any]:
    src, dest = way
    with src.open("rb") as file:
        status = os.fstat(file.fileno())
        listener = lab.start("put", dest, status.st_size, mode=status.st_mode & _PERMISSIONS, transfer=transfer)
        try:
            there = int((await _answer(listener))["offset"])
            reader = Reader(file)
            async with aclosing(reader.parts(there)) as parts:
                async for place, part in parts:
                    await listener.write(part)
                    if progress is not None:
                        progress(place + len(part), status.st_size)
            if reader.size < there:
                raise ClientError("the server has more of the file than there is; was it cut off meanwhile?")
            await listener.write(reader.sha256)
            listener.end_input()
        except NotConnected:
            if listener.ended is None:
                raise
        return await _answer(listener, last=True)


async def _answer(listener: Listener, *, last: bool = False) -> dict[str, Any]:
    """Return the next message; raises what the server raised instead."""
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


async def _download(lab: Lab, way: tuple[str, SafePath], most: int | None, progress: Progress | None) -> dict[str, Any]:
    src, dest = way
    opening = safe_paths.opened(dest)
    opened = await asyncio.to_thread(opening.__enter__)
    try:
        writer = Writer(opened.file)
        there = await writer.resume()
        listener = lab.start("get", src, there, binary=True)
        result: Any = None
        try:
            async for message in listener:
                if isinstance(message, BaseException):
                    raise message
                if not isinstance(message, bytes):
                    result = message
                    continue
                there += len(message)
                if most is not None and there > most:
                    listener.cancel()
                    opened.remove()
                    raise ClientError(f"the server sends more of {src} than it has announced")
                await writer.write(message)
                if progress is not None:
                    progress(there, 0)
        finally:
            await writer.flush()
        if not isinstance(result, dict) or result.get("sha256") != writer.sha256.hex():
            opened.remove()
            raise ClientError(f"{src} came with another SHA-256 than the server's; it may have changed. Get it again.")
        mode = result.get("mode")
        if type(mode) is not int or mode < 0:
            raise ClientError(f"the server names no mode of {src}")
        opened.finish(mode_of(mode))
    finally:
        opening.__exit__(None, None, None)
    return dict(result)
