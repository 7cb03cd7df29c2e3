"""The output of one process: a bounded ring of what it wrote, and the frames for those who look on.

Without viewers a chunk is put into the ring as it came and is never looked at. With viewers it is split into lines
once and framed once, and every viewer gets the same bytes (RFC 6455: a server's frames are not masked, and without
compression they know nothing of the connection).
"""

from __future__ import annotations

import re
from collections import deque
from typing import Protocol

from smartmob.processes.protocol import LONGEST_LINE, NOTE, encode_lines

_COALESCED = 4096
_CLIPPED = re.compile(rb"[^\n]*\n?")


class OutputViewer(Protocol):
    """Somebody who looks on. Both methods return at once."""

    notes: bool
    """Whether it wants the lines about the process itself, too."""

    def deliver(self, frames: bytes, lines: int) -> None:
        """Take whole frames with so many lines."""

    def end(self, code: int) -> None:
        """Take note that nothing follows; `code` is the WebSocket's close code."""


class ProcessOutput:
    """What one process writes. `limit` is how many bytes are kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ring: deque[tuple[bool, bytes]] = deque()
        self._size = 0
        self._clipped = False
        self._viewers: set[OutputViewer] = set()
        self._partial = bytearray()
        self._closed: int | None = None

    @property
    def viewers(self) -> int:
        """Return how many look on."""
        return len(self._viewers)

    def write(self, chunk: bytes) -> None:
        """Take what the process wrote, of whatever size."""
        self._keep(False, chunk)
        if not self._viewers:
            return
        end = chunk.rfind(b"\n")
        if end < 0:
            self._partial += chunk
            if len(self._partial) > LONGEST_LINE:
                self._deliver(*encode_lines(bytes(self._partial)))
                self._partial.clear()
            return
        self._deliver(*encode_lines(bytes(self._partial) + chunk[:end]))
        self._partial[:] = chunk[end + 1 :]

    def end_line(self) -> None:
        """Deliver a last line that has no end; the process has ended."""
        if self._ring and not self._ring[-1][0] and not self._ring[-1][1].endswith(b"\n"):
            self._keep(False, b"\n")
        if self._partial:
            self._deliver(*encode_lines(bytes(self._partial)))
            self._partial.clear()

    def note(self, text: str) -> None:
        """Take a line about the process itself."""
        line = NOTE + text.encode()
        self._keep(True, line)
        frames, count = encode_lines(line)
        for viewer in tuple(self._viewers):
            if viewer.notes:
                viewer.deliver(frames, count)

    def attach(self, viewer: OutputViewer, tail: int) -> None:
        """Deliver the last `tail` lines, and then everything that comes."""
        lines, partial = self._lines(viewer.notes)
        if tail > 0 and lines:
            viewer.deliver(*encode_lines(b"\n".join(lines[-tail:])))
        if not self._viewers:
            self._partial[:] = partial
        if self._closed is None:
            self._viewers.add(viewer)
        else:
            viewer.end(self._closed)

    def detach(self, viewer: OutputViewer) -> None:
        """Deliver nothing more."""
        self._viewers.discard(viewer)
        if not self._viewers:
            self._partial.clear()

    def tail(self, count: int) -> list[str]:
        """Return the last lines of the process itself, as text."""
        lines, partial = self._lines(notes=False)
        lines += [partial] if partial else []
        return [line.decode(errors="replace") for line in lines[-count:]] if count > 0 else []

    def close(self, code: int) -> None:
        """End it for all viewers, with the WebSocket's close code."""
        self._closed = code
        for viewer in tuple(self._viewers):
            viewer.end(code)
        self._viewers.clear()

    def _deliver(self, frames: bytes, count: int) -> None:
        for viewer in tuple(self._viewers):
            viewer.deliver(frames, count)

    def _keep(self, note: bool, chunk: bytes) -> None:
        ring = self._ring
        if ring and not note and not ring[-1][0] and len(ring[-1][1]) < _COALESCED:
            # A program that writes byte by byte must not cost an object for each.
            ring[-1] = (False, ring[-1][1] + chunk)
        else:
            ring.append((note, chunk))
        self._size += len(chunk)
        while len(ring) > 1 and self._size - len(ring[0][1]) >= self._limit:
            self._size -= len(ring.popleft()[1])
            self._clipped = True

    def _lines(self, notes: bool) -> tuple[list[bytes], bytes]:
        """Return the complete lines of the ring, and what follows the last of them."""
        lines: list[bytes] = []
        partial = b""
        clipped = self._clipped
        for note, chunk in self._ring:
            if note:
                lines += [chunk] if notes else []
                continue
            if clipped:
                # The beginning of this line is gone; half a line would be taken for a whole one.
                found = _CLIPPED.match(chunk)
                chunk = chunk[found.end() :] if found else chunk
                clipped = not (found and found[0].endswith(b"\n"))
            *whole, partial = (partial + chunk).split(b"\n")
            lines += whole
        return lines, partial
