"""Files to and from a service, as streams of bytes that are checked by SHA-256 and go on where they were cut off."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

from smartmob.client.failures import ClientError, NotConnected

if TYPE_CHECKING:
    from smartmob.client.lab import Lab, Listener

Progress = Callable[[int, int], None]
"""Told of how many bytes of how many are done."""

_CHUNK = 1024 * 1024
_ATTEMPTS = 5
_PART = ".smartmob-part"


async def upload(lab: Lab, src: Path, dest: str, progress: Progress | None) -> dict[str, Any]:
    """Send a file; raises OSError, NotConnected and what the server raises."""
    folder = os.path.dirname(dest)
    if folder:
        await lab.run("mkdirs", folder, exist_ok=True, raise_error=True)
    transfer = uuid4().hex
    return await _again(lab, lambda: _upload(lab, (src, dest), transfer, progress))


async def download(lab: Lab, src: str, dest: Path, progress: Progress | None) -> dict[str, Any]:
    """Get a file; raises OSError, NotConnected and what the server raises."""
    await asyncio.to_thread(dest.parent.mkdir, parents=True, exist_ok=True)
    return await _again(lab, lambda: _download(lab, src, dest, progress))


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
    digest = hashlib.sha256()
    with src.open("rb") as file:
        status = os.fstat(file.fileno())
        listener = lab.start("put", dest, status.st_size, mode=stat.S_IMODE(status.st_mode), transfer=transfer)
        try:
            first = await _answer(listener)
            there = int(first["offset"])
            await asyncio.to_thread(_digest_prefix, file, there, digest)
            reading = _read(file, digest)
            while piece := await reading:
                # The next piece is read and digested while this one is on its way.
                reading = _read(file, digest)
                await listener.write(piece)
                there += len(piece)
                if progress is not None:
                    progress(there, status.st_size)
            await listener.write(digest.digest())
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


def _read(file: BinaryIO, digest: Any) -> asyncio.Future[bytes]:
    def read() -> bytes:
        piece = file.read(_CHUNK)
        digest.update(piece)
        return piece

    return asyncio.get_running_loop().run_in_executor(None, read)


def _digest_prefix(file: BinaryIO, size: int, digest: Any) -> None:
    while size:
        piece = file.read(min(size, _CHUNK))
        if not piece:
            raise ClientError("the server has more of the file than there is; was it cut off meanwhile?")
        digest.update(piece)
        size -= len(piece)


async def _download(lab: Lab, src: str, dest: Path, progress: Progress | None) -> dict[str, Any]:
    part = dest.with_name(dest.name + _PART)
    digest = hashlib.sha256()
    result: Any = None
    with part.open("a+b") as file:
        there = file.tell()
        file.seek(0)
        await asyncio.to_thread(_digest_prefix, file, there, digest)
        listener = lab.start("get", src, there, binary=True)
        async for message in listener:
            if isinstance(message, BaseException):
                raise message
            if isinstance(message, dict):
                result = message
                continue
            await asyncio.to_thread(_write, file, digest, message)
            there += len(message)
            if progress is not None:
                progress(there, 0)
    if result is None or result["sha256"] != digest.hexdigest():
        part.unlink()
        raise ClientError(f"{src} came with another SHA-256 than the server's; it may have changed. Get it again.")
    part.chmod(result["mode"])
    part.replace(dest)
    return dict(result)


def _write(file: BinaryIO, digest: Any, data: bytes) -> None:
    file.write(data)
    digest.update(data)
