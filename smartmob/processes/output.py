"""The output of one process: a bounded ring of the newest chunks, and WebSocket frames for the viewers.

Without viewers a chunk goes into the ring as it is, and its lines are not searched. With viewers it is split into lines
and framed once, and all viewers get the same bytes: a server's frames are not masked (RFC 6455, section 5.1) and,
without compression, do not depend on the connection.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Protocol

from smartmob.processes.protocol import LONGEST_LINE, NOTE, encode_lines

_COALESCED_BYTES = 4096
"""A chunk is appended to the one before it while that has fewer bytes."""
_REST_OF_LINE = re.compile(rb"[^\n]*\n?")


class OutputViewer(Protocol):
    """A client that watches the output. Both methods return at once."""

    notes: bool
    """Whether the viewer also gets the lines about the process itself."""

    def deliver(self, frames: bytes, lines: int) -> None:
        """Send whole frames that contain `lines` lines."""

    def end(self, code: int) -> None:
        """Close the connection with the close code of a WebSocket."""


class ProcessOutput:
    """The output of one process and the notes about it. The newest `limit` bytes are kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ring: deque[tuple[bool, bytes]] = deque()  # (whether it is a note, the bytes)
        self._size = 0
        self._clipped = False
        self._viewers: set[OutputViewer] = set()
        self._partial = bytearray()
        self._closed: int | None = None

    @property
    def viewers(self) -> int:
        """Return the number of viewers."""
        return len(self._viewers)

    def write(self, chunk: bytes) -> None:
        """Add a chunk of output of any size."""
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
        """Complete a last line without a line end; call it when the process has ended."""
        if self._ring and not self._ring[-1][0] and not self._ring[-1][1].endswith(b"\n"):
            self._keep(False, b"\n")
        if self._partial:
            self._deliver(*encode_lines(bytes(self._partial)))
            self._partial.clear()

    def note(self, text: str) -> None:
        """Add a line about the process itself."""
        line = NOTE + text.encode()
        self._keep(True, line)
        frames, count = encode_lines(line)
        for viewer in tuple(self._viewers):
            if viewer.notes:
                viewer.deliver(frames, count)

    def attach(self, viewer: OutputViewer, tail: int) -> None:
        """Deliver the last `tail` lines to the viewer, and then all new ones."""
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
        """Deliver nothing more to the viewer."""
        self._viewers.discard(viewer)
        if not self._viewers:
            self._partial.clear()

    def tail(self, count: int) -> list[str]:
        """Return the last `count` lines of output, without notes, as text."""
        lines, partial = self._lines(notes=False)
        lines += [partial] if partial else []
        return [line.decode(errors="replace") for line in lines[-count:]] if count > 0 else []

    def close(self, code: int) -> None:
        """Disconnect all viewers, those to come included, with the close code of a WebSocket."""
        self._closed = code
        for viewer in tuple(self._viewers):
            viewer.end(code)
        self._viewers.clear()

    def _deliver(self, frames: bytes, count: int) -> None:
        for viewer in tuple(self._viewers):
            viewer.deliver(frames, count)

    def _keep(self, note: bool, chunk: bytes) -> None:
        ring = self._ring
        if ring and not note and not ring[-1][0] and len(ring[-1][1]) < _COALESCED_BYTES:
            # Saves memory when a program writes byte by byte: not one object for each.
            ring[-1] = (False, ring[-1][1] + chunk)
        else:
            ring.append((note, chunk))
        self._size += len(chunk)
        while len(ring) > 1 and self._size - len(ring[0][1]) >= self._limit:
            self._size -= len(ring.popleft()[1])
            self._clipped = True

    def _lines(self, notes: bool) -> tuple[list[bytes], bytes]:
        """Return the complete lines in the ring, with or without notes, and the incomplete line after them."""
        lines: list[bytes] = []
        partial = b""
        clipped = self._clipped
        for note, chunk in self._ring:
            if note:
                lines += [chunk] if notes else []
                continue
            if clipped:
                # The beginning of this line was dropped from the ring: skip the rest of it.
                found = _REST_OF_LINE.match(chunk)
                chunk = chunk[found.end() :] if found else chunk
                clipped = not (found and found[0].endswith(b"\n"))
            *whole, partial = (partial + chunk).split(b"\n")
            lines += whole
        return lines, partial
