"""Content codings of request bodies, unpacked in pieces of a bounded size."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from aiohttp import web

from smartmob.errors import InvalidInput

PIECE = 64 * 1024
"""Bytes that one step gives at most."""

_SLICE = 4 * 1024
_GZIP = 16 + zlib.MAX_WBITS


class Unpacker:
    """Unpacks a gzip of any number of members, or a deflate with or without the header of zlib."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what comes out of `data`, an empty piece included where a step gave nothing; raises InvalidInput."""
        # A member's end copies what is behind it, so only a short slice is ever given to zlib.
        for start in range(0, len(data), _SLICE):
            yield from self._feed(data[start : start + _SLICE])

    def end(self) -> None:
        """Raise InvalidInput when the body ended within its coding."""
        if self._stream is not None and not self._stream.eof:
            raise InvalidInput(f"the body ends before its {self._coding} does")

    def _feed(self, data: bytes) -> Iterator[bytes]:
        stream, more = self._next(data), True
        while data or more:
            if stream.eof:
                stream = self._next(data)
            try:
                piece = stream.decompress(data, PIECE)
            except zlib.error as error:
                raise InvalidInput(f"the body is no {self._coding}: {error}") from None
            yield piece
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
            # Even when all was taken in, there may be more inside than one piece could hold.
            more = len(piece) == PIECE and not stream.eof

    def _next(self, data: bytes) -> zlib._Decompress:
        """Return the stream that takes `data`: the present one, or the next where that has ended."""
        if self._stream is None or self._stream.eof:
            if self._coding == "gzip":
                self._stream = zlib.decompressobj(_GZIP)
            elif self._stream is None:
                bare = data[0] & 0xF != zlib.DEFLATED  # some clients leave out the header of zlib
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS if bare else zlib.MAX_WBITS)
            else:
                raise InvalidInput("the body goes on after the end of its deflate")
        return self._stream


def unpacker(coding: str) -> Unpacker | None:
    """Return what unpacks this Content-Encoding, or None for one that packs nothing; raises the answer 415."""
    known = coding.strip().lower()
    if known in ("", "identity"):
        return None
    if known in ("gzip", "x-gzip"):
        return Unpacker("gzip")
    if known == "deflate":
        return Unpacker("deflate")
    raise web.HTTPUnsupportedMediaType(
        text=f"the Content-Encoding {coding[:40]!r} is not known; send the body as it is, or packed by gzip or deflate"
    )
