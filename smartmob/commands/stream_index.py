"""The bytes of a file of output that came from standard error.

They stand in a small file beside it. It has a record of 8 bytes, big-endian, for each change from one stream to the
other: twice the offset of the first byte of the new stream, plus 1 where that is standard error. Output begins with
standard output, so output of that stream alone has no such file.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

from smartmob.commands.model import STDERR, STDOUT

RECORD_BYTES = 8
_RECORD = struct.Struct(">Q")


class StreamIndex:
    """The changes of the stream in one file of output, kept in the file `path`, of which `size` bytes are valid."""

    def __init__(self, path: Path, size: int = 0) -> None:
        self.size = size - size % RECORD_BYTES
        self._path = path
        self._descriptor: int | None = None
        self._last = STDOUT

    def begin(self, offset: int, stream: int) -> bool:
        """Write that `stream` begins at an offset unless it goes on there; return whether it was written.

        Call `keep` when the output after it is stored, or `undo` when that has failed. Raises OSError.
        """
        if stream == self._last:
            return False
        os.pwrite(self._opened(), _RECORD.pack(2 * offset + (stream == STDERR)), self.size)
        return True

    def keep(self, stream: int) -> None:
        """Count the record that `begin` has written."""
        self.size += RECORD_BYTES
        self._last = stream

    def undo(self) -> None:
        """Remove the record that `begin` has written."""
        with suppress(OSError):
            os.ftruncate(self._opened(), self.size)

    def at(self, offset: int) -> tuple[int, int | None]:
        """Return the stream of the byte at an offset, and the offset of the next change, or None after the last."""
        first, behind = 0, self.size // RECORD_BYTES
        stream, following = STDOUT, None
        while first < behind:
            middle = (first + behind) // 2
            (record,) = _RECORD.unpack(os.pread(self._opened(), RECORD_BYTES, middle * RECORD_BYTES))
            if record // 2 <= offset:
                stream, first = STDERR if record % 2 else STDOUT, middle + 1
            else:
                following, behind = record // 2, middle
        return stream, following

    def close(self) -> None:
        """Close the file; it is opened again when it is used."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        """Close and remove the file."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _opened(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._descriptor
