"""A file to which lines are appended, and which is rewritten from time to time without its obsolete lines.

`append` returns when its lines survive the loss of power. A line that a crash has cut off is the last one; it was not
acknowledged, and is removed when the file is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from smartmob.errors import StartupError


class JournalFile:
    """The file at `path`, without locking: the data directory belongs to one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        """Bytes that are written and synchronised."""
        self._descriptor = -1

    def open(self) -> list[bytes]:
        """Open the file, which is created if it is missing, and return its lines without line ends.

        A last line without an end is removed. Raises StartupError.
        """
        try:
            self.path.with_name(f"{self.path.name}.new").unlink(missing_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with open(self._descriptor, "rb", closefd=False) as file:
                content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.ftruncate(self._descriptor, whole)
            os.fsync(self._descriptor)
            self._sync_folder()
        except OSError as error:
            raise StartupError(
                f"the journal {self.path} cannot be used: {error.strerror}. Name another folder with --state-dir."
            ) from None
        self.size = whole
        return content[:whole].split(b"\n")[:-1]

    def append(self, lines: Sequence[bytes]) -> None:
        """Append lines, which have no line ends, and wait until they are on the disk.

        If it raises OSError, none of the lines is in the file. If removing them failed as well, the next `append`
        removes them before it writes.
        """
        if os.fstat(self._descriptor).st_size != self.size:
            os.ftruncate(self._descriptor, self.size)
        data = b"".join(line + b"\n" for line in lines)
        try:
            self._write(self._descriptor, data)
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Replace the content of the file by these lines at once; if it raises OSError, the old content stays."""
        new = self.path.with_name(f"{self.path.name}.new")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(new, flags, 0o600)
        try:
            data = b"".join(line + b"\n" for line in lines)
            self._write(descriptor, data)
            os.fsync(descriptor)
            os.replace(new, self.path)
        except OSError:
            os.close(descriptor)
            new.unlink(missing_ok=True)
            raise
        os.close(self._descriptor)
        self._descriptor, self.size = descriptor, len(data)
        self._sync_folder()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _sync_folder(self) -> None:
        """Make a new or replaced name survive the loss of power."""
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @staticmethod
    def _write(descriptor: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
