"""A WebSocket client that can send any bytes."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import suppress
from typing import Any

import orjson

from tests.fuzzing.service import SECONDS

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CONTINUED = 0


def frame(opcode: int, data: bytes, *, last: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """Return a frame; its mask is zero."""
    head = bytes(((0x80 if last else 0) | reserved << 4 | opcode,))
    mark, size = 0x80 if masked else 0, len(data)
    if size < 126:
        head += bytes((mark | size,))
    elif size < 2**16:
        head += bytes((mark | 126,)) + struct.pack(">H", size)
    else:
        head += bytes((mark | 127,)) + struct.pack(">Q", size)
    return head + (bytes(4) if masked else b"") + data


class Closed(Exception):
    """The service has ended the connection."""


class WebSocket:
    """One connection."""

    def __init__(self, port: int, path: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        self._file = self._socket.makefile("rb")
        assert self._file.readline().startswith(b"HTTP/1.1 101")
        while self._file.readline() != b"\r\n":
            pass

    def write(self, data: bytes) -> None:
        """Send bytes; raises Closed."""
        try:
            self._socket.sendall(data)
        except ConnectionError:
            raise Closed from None

    def send(self, message: bytes | dict[str, Any], opcode: int = TEXT) -> None:
        """Send a message."""
        self.write(frame(opcode, orjson.dumps(message) if isinstance(message, dict) else message))

    def read(self) -> tuple[int, bytes]:
        """Return the opcode and the content of the next frame; raises Closed."""
        first, size = self._bytes(2)
        if size == 126:
            (size,) = struct.unpack(">H", self._bytes(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._bytes(8))
        content = self._bytes(size)
        assert first & 0x80, "the service sends whole messages"
        if first & 0x0F == CLOSE:
            raise Closed
        return first & 0x0F, content

    def answer(self) -> dict[str, Any]:
        """Return the next text message."""
        while True:
            opcode, content = self.read()
            if opcode == TEXT:
                document: dict[str, Any] = json.loads(
                    content
                )  # what was sent comes back as it was, also what orjson refuses
                return document

    def until_closed(self) -> None:
        """Return when the service has ended the connection."""
        with suppress(Closed):
            while True:
                self.read()

    def end_writing(self) -> None:
        """End the sending direction of the connection."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()

    def _bytes(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except ConnectionError:
            raise Closed from None
        if len(data) < size:
            raise Closed
        return data
