"""Unpacking of request bodies (gzip and deflate, RFC 9110, section 8.4.1) in pieces of bounded size."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from aiohttp import web

from smartmob.errors import InvalidInput

PIECE_BYTES = 64 * 1024
"""The largest piece that one step yields."""

_SLICE_BYTES = 4 * 1024
_GZIP_BITS = 16 + zlib.MAX_WBITS  # zlib's code for a gzip header


class Unpacker:
    """Unpacks gzip with any number of members, or deflate with or without the zlib header."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the unpacked bytes of `data`, an empty piece for a step without output; raises InvalidInput."""
        # At the end of a member zlib copies all input after it, so it is fed only short slices.
        for start in range(0, len(data), _SLICE_BYTES):
            yield from self._feed(data[start : start + _SLICE_BYTES])

    def end(self) -> None:
        """Raise InvalidInput if the packed data is incomplete."""
        if self._stream is not None and not self._stream.eof:
            raise InvalidInput(f"the body ends before its {self._coding} does")

    def _feed(self, data: bytes) -> Iterator[bytes]:
        stream, more = self._next(data), True
        while data or more:
            if stream.eof:
                stream = self._next(data)
            try:
                piece = stream.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise InvalidInput(f"the body is not valid {self._coding}: {error}") from None
            yield piece
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
            # zlib may have consumed all input and still hold more output than one piece.
            more = len(piece) == PIECE_BYTES and not stream.eof

    def _next(self, data: bytes) -> zlib._Decompress:
        """Return the zlib stream for `data`: the current one, or a new one if that has ended."""
        if self._stream is None or self._stream.eof:
            if self._coding == "gzip":
                self._stream = zlib.decompressobj(_GZIP_BITS)
            elif self._stream is None:
                bare = (
                    data[0] & 0xF != zlib.DEFLATED
                )  # some clients leave out the zlib header (RFC 9110, section 8.4.1.2)
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS if bare else zlib.MAX_WBITS)
            else:
                raise InvalidInput("the body has data after the end of its deflate stream")
        return self._stream


def unpacker(coding: str) -> Unpacker | None:
    """Return an Unpacker for this Content-Encoding, or None for `identity`; raises HTTPUnsupportedMediaType (415)."""
    known = coding.strip().lower()
    if known in ("", "identity"):
        return None
    if known in ("gzip", "x-gzip"):
        return Unpacker("gzip")
    if known == "deflate":
        return Unpacker("deflate")
    raise web.HTTPUnsupportedMediaType(
        text=f"the Content-Encoding {coding[:40]!r} is not supported; send the body as it is, or by gzip or deflate"
    )
