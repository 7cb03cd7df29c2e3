"""A parser of HTTP/1.0 and 1.1 responses that follows the framing rules of RFC 9112 strictly. No I/O.

A load generator counts responses, so bytes that another parser could read differently are an error here.
"""

from __future__ import annotations

import re

LONGEST_HEAD = 64 * 1024
"""Bytes of the status line with all headers, and of all trailers of a body."""
LONGEST_LINE = 8 * 1024
"""Bytes of the line before a chunk, and of one trailer."""
LONGEST_BODY = 64 * 1024 * 1024
"""Bytes of a body."""
MOST_INTERIM = 100
"""Interim responses (status below 200) that may come before the final one."""

_TEXT = rb"[^\r\n\0\v\f]*"  # RFC 9110, section 5.5: of the blanks, only spaces and tabs
_FIELD = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:" + _TEXT  # RFC 9110, section 5.1: a token, and no blank before the colon
_HEAD = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}(?: " + _TEXT + rb")?(?:\r\n" + _FIELD + rb")*")
_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding|connection):[ \t]*([^\r\n]*)")  # the head is lower case
_FOLD = re.compile(rb"[ \t]*\r\n[ \t]+")  # a value in several lines becomes one (RFC 9112, section 5.2)
_TRAILER = re.compile(_FIELD)
_LENGTH = re.compile(rb"[0-9]{1,19}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?")  # RFC 9112, section 7.1


