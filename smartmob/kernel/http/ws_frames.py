"""The heads of WebSocket frames, for those who write whole frames to a transport.

aiohttp encodes each message for each receiver anew and within a coroutine. Where one text goes to many, or an answer is
sent by whom is no task, the frame is put together here and written as it is; a server's frames are not masked.
"""

from __future__ import annotations


def text_head(size: int) -> bytes:
    """Return the head of an unmasked, final text frame with so many bytes (RFC 6455, section 5.2)."""
    if size < 126:
        return bytes((0x81, size))
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


SHORT_HEADS = [text_head(size) for size in range(1024)]
"""The heads of frames with so many bytes, made once."""


def text_frame(text: str) -> bytes:
    """Return a message as a whole frame."""
    payload = text.encode()
    size = len(payload)
    return (SHORT_HEADS[size] if size < len(SHORT_HEADS) else text_head(size)) + payload
