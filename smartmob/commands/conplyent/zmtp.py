"""ZMTP 3.0, the wire protocol of ZeroMQ, for the server's side of PAIR sockets with the mechanism NULL. No I/O.

Sections in this module are those of ZeroMQ RFC 23, https://rfc.zeromq.org/spec/23/ ("23/ZMTP"). libzmq's own PAIR
socket serves only one peer and leaves all others waiting, so this module serves the clients of many machines.
"""

from __future__ import annotations

import struct

# "Overall Behavior", greeting: signature, version 3.0, mechanism, as-server, filler.
GREETING_BYTES = 64
_SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
_MECHANISM = b"NULL".ljust(20, b"\0")
GREETING = _SIGNATURE + b"\x03\x00" + _MECHANISM + b"\x00" + bytes(31)

# "Framing of Commands and Messages": bits of the flags octet of a frame.
_MORE_FLAG = 1
_LONG_FLAG = 2
_COMMAND_FLAG = 4
_LONGEST_SHORT_BYTES = 255  # a longer frame has a size of 8 bytes
_LONG_SIZE = struct.Struct(">Q")
_PROPERTY_SIZE = struct.Struct(">I")

_LONGEST_COMMAND_BYTES = 4096
"""The longest command frame that is accepted; the RFC has no bound, libzmq's commands are below 100 bytes."""
_PEER_TYPES = (b"PAIR",)
"""The socket types that may connect."""


class WireError(Exception):
    """The peer does not speak ZMTP 3 with PAIR and NULL, or exceeds a limit. The connection must be closed."""


def frame(body: bytes, flags: int = 0) -> bytes:
    """Return `body` as one frame. Without flags it is a whole message."""
    size = len(body)
    if size <= _LONGEST_SHORT_BYTES:
        return bytes((flags, size)) + body
    return bytes((flags | _LONG_FLAG,)) + _LONG_SIZE.pack(size) + body


def command(name: bytes, body: bytes) -> bytes:
    """Return a command frame."""
    return frame(bytes((len(name),)) + name + body, _COMMAND_FLAG)


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + _PROPERTY_SIZE.pack(len(value)) + value


READY = command(b"READY", _property(b"Socket-Type", b"PAIR"))


class Wire:
    """The state of one connection: `receive` returns messages, `to_send` returns bytes that must be written back.

    `limit` is the size of the largest message in bytes. After a WireError, `receive` must not be called again.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._greeted = False
        self._ready = False
        self._outgoing = [GREETING]

    @property
    def ready(self) -> bool:
        """Return whether messages may be sent."""
        return self._ready

    def to_send(self) -> bytes:
        """Return the bytes that must be written now; each byte is returned once."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def receive(self, data: bytes) -> list[bytes]:
        """Return the messages that `data` completes; raises WireError."""
        self._held += data
        if not self._greeted and not self._greet():
            return []
        messages: list[bytes] = []
        end = 0
        try:
            while (frame := self._frame_at(end)) is not None:
                flags, start, end = frame
                body = bytes(self._held[start:end])
                if flags & _COMMAND_FLAG:
                    self._command(body)
                elif not self._ready:
                    raise WireError("a message came before the handshake")
                else:
                    messages.append(body)
        finally:
            del self._held[:end]
        return messages

    def _greet(self) -> bool:
        """Return whether the greeting is complete. Raises WireError at the first wrong byte."""
        held = self._held
        if held[:1] != b"\xff"[: len(held)] or (len(held) >= 10 and held[9] & 1 == 0):
            raise WireError("this is not ZeroMQ")
        if len(held) > 10 and held[10] < 3:
            raise WireError(f"ZMTP {held[10]} is spoken; 3 is needed, which ZeroMQ speaks from release 4 on")
        if len(held) < GREETING_BYTES:
            return False
        if bytes(held[12:32]) != _MECHANISM:
            raise WireError("another mechanism than NULL is asked for")
        del held[:GREETING_BYTES]
        self._greeted = True
        self._outgoing.append(READY)
        return True

    def _frame_at(self, position: int) -> tuple[int, int, int] | None:
        """Return the flags, start and end of the body of the frame at `position`, or None while it is incomplete."""
        held = self._held
        if len(held) - position < 2:
            return None
        flags = held[position]
        if flags & ~(_LONG_FLAG | _COMMAND_FLAG):
            raise WireError(
                "messages of several parts are not taken" if flags & _MORE_FLAG else "a frame has unknown flags"
            )
        start = position + 2
        size = held[position + 1]
        if flags & _LONG_FLAG:
            start = position + 9
            if len(held) < start:
                return None
            size = _LONG_SIZE.unpack_from(held, position + 1)[0]
        limit = _LONGEST_COMMAND_BYTES if flags & _COMMAND_FLAG else self._limit
        if size > limit:
            raise WireError(f"a frame of {size} bytes is announced; at most {limit} are taken")
        return (flags, start, start + size) if len(held) >= start + size else None

    def _command(self, body: bytes) -> None:
        name_end = 1 + body[0] if body else 0
        name, rest = body[1:name_end], body[name_end:]
        if name == b"READY" and not self._ready:
            self._check_peer(rest)
            self._ready = True
        elif name == b"PING" and self._ready:
            # ZMTP 3.1 (RFC 37), "Connection Heartbeating": two bytes are a time to live, the rest is returned.
            self._outgoing.append(command(b"PONG", rest[2:]))
        elif name == b"ERROR":
            raise WireError("the peer reported an error")
        elif not self._ready:
            raise WireError("the handshake begins with another command than READY")

    @staticmethod
    def _check_peer(properties: bytes) -> None:
        position = 0
        while position < len(properties):
            name_end = position + 1 + properties[position]
            value_start = name_end + 4
            if len(properties) < value_start:
                raise WireError("the handshake is cut off")
            value_end = value_start + _PROPERTY_SIZE.unpack_from(properties, name_end)[0]
            if len(properties) < value_end:
                raise WireError("the handshake is cut off")
            name, value = properties[position + 1 : name_end], properties[value_start:value_end]
            if name.lower() == b"socket-type" and value not in _PEER_TYPES:
                raise WireError(f"a socket of type {value[:16]!r} connected; PAIR is needed")
            position = value_end