class AnswerParser:
    """Parses the bytes of one response and knows when it is complete.

    `bodiless`: the response has no body, whatever its headers say, as for HEAD. `last`: no response can follow on the
    same connection. Every method raises ValueError for bytes that are not an HTTP response or exceed a limit.
    """

    # Class attributes as defaults: one parser is created for each response, and most responses change only a few.
    status = 0
    head = b""
    last = False
    started = False
    _left: int | None = 0
    _chunked = False
    _chunk_left = 0
    _in_trailers = False
    _trailer_bytes = 0
    _interim = 0
    _done = False

    def __init__(self, *, bodiless: bool = False) -> None:
        self._bodiless = bodiless
        self._buffer = bytearray()
        self._body = bytearray()

    @property
    def body(self) -> bytes:
        """Return the part of the body that has been received."""
        return bytes(self._body)

    def feed(self, data: bytes) -> bool:
        """Parse received bytes; return whether the response is complete."""
        self.started = True
        while not self.head:
            rest = self._split_head(data)
            if rest is None:
                return False
            data = rest
        if self._done:
            if data:
                raise ValueError("bytes follow the end of the answer")
        elif self._chunked:
            self._buffer += data
            self._done = self._read_chunks()
        else:
            self._add(data)
            if self._left is not None:
                self._left -= len(data)
                if self._left < 0:
                    raise ValueError("the body is longer than its Content-Length")
                self._done = not self._left
        return self._done

    def end(self) -> bool:
        """Handle the end of the connection; return whether it completes the response."""
        self._done = self._done or (bool(self.head) and not self._chunked and self._left is None)
        return self._done

    def _split_head(self, data: bytes) -> bytes | None:
        """Parse the head and return the bytes after it, or None when the head is not complete."""
        if self._buffer:
            searched = max(0, len(self._buffer) - 3)  # the blank line may be split between reads
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n", searched)
            data = bytes(self._buffer) if end >= 0 else b""
        else:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer += data
        if end > LONGEST_HEAD or (end < 0 and len(self._buffer) > LONGEST_HEAD):
            raise ValueError("the head is too long")
        if end < 0:
            if b"\n\n" in self._buffer:
                raise ValueError("the lines of its head end with LF, not with CRLF")
            return None
        self._buffer.clear()
        self._read_head(data[:end])
        return data[end + 4 :]

    def _read_head(self, head: bytes) -> None:
        if b"\r\n " in head or b"\r\n\t" in head:
            status, end, fields = head.partition(b"\r\n")
            head = head if fields[:1] in b" \t" else status + end + _FOLD.sub(b" ", fields)
        if _HEAD.fullmatch(head) is None:
            raise ValueError("the head is not HTTP/1.1")
        self.status = int(head[9:12])
        if self.status >= 200:
            self.head = head
            self._frame()
            return
        self._interim += 1
        if self.status == 101 or self._interim > MOST_INTERIM:  # no request here asks for an upgrade
            raise ValueError("an unexpected interim answer")

    def _frame(self) -> None:
        """Determine where the body ends (RFC 9112, section 6.3)."""
        lower = self.head.lower()
        codings: list[bytes] = []
        lengths: list[bytes] = []
        options = b""
        for name, value in _FRAMING.findall(lower):
            if name == b"content-length":
                lengths.append(value.rstrip(b" \t"))
            elif name == b"connection":
                options += value
            else:
                codings.append(value.rstrip(b" \t"))
        length = _length(lengths)
        # RFC 9112, section 9.3: by default HTTP/1.1 keeps the connection open and HTTP/1.0 closes it.
        self.last = b"close" in options or (lower.startswith(b"http/1.0") and b"keep-alive" not in options)
        if self._bodiless or self.status in (204, 304):
            self._done = True
        elif codings:
            if codings != [b"chunked"]:
                raise ValueError("an unknown Transfer-Encoding")
            self._chunked = True
            # With both headers the framing is ambiguous (RFC 9112, section 6.1), so the connection is not used again.
            self.last = self.last or length is not None
        else:
            self._left = length
            self._done = length == 0
            self.last = self.last or length is None

    def _read_chunks(self) -> bool:
        """Parse the complete chunks and trailers in the buffer; return whether the body is complete."""
        buffer, at = self._buffer, 0
        try:
            while True:
                if self._chunk_left:
                    end = at + self._chunk_left
                    if len(buffer) < end + 2:
                        return False
                    if buffer[end : end + 2] != b"\r\n":
                        raise ValueError("a chunk does not end with its line")
                    self._add(bytes(buffer[at:end]))
                    at, self._chunk_left = end + 2, 0
                end = buffer.find(b"\r\n", at)
                if max(end, len(buffer) if end < 0 else 0) - at > LONGEST_LINE:
                    raise ValueError("the line of a chunk is too long")
                if end < 0:
                    return False
                line, at = bytes(buffer[at:end]), end + 2
                if not self._in_trailers:
                    self._begin_chunk(line)
                elif self._read_trailer(line):
                    if at < len(buffer):
                        raise ValueError("bytes follow the end of the answer")
                    return True
        finally:
            del buffer[:at]

    def _begin_chunk(self, line: bytes) -> None:
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise ValueError("the size of a chunk is not a number")
        size = int(found[1], 16)
        if size > LONGEST_BODY:
            raise ValueError("the body is too long")
        self._chunk_left = size
        self._in_trailers = not size

    def _read_trailer(self, line: bytes) -> bool:
        """Parse a line after the last chunk; return whether it is the empty line that ends the body."""
        if not line:
            return True
        self._trailer_bytes += len(line)
        if _TRAILER.fullmatch(line) is None or self._trailer_bytes > LONGEST_HEAD:
            raise ValueError("a trailer is not HTTP/1.1")
        return False

    def _add(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > LONGEST_BODY:
            raise ValueError("the body is too long")


def _length(values: list[bytes]) -> int | None:
    """Return the Content-Length that all values agree on (RFC 9110, section 8.6), or None when there are none."""
    if not values:
        return None
    if len(values) > 1 or b"," in values[0]:
        different = {part.strip(b" \t") for value in values for part in value.split(b",")}
        if len(different) > 1:
            raise ValueError("two different lengths")
        values = list(different)
    if _LENGTH.fullmatch(values[0]) is None or int(values[0]) > LONGEST_BODY:
        raise ValueError("a Content-Length that is not a number, or too large")
    return int(values[0])
