"""Pipes and devices as streams of a transfer, read and written without blocking the event loop."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator

from smartmob.client.streams import READ_BYTES, ready, write_all


class StreamPipeReader:
    """Reads a stream to its end; `offset` is not possible, because what was read is gone."""

    def __init__(self, descriptor: int) -> None:
        self.size = 0
        self._descriptor = descriptor
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> bytes:
        """Return the digest of the bytes that were read so far."""
        return self._digest.digest()

    async def parts(self, offset: int = 0) -> AsyncGenerator[tuple[int, bytes]]:
        """Yield the content, in parts with their offsets."""
        assert offset == 0
        while True:
            await ready(self._descriptor, write=False)
            try:
                data = os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:
                continue
            if not data:
                return
            self._digest.update(data)
            start, self.size = self.size, self.size + len(data)
            yield start, data


class PipeWriter:
    """Writes received content to a stream."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> bytes:
        """Return the digest of the bytes that were written."""
        return self._digest.digest()

    async def write(self, data: bytes) -> None:
        """Write `data`; raises OSError."""
        await write_all(self._descriptor, data)
        self._digest.update(data)

    async def flush(self) -> None:
        """Do nothing: all data is written at once."""
