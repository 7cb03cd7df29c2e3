"""The output of one process: a bounded ring of the newest chunks, and WebSocket frames for the viewers.

Without viewers a chunk goes into the ring as it is, and its lines are not searched. With viewers it is split into lines
and framed once, and all viewers get the same bytes: a server's frames are not masked (RFC 6455, section 5.1) and,
without compression, do not depend on the connection.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

from smartmob.processes.protocol import LONGEST_LINE, NOTE, encode_lines, encode_pieces, whole_characters

_COALESCED_BYTES = 4096
"""A chunk is appended to the one before it while that has fewer bytes."""
Later: TypeAlias = Callable[[float, Callable[[], None]], object]
QUIET_SECONDS = 0.05
"""Longest delay of a line that is not complete; a prompt is to be seen within 0.1 seconds."""
_REST_OF_LINE = re.compile(rb"[^\n]*\n?")


class OutputViewer(Protocol):
    """A client that watches the output. Both methods return at once."""

    notes: bool
    """Whether the viewer also gets the lines about the process itself."""
    partial: bool
    """Whether the viewer gets text as it is written: frames keep their line ends, and a line may come in several."""

    def deliver(self, frames: bytes, lines: int) -> None:
        """Send whole frames that contain `lines` lines."""

    def end(self, code: int) -> None:
        """Close the connection with the close code of a WebSocket."""


class ProcessOutput:
    """The output of one process and the notes about it. The newest `limit` bytes are kept.

    `later` calls a function after a number of seconds; without it, lines are delivered only when they are complete.
    """

    def __init__(self, limit: int, later: Later | None = None) -> None:
        self._limit = limit
        self._ring: deque[tuple[bool, bytes]] = deque()  # (whether it is a note, the bytes)
        self._size = 0
        self._clipped = False
        self._viewers: set[OutputViewer] = set()
        self._partial = bytearray()
        self._shown = 0  # bytes of _partial that viewers of partial lines have
        self._later = later
        self._waiting = False  # for _show_partial to be called
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
                size = whole_characters(bytes(self._partial))
                self._deliver(bytes(self._partial[:size]), b"")
                del self._partial[:size]
            self._show_partial_soon()
            return
        self._deliver(bytes(self._partial) + chunk[:end], b"\n")
        self._partial[:] = chunk[end + 1 :]
        self._show_partial_soon()

    def end_line(self) -> None:
        """Complete a last line without a line end; call it when the process has ended."""
        if self._ring and not self._ring[-1][0] and not self._ring[-1][1].endswith(b"\n"):
            self._keep(False, b"\n")
        if self._partial:
            self._deliver(bytes(self._partial), b"\n")
            self._partial.clear()

    def note(self, text: str) -> None:
        """Add a line about the process itself."""
        line = NOTE + text.encode()
        self._keep(True, line)
        for viewer in tuple(self._viewers):
            if viewer.notes:
                viewer.deliver(*(encode_pieces(line + b"\n") if viewer.partial else encode_lines(line)))

    def attach(self, viewer: OutputViewer, tail: int) -> None:
        """Deliver the last `tail` lines to the viewer, and then all new ones."""
        lines, partial = self._lines(viewer.notes)
        if tail > 0 and lines:
            block = b"\n".join(lines[-tail:])
            viewer.deliver(*(encode_pieces(block + b"\n") if viewer.partial else encode_lines(block)))
        if not self._viewers:
            self._partial[:] = partial
            self._shown = 0
        if viewer.partial and self._shown:
            viewer.deliver(*encode_pieces(bytes(self._partial[: self._shown])))
        if self._closed is None:
            self._viewers.add(viewer)
            self._show_partial_soon()
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

    def _deliver(self, text: bytes, line_end: bytes) -> None:
        """Deliver lines: to viewers of partial lines only what they have not got yet of the first one."""
        shown, self._shown = self._shown, 0
        whole = pieces = None
        for viewer in tuple(self._viewers):
            if viewer.partial:
                pieces = pieces or encode_pieces(text[shown:] + line_end)
                viewer.deliver(*pieces)
            else:
                whole = whole or encode_lines(text)
                viewer.deliver(*whole)

    def _show_partial_soon(self) -> None:
        """Show the incomplete last line after QUIET_SECONDS, unless it is complete by then."""
        wanted = len(self._partial) > self._shown and any(viewer.partial for viewer in self._viewers)
        if wanted and not self._waiting and self._later is not None:
            self._waiting = True
            self._later(QUIET_SECONDS, self._show_partial)

    def _show_partial(self) -> None:
        self._waiting = False
        size = whole_characters(bytes(self._partial))
        if size > self._shown:
            pieces = encode_pieces(bytes(self._partial[self._shown : size]))
            self._shown = size
            for viewer in tuple(self._viewers):
                if viewer.partial:
                    viewer.deliver(*pieces)

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
