"""A subscriber in bytes: libzmq's own keeps each subscription, and overflows its stack when it drops a long one."""

from __future__ import annotations

import struct

_TYPE = b"\x0bSocket-Type" + struct.pack(">I", 3) + b"SUB"
_READY = b"\x05READY" + _TYPE

GREETING = b"".join(
    (
        b"\xff" + bytes(8) + b"\x7f\x03\x00",
        b"NULL".ljust(20, b"\0") + bytes(32),
        bytes([4, len(_READY)]) + _READY,
    )
)
"""The first bytes of a subscriber, by ZMTP 3.0 without encryption."""


def subscription(topic: bytes) -> bytes:
    """Return the frame by which it subscribes."""
    return b"\x02" + struct.pack(">Q", len(topic) + 1) + b"\x01" + topic
