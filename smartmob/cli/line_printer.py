"""Prints lines of several processes: each with the name of its process in a colour, or as JSON.

Lines of standard error are red on a terminal, and say so in JSON.
"""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Mapping

import orjson

from smartmob.cli.printing import escaped, has_colours, plain
from smartmob.client.process_output import SOURCES
from smartmob.processes.protocol import NOTE, NOTES, STDERR, STDOUT

EVENT_PREFIX = NOTE.decode()
"""The beginning of a line about the process itself."""

_COLOURS = (b"36", b"33", b"32", b"35", b"34", b"96", b"93", b"92", b"95", b"94")
_RED = b"\x1b[31m"
_ESCAPE = b"\x1b"
_PLAIN = b"\x1b[0m"
_BUFFER_BYTES = 64 * 1024


class LinePrinter:
    """Writes lines to standard output. `names` are the names to show, by slug; a single name is not shown.

    Lines are buffered until the end of the event loop's iteration, so that many lines cost few system calls and a
    single line is not delayed.
    """

    def __init__(self, names: Mapping[str, str], *, as_json: bool) -> None:
        self._coloured = has_colours() and not as_json
        self._as_json = as_json
        self._heads = {} if as_json or len(names) < 2 else self._named(names)
        self.takes_pieces = not as_json and len(names) < 2
        """True if `show_piece` may be called, because lines need no name before them and no quotes."""
        self.takes_sources = as_json or self._coloured or self.takes_pieces
        """True if the source of a line is shown, or decides whether a piece continues the previous one."""
        self._open = 0  # the source of the last piece if it has no line end, else 0
        self._held: list[bytes] = []
        self._size = 0
        self._loop = asyncio.get_running_loop()
        self._broken: asyncio.Future[None] = self._loop.create_future()

    def show(self, slug: str, line: str, source: int = 0) -> None:
        """Write a line of a process; raises BrokenPipeError when the reader has closed the output.

        `source` is that of `ProcessOutput`.
        """
        self._write(slug, line, "\n", source)

    def show_piece(self, slug: str, piece: str, source: int = 0) -> None:
        """Write a line with its line end, or a part of one; for printers that take pieces. Raises BrokenPipeError."""
        source = source or (NOTES if piece.startswith(EVENT_PREFIX) else STDOUT)
        if self._open and self._open != source:
            # An event or a line of the other stream between the pieces of a line.
            self._held.append(b"\n")
        if piece.endswith("\n"):
            self._open = 0
            self._write(slug, piece.removesuffix("\n").removesuffix("\r"), "\n", source)
        else:
            self._open = source
            self._write(slug, piece, "", source)

    def _write(self, slug: str, line: str, end: str, source: int) -> None:
        event = source == NOTES or (not source and line.startswith(EVENT_PREFIX))
        if self._as_json:
            what = {"event": line.removeprefix(EVENT_PREFIX)} if event else {"line": line}
            what |= {"stream": SOURCES[source]} if source == STDERR else {}
            text = escaped(orjson.dumps({"slug": slug, **what}).decode()).encode()
        else:
            text = line.encode(errors="replace")
            if self._coloured and event:
                text = b"\x1b[2m" + text + _PLAIN
            elif self._coloured and source == STDERR and line:
                text = _RED + text + _PLAIN
            elif self._coloured and _ESCAPE in text:
                # Reset a colour that the program has left on.
                text += _PLAIN
            text = self._heads.get(slug, b"") + text
        if not self._held:
            self._loop.call_soon(self._send)
        text += end.encode()
        self._held.append(text)
        self._size += len(text)
        if self._size > _BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the buffer; raises BrokenPipeError when the reader has closed the output."""
        held, self._held, self._size = self._held, [], 0
        if held:
            sys.stdout.buffer.write(b"".join(held))
            sys.stdout.buffer.flush()

    def check(self) -> None:
        """Write the buffer; raises OSError if this or an earlier writing has failed."""
        if self._broken.done() and (error := self._broken.exception()) is not None:
            raise error
        self.flush()

    async def broken(self) -> None:
        """Wait until the reader has closed the output, and raise BrokenPipeError."""
        await self._broken

    def _send(self) -> None:
        try:
            self.flush()
        except OSError as error:
            if not self._broken.done():
                self._broken.set_exception(error)

    def _named(self, names: Mapping[str, str]) -> dict[str, bytes]:
        width = max(map(len, names.values()))
        colours = _colours(names)
        heads = {}
        for slug, name in names.items():
            text = f"{plain(name).plain:<{width}} | ".encode()
            heads[slug] = b"\x1b[" + colours[slug] + b"m" + text + _PLAIN if self._coloured else text
        return heads


def _colours(slugs: Mapping[str, str]) -> dict[str, bytes]:
    """Return a colour for each slug: always the same for a slug, and different ones while there are enough.

    If two slugs want the same colour, the first in alphabetical order gets it.
    """
    chosen: dict[str, bytes] = {}
    free: list[bytes] = []
    for slug in sorted(slugs):
        free = free or list(_COLOURS)
        wanted = _COLOURS[zlib.crc32(slug.encode()) % len(_COLOURS)]
        chosen[slug] = wanted if wanted in free else free[0]
        free.remove(chosen[slug])
    return chosen
