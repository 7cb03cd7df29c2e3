"""Files that are sent and received: read or written in a thread, with the SHA-256 of the whole content.

Both ends of a transfer use it. The next part is read while the last one is being sent, and received data is written
while more of it arrives, so that the event loop and the thread can each use a processor.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncGenerator, Callable
from io import BufferedRandom, BufferedReader, BufferedWriter
from pathlib import Path

_PERMISSIONS = 0o777  # bits of a mode: read, write and execute, see chmod(2)
_umask_of_files = -1  # the umask of `use_umask`
_UMASK = "Umask:"  # a line of /proc/self/status, see proc(5)

PART_BYTES = 1024 * 1024
"""Bytes that are read at a time, and bytes of received data that are held before they are written."""


def mode_of(mode: int) -> int:
    """Return the mode for a received file: the original's mode without setuid, setgid, sticky bit and umask.

    The umask is that of `use_umask`, or else that of this process.
    """
    return mode & _PERMISSIONS & ~(_umask() if _umask_of_files < 0 else _umask_of_files)


def use_umask(umask: int) -> None:
    """Use this umask for files that are received from now on; -1 means that of this process.

    A service passes the umask with which it was started, as for its programs; its present umask keeps its files
    private.
    """
    global _umask_of_files
    _umask_of_files = umask


def make_folders(path: Path) -> None:
    """Create a folder and those above it that do not exist, with modes as `mode_of` has them; raises OSError."""
    missing = []
    for folder in (path, *path.parents):
        if folder.exists():
            break
        missing.append(folder)
    for folder in reversed(missing):
        try:
            folder.mkdir()
        except FileExistsError:
            if not folder.is_dir():
                raise
        else:
            folder.chmod(mode_of(_PERMISSIONS))


def _umask() -> int:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next(int(line.removeprefix(_UMASK), 8) for line in file if line.startswith(_UMASK))
    except (OSError, StopIteration):
        # Without /proc, the umask can only be read by setting it; files that another thread makes meanwhile are
        # private.
        found = os.umask(0o077)
        os.umask(found)
        return found


class FileReader:
    """Reads an open file from its beginning to its end, one part ahead."""

    def __init__(self, file: BufferedReader | BufferedRandom) -> None:
        self.size = 0
        self.digest = hashlib.sha256()
        self._file = file

    @property
    def sha256(self) -> bytes:
        """Return the digest of the bytes that were read so far."""
        return self.digest.digest()

    async def parts(self, offset: int = 0) -> AsyncGenerator[tuple[int, memoryview]]:
        """Yield the content from `offset` on, in parts with their offsets; the digest covers the whole file.

        A part is valid only until the next one is requested, because its memory is reused.
        """
        buffers = memoryview(bytearray(PART_BYTES)), memoryview(bytearray(PART_BYTES))
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(None, self._read, buffers[0])
        try:
            while size := await asyncio.shield(reading):
                part, buffers = buffers[0][:size], buffers[::-1]
                reading = loop.run_in_executor(None, self._read, buffers[0])
                start, self.size = self.size, self.size + size
                if self.size > offset:
                    skipped = max(offset - start, 0)
                    yield start + skipped, part[skipped:]
        finally:
            await asyncio.wait({reading})  # the caller closes the file next, so the thread must be done with it

    def _read(self, buffer: memoryview) -> int:
        size: int | None = self._file.readinto(buffer)
        if size is None:  # such as /proc/kmsg, whose content comes later
            raise BlockingIOError(errno.EAGAIN, "it has nothing to read now")
        self.digest.update(buffer[:size])
        return size


class Writer:
    """Appends received data to an open file. Await `flush` before the file is closed, even after an error.

    `allow` is called in the thread with the number of bytes before they are written; it raises OSError to refuse them.
    `name` is the file in the errors of a write.
    """

    def __init__(
        self, file: BufferedRandom | BufferedWriter, name: str, allow: Callable[[int], None] = lambda _: None
    ) -> None:
        self._file = file
        self._name = name
        self._allow = allow
        self._digest = hashlib.sha256()
        self._held: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Future[None] | None = None

    @property
    def sha256(self) -> bytes:
        """Return the digest of the content of the file."""
        return self._digest.digest()

    async def resume(self) -> int:
        """Add the content that an interrupted attempt has left to the digest; return its size in bytes."""
        assert isinstance(self._file, BufferedRandom)
        self._file.seek(0)
        reader = FileReader(self._file)
        async for _ in reader.parts():
            pass
        self._digest = reader.digest
        return reader.size

    async def write(self, data: bytes) -> None:
        """Accept `data`, and wait while too much is held. Raises OSError, also for earlier data."""
        self._held.append(data)
        self._size += len(data)
        if self._size >= PART_BYTES or (self._writing is not None and self._writing.done()):
            await self._wait()
        if self._writing is None:
            self._begin()

    async def flush(self) -> None:
        """Wait until all data is in the file; raises OSError when it cannot be written."""
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
            # The waiting task may be cancelled; the thread goes on.
            await asyncio.shield(writing)
        except OSError:
            self._held, self._size = [], 0  # data after a hole is useless
            raise
        finally:
            if writing.done():
                self._writing = None

    def _write(self, held: list[bytes]) -> None:
        try:
            for data in held:
                self._allow(len(data))
                self._file.write(data)
                self._digest.update(data)
        except OSError as error:
            error.filename = self._name if error.filename is None else error.filename
            raise
