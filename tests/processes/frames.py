"""A parser of frames of a WebSocket server."""

from __future__ import annotations


def texts(data: bytes) -> list[str]:
    """Return the payloads of unmasked, final text frames; fails for anything else (RFC 6455, section 5.2)."""
    found, rest = texts_and_rest(data)
    assert rest == b""
    return found


def texts_and_rest(data: bytes) -> tuple[list[str], bytes]:
    """Return the payloads of whole frames, and the bytes of an incomplete one at the end."""
    found, at = [], 0
    while len(data) - at >= 2:
        assert data[at] == 0x81
        size, start = data[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
            assert size >= 126
        elif size == 127:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
            assert size >= 65536
        if len(data) < start + size:
            break
        found.append(data[start : start + size].decode())
        at = start + size
    return found, data[at:]
