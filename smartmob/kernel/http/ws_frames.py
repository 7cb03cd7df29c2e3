"""Encoding of WebSocket text frames (RFC 6455, section 5.2).

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
