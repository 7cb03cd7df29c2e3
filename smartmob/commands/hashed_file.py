"""Files that go through a connection: read or written in a thread, with the SHA-256 of all that is in them.

Both ends of a transfer use it. The next part is read while the last one is on its way, and what has come is written
while more of it comes, so that the loop and the thread each have a processor of their own.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Callable
from io import BufferedRandom, BufferedReader

_PERMISSIONS = 0o777
_UMASK = "Umask:"

PART_BYTES = 1024 * 1024
"""How much is read, and how much is held to be written, at a time."""


def mode_of(mode: int) -> int:
    """Return the mode of a file that has come, of the one it had: no setuid, setgid or sticky bit, and by the umask."""
    return mode & _PERMISSIONS & ~_umask()


def _umask() -> int:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next(int(line.removeprefix(_UMASK), 8) for line in file if line.startswith(_UMASK))
    except (OSError, StopIteration):
        # It can only be read by setting it; what another thread makes meanwhile is closed to others.
        found = os.umask(0o077)
        os.umask(found)
        return found


class Reader:
    """Reads an open file from its beginning to its end, a part ahead."""

    def __init__(self, file: BufferedReader | BufferedRandom) -> None:
        self.size = 0
        self.digest = hashlib.sha256()
        self._file = file

    @property
    def sha256(self) -> bytes:
        """Return the digest of what was read so far."""
        return self.digest.digest()

    async def parts(self, offset: int = 0) -> AsyncGenerator[tuple[int, memoryview]]:
        """Yield what is in the file from `offset` on, in parts with their places; the digest is of the whole file.

        A part is good until the next one is asked for: it is read into the same memory again.
        """
        buffers = memoryview(bytearray(PART_BYTES)), memoryview(bytearray(PART_BYTES))
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(None, self._read, buffers[0])
        try:
            while size := await asyncio.shield(reading):
                part, buffers = buffers[0][:size], buffers[::-1]
                reading = loop.run_in_executor(None, self._read, buffers[0])
                place, self.size = self.size, self.size + size
                if self.size > offset:
                    missing = max(offset - place, 0)
                    yield place + missing, part[missing:]
        finally:
            await asyncio.wait({reading})  # who closes the file must not take it from the thread

    def _read(self, buffer: memoryview) -> int:
        size = self._file.readinto(buffer)
        self.digest.update(buffer[:size])
        return size


class Writer:
    """Adds what comes to the end of an open file. `flush` it before the file is closed, whatever happened.

    `allow` is told, in the thread, of each number of bytes before they are written; it raises OSError to stop that.
    """

    def __init__(self, file: BufferedRandom, allow: Callable[[int], None] = lambda _: None) -> None:
        self._file = file
        self._allow = allow
        self._digest = hashlib.sha256()
        self._held: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Future[None] | None = None

    @property
    def sha256(self) -> bytes:
        """Return the digest of what is in the file."""
        return self._digest.digest()

    async def resume(self) -> int:
        """Digest what is in the file already, of an attempt that was cut off; return how much that is."""
        self._file.seek(0)
        reader = Reader(self._file)
        async for _ in reader.parts():
            pass
        self._digest = reader.digest
        return reader.size

    async def write(self, data: bytes) -> None:
        """Take `data`; returns when there is room for more. Raises OSError, perhaps of data that came before."""
        self._held.append(data)
        self._size += len(data)
        if self._size >= PART_BYTES or (self._writing is not None and self._writing.done()):
            await self._wait()
        if self._writing is None:
            self._begin()

    async def flush(self) -> None:
        """Return when all is in the file; raises OSError when it cannot be."""
        await self._wait()
        if self._held:
            self._begin()
            await self._wait()

    def _begin(self) -> None:
        held, self._held, self._size = self._held, [], 0
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._write, held)

    async def _wait(self) -> None:
        writing = self._writing
        if writing is None:
            return
        try:
            # Who waits may be cancelled, the thread goes on.
            await asyncio.shield(writing)
        except OSError:
            self._held, self._size = [], 0  # what comes behind a hole is of no use
            raise
        finally:
            if writing.done():
                self._writing = None

    def _write(self, held: list[bytes]) -> None:
        for data in held:
            self._allow(len(data))
            self._file.write(data)
            self._digest.update(data)
