"""Encoding of WebSocket text frames, and the boundaries of received frames (RFC 6455, section 5.2).

aiohttp encodes each message again for every receiver, and only within a coroutine. When one text goes to many clients,
or a callback sends an answer, the whole frame is built here and written to the transport. Frames of a server are not
masked.
"""

from __future__ import annotations


def text_head(size: int) -> bytes:
    """Return the header of an unmasked, final text frame whose payload has `size` bytes."""
    if size < 126:
        return bytes((0x81, size))
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


SHORT_HEADS = [text_head(size) for size in range(1024)]
"""The headers of short frames, by the size of the payload in bytes."""


def text_frame(text: str) -> bytes:
    """Return a text as a whole frame."""
    payload = text.encode()
    size = len(payload)
    return (SHORT_HEADS[size] if size < len(SHORT_HEADS) else text_head(size)) + payload


_SHORTEST_HEAD_BYTES = 2
_MASKED = 0x80  # the bit of the second byte that says that a mask follows the length
_MASK_BYTES = 4
_LENGTH_BYTES = {126: 2, 127: 8}
"""Bytes of the extended payload length, by the seven bits of the short one."""


class FramePosition:
    """The position in a stream of frames, found from their heads alone."""

    __slots__ = ("_head", "payload_left")

    def __init__(self) -> None:
        self.payload_left = 0
        """Bytes of the payload of the current frame that have not been received yet."""
        self._head = b""

    def advance(self, data: bytes) -> None:
        """Move past the next bytes of the stream."""
        size = len(data)
        if size <= self.payload_left:
            self.payload_left -= size
            return
        at, self.payload_left = self.payload_left, 0
        if self._head:
            data, self._head = self._head + data, b""
            size = len(data)
        while at < size:
            second = data[at + 1] if at + 1 < size else 0
            start, length = at + _SHORTEST_HEAD_BYTES, second & 0x7F
            if length in _LENGTH_BYTES:
                start += _LENGTH_BYTES[length]
                length = int.from_bytes(data[at + _SHORTEST_HEAD_BYTES : start], "big")
            if second & _MASKED:
                start += _MASK_BYTES
            if start > size:
                self._head = data[at:]
                return
            at = start + length
        self.payload_left = at - size
