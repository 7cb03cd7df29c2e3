"""The output of one process: a bounded ring of the newest chunks, and WebSocket frames for the viewers.

Without viewers a chunk goes into the ring unchanged, and its lines are not searched. With viewers it is split into
lines and framed once for each form that viewers have requested. All viewers of a form get the same bytes: a server's
frames are not masked (RFC 6455, section 5.1) and, without compression, do not depend on the connection.

Each stream has its own lines: lines are ordered by the time at which they were completed, and an incomplete line of one
stream is never joined with text of the other.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Protocol, TypeAlias

from smartmob.processes.protocol import (
    LONGEST_LINE,
    NOTE,
    NOTES,
    STDERR,
    STDOUT,
    encode_lines,
    encode_pieces,
    whole_characters,
)

_COALESCED_BYTES = 4096
"""A chunk is appended to the one before it while that has fewer bytes."""
_BYTES_OF_A_CHUNK = 64
"""The ring has at most one chunk for this many bytes of its limit: streams that alternate make many small chunks."""
Later: TypeAlias = Callable[[float, Callable[[], None]], object]
QUIET_SECONDS = 0.05
"""Longest delay of an incomplete line: half of the 0.1 seconds within which a prompt must be visible to a client."""
_REST_OF_LINE = re.compile(rb"[^\n]*\n?")
_Line: TypeAlias = tuple[int, bytes]
"""A complete line without its end, and its source: STDOUT, STDERR or NOTES."""


class OutputViewer(Protocol):
    """A client that watches the output. Both methods return at once."""

    notes: bool
    """True if the viewer also gets the lines about the process itself."""
    partial: bool
    """True if the viewer gets text as it is written: frames keep their line ends, and a line may come in several."""
    marked: bool
    """True if each text begins with the digit of its source."""
    stream: int | None
    """The only stream of the process that the viewer gets, or None for both."""

    def deliver(self, frames: bytes, lines: int) -> None:
        """Send whole frames that contain `lines` lines."""

    def end(self, code: int) -> None:
        """Close the connection with the close code of a WebSocket."""


class _OpenLine:
    """The last line of a stream, which is not complete. Viewers of partial lines have the first `shown` bytes."""

    __slots__ = ("shown", "text")

    def __init__(self) -> None:
        self.text = bytearray()
        self.shown = 0


class ProcessOutput:
    """The output of one process and the notes about it. The newest `limit` bytes are kept.

    `later` calls a function after a number of seconds; without it, lines are delivered only when they are complete.
    """

    def __init__(self, limit: int, later: Later | None = None) -> None:
        self._limit = limit
        self._most_chunks = max(limit // _BYTES_OF_A_CHUNK, 2)
        self._ring: deque[tuple[int, bytes]] = deque()  # (the source, the bytes)
        self._size = 0
        self._clipped: set[int] = set()  # streams whose oldest line has lost its beginning
        self._viewers: set[OutputViewer] = set()
        self._open_lines = {STDOUT: _OpenLine(), STDERR: _OpenLine()}  # filled only while there are viewers
        self._last = {STDOUT: b"\n", STDERR: b"\n"}  # the last byte of each stream
        self._later = later
        self._waiting = False  # whether _show_open_lines will be called
        self._closed: int | None = None

    @property
    def viewers(self) -> int:
        """Return the number of viewers."""
        return len(self._viewers)

    def write(self, chunk: bytes) -> None:
        """Add a chunk of standard output of any size."""
        self._write(STDOUT, chunk)

    def write_error(self, chunk: bytes) -> None:
        """Add a chunk of standard error of any size."""
        self._write(STDERR, chunk)

    def end_line(self) -> None:
        """Complete last lines without a line end; call it when the process has ended."""
        for stream, line in self._open_lines.items():
            if self._last[stream] != b"\n":
                self._last[stream] = b"\n"
                self._keep(stream, b"\n")
            if line.text:
                self._deliver(stream, bytes(line.text), b"\n")
                line.text.clear()

    def note(self, text: str) -> None:
        """Add a line about the process itself."""
        line = NOTE + text.encode()
        self._keep(NOTES, line)
        for viewer in tuple(self._viewers):
            if viewer.notes:
                viewer.deliver(*frames_for(viewer, NOTES, line, b"\n"))

    def attach(self, viewer: OutputViewer, tail: int, *, follow: bool = True) -> None:
        """Deliver the last `tail` lines to the viewer, and then all new ones.

        Without `follow`, only the last lines are delivered, with those that are not complete.
        """
        sources = {viewer.stream} if viewer.stream else {STDOUT, STDERR}
        lines, rest = self._lines(sources | {NOTES} if viewer.notes else sources)
        if not follow:
            lines += [(stream, text) for stream, text in rest.items() if text and stream in sources]
        if tail > 0:
            for source, group in groupby(lines[-tail:], itemgetter(0) if viewer.marked else lambda _: STDOUT):
                viewer.deliver(*frames_for(viewer, source, b"\n".join(text for _, text in group), b"\n"))
        if not follow:
            return
        for stream, line in self._open_lines.items():
            if not self._viewers:
                line.text[:], line.shown = rest[stream], 0
            if viewer.partial and line.shown and stream in sources:
                viewer.deliver(*frames_for(viewer, stream, bytes(line.text[: line.shown]), b""))
        if self._closed is None:
            self._viewers.add(viewer)
            self._show_open_lines_soon()
        else:
            viewer.end(self._closed)

    def detach(self, viewer: OutputViewer) -> None:
        """Deliver nothing more to the viewer."""
        self._viewers.discard(viewer)
        if not self._viewers:
            for line in self._open_lines.values():
                line.text.clear()

    def tail(self, count: int) -> list[str]:
        """Return the last `count` lines of output as text, without notes."""
        if count <= 0:
            return []
        lines, rest = self._lines({STDOUT, STDERR})
        texts = [text for _, text in lines[-count:]] + [text for text in rest.values() if text]
        return [text.decode(errors="replace") for text in texts[-count:]]

    def close(self, code: int) -> None:
        """Disconnect all present and future viewers with the close code of a WebSocket."""
        self._closed = code
        for viewer in tuple(self._viewers):
            viewer.end(code)
        self._viewers.clear()

    def _write(self, stream: int, chunk: bytes) -> None:
        self._keep(stream, chunk)
        self._last[stream] = chunk[-1:] or self._last[stream]
        if not self._viewers:
            return
        line, end = self._open_lines[stream], chunk.rfind(b"\n")
        if end < 0:
            line.text += chunk
            if len(line.text) > LONGEST_LINE:
                size = whole_characters(bytes(line.text))
                self._deliver(stream, bytes(line.text[:size]), b"")
                del line.text[:size]
        else:
            self._deliver(stream, bytes(line.text) + chunk[:end], b"\n")
            line.text[:] = chunk[end + 1 :]
        self._show_open_lines_soon()

    def _deliver(self, stream: int, text: bytes, line_end: bytes) -> None:
        """Deliver lines: viewers of partial lines get only the missing part of the first one."""
        line = self._open_lines[stream]
        shown, line.shown = line.shown, 0
        made: dict[tuple[bool, bool], tuple[bytes, int]] = {}
        for viewer in self._viewers_of(stream):
            form = (viewer.partial, viewer.marked)
            if form not in made:
                made[form] = frames_for(viewer, stream, text[shown:] if viewer.partial else text, line_end)
            viewer.deliver(*made[form])

    def _viewers_of(self, stream: int) -> Iterator[OutputViewer]:
        """Yield the viewers that get a stream; they may detach meanwhile."""
        return (viewer for viewer in tuple(self._viewers) if viewer.stream in (None, stream))

    def _show_open_lines_soon(self) -> None:
        """Show the incomplete last lines after QUIET_SECONDS, unless they are complete by then."""
        wanted = any(len(line.text) > line.shown for line in self._open_lines.values())
        wanted = wanted and any(viewer.partial for viewer in self._viewers)
        if wanted and not self._waiting and self._later is not None:
            self._waiting = True
            self._later(QUIET_SECONDS, self._show_open_lines)

    def _show_open_lines(self) -> None:
        self._waiting = False
        for stream, line in self._open_lines.items():
            size = whole_characters(bytes(line.text))
            if size > line.shown:
                text = bytes(line.text[line.shown : size])
                line.shown = size
                for viewer in self._viewers_of(stream):
                    if viewer.partial:
                        viewer.deliver(*frames_for(viewer, stream, text, b""))

    def _keep(self, source: int, chunk: bytes) -> None:
        ring = self._ring
        if ring and source != NOTES and ring[-1][0] == source and len(ring[-1][1]) < _COALESCED_BYTES:
            # Saves memory when a program writes byte by byte: bytes do not become one object each.
            ring[-1] = (source, ring[-1][1] + chunk)
        else:
            ring.append((source, chunk))
        self._size += len(chunk)
        while len(ring) > 1 and (self._size - len(ring[0][1]) >= self._limit or len(ring) > self._most_chunks):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        source, chunk = self._ring.popleft()
        self._size -= len(chunk)
        if source != NOTES and chunk:
            (self._clipped.discard if chunk.endswith(b"\n") else self._clipped.add)(source)

    def _lines(self, sources: Iterable[int]) -> tuple[list[_Line], dict[int, bytes]]:
        """Return the complete lines of some sources in the ring, and the incomplete line of each stream after them."""
        wanted = frozenset(sources)
        lines: list[_Line] = []
        rest = {STDOUT: b"", STDERR: b""}
        clipped = set(self._clipped)
        for source, chunk in self._ring:
            if source == NOTES:
                lines += [(source, chunk)] if source in wanted else []
                continue
            if source in clipped:
                # The beginning of this line was dropped from the ring: skip the rest of it.
                found = _REST_OF_LINE.match(chunk)
                chunk = chunk[found.end() :] if found else chunk
                if not (found and found[0].endswith(b"\n")):
                    continue
                clipped.discard(source)
            *whole, rest[source] = (rest[source] + chunk).split(b"\n")
            if source in wanted:
                lines += ((source, text) for text in whole)
        return lines, rest


def frames_for(viewer: OutputViewer, source: int, text: bytes, line_end: bytes) -> tuple[bytes, int]:
    """Return lines as frames in the form of a viewer, and their number; only pieces keep their line ends."""
    prefix = b"%d" % source if viewer.marked else b""
    return encode_pieces(text + line_end, prefix) if viewer.partial else encode_lines(text, prefix)
