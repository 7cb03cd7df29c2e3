"""Packs the folder of a program and uploads it to a service; for several machines it is packed once."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from smartmob.cli import printing
from smartmob.cli.on_nodes import SHARED
from smartmob.client.http import RestClient
from smartmob.client.source_archive import SourceArchive, source_archive
from smartmob.counts import counted
from smartmob.errors import InvalidInput

_CHUNK_BYTES = 256 * 1024


async def upload(rest: RestClient, folder: Path, *, for_command: bool = False) -> str:
    """Pack and upload a folder; return its address for the service.

    For a command it needs no Procfile, and nothing is said except on a terminal.
    """
    async with _shared(folder, needs_procfile=not for_command) as archive:
        with printing.transfer() as bar:
            task = bar.add_task("Uploading", total=archive.size)

            async def chunks() -> AsyncIterator[bytes]:
                with archive.path.open("rb") as file:
                    while chunk := file.read(_CHUNK_BYTES):
                        yield chunk
                        bar.advance(task, len(chunk))

            stored = await rest.upload("/upload-archive", chunks(), archive.size)
        files = counted(archive.files, "file")
        if not for_command or sys.stderr.isatty():
            printing.say(f"Uploaded {files}, {printing.size(archive.size)} packed")
    return str(stored["source_url"])


@asynccontextmanager
async def _shared(folder: Path, *, needs_procfile: bool) -> AsyncIterator[SourceArchive]:
    """Pack a folder, for several machines only once."""
    shared = SHARED.get()
    if shared is None:
        async with _packed(folder, needs_procfile=needs_procfile) as archive:
            yield archive
    else:
        yield await shared.once(
            "archive", lambda stack: stack.enter_async_context(_packed(folder, needs_procfile=needs_procfile))
        )


@asynccontextmanager
async def _packed(folder: Path, *, needs_procfile: bool) -> AsyncIterator[SourceArchive]:
    """Pack in a thread, which CTRL-C stops."""
    cancelled = threading.Event()

    with printing.transfer() as bar:
        task = bar.add_task("Packing", total=None)

        def progress(done: int, total: int) -> None:
            if cancelled.is_set():
                raise InvalidInput("cancelled")
            bar.update(task, completed=done, total=total)

        packing = source_archive(folder, progress, needs_procfile=needs_procfile)
        try:
            archive = await asyncio.to_thread(packing.__enter__)
        except asyncio.CancelledError:
            cancelled.set()
            raise
    try:
        yield archive
    finally:
        packing.__exit__(None, None, None)
