"""ZMTP 3.0, the wire of ZeroMQ, for the server's side of PAIR sockets with the mechanism NULL. No I/O.

Source: the specification 23/ZMTP. libzmq's own PAIR serves one peer only and leaves every other one hanging, so the
stock clients of many machines are served by this instead.
"""

from __future__ import annotations

import struct

GREETING_BYTES = 64
_SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
_MECHANISM = b"NULL".ljust(20, b"\0")
GREETING = _SIGNATURE + b"\x03\x00" + _MECHANISM + b"\x00" + bytes(31)

_MORE, _LONG, _COMMAND = 1, 2, 4
_LONGEST_COMMAND = 4096
_LONG_SIZE = struct.Struct(">Q")
_VALUE_SIZE = struct.Struct(">I")
_PEERS = (b"PAIR",)


class WireError(Exception):
    """The peer does not speak ZMTP 3 with PAIR and NULL, or sent more than is taken; the connection must be closed."""


def frame(body: bytes, flags: int = 0) -> bytes:
    """Return `body` as one frame; without flags it is a whole message."""
    size = len(body)
    if size < 256:
        return bytes((flags, size)) + body
    return bytes((flags | _LONG,)) + _LONG_SIZE.pack(size) + body


def command(name: bytes, body: bytes) -> bytes:
    """Return a command frame."""
    return frame(bytes((len(name),)) + name + body, _COMMAND)


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + _VALUE_SIZE.pack(len(value)) + value


READY = command(b"READY", _property(b"Socket-Type", b"PAIR"))


class Wire:
    """One peer: `receive` what comes and get its messages; `to_send` is what must be written back, in this order.

    `limit` is the largest message in bytes. After a WireError nothing more may be received.
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
        """Return what is to be written now; each byte is returned once."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def receive(self, data: bytes) -> list[bytes]:
        """Return the messages that `data` completes; raises WireError."""
        self._held += data
        if not self._greeted and not self._greet():
            return []
        messages: list[bytes] = []
        place = 0
        try:
            while (found := self._frame_at(place)) is not None:
                flags, start, place = found
                body = bytes(self._held[start:place])
                if flags & _COMMAND:
                    self._command(body)
                elif not self._ready:
                    raise WireError("a message came before the handshake")
                else:
                    messages.append(body)
        finally:
            del self._held[:place]
        return messages

    def _greet(self) -> bool:
        """Return whether the greeting is complete; a wrong one is refused with its first wrong byte."""
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

    def _frame_at(self, place: int) -> tuple[int, int, int] | None:
        """Return flags, start and end of the body of the frame at `place`, or None while it is not whole."""
        held = self._held
        if len(held) - place < 2:
            return None
        flags = held[place]
        if flags & ~(_LONG | _COMMAND):
            raise WireError("messages of several parts are not taken" if flags & _MORE else "a frame has unknown flags")
        start = place + 2
        size = held[place + 1]
        if flags & _LONG:
            start = place + 9
            if len(held) < start:
                return None
            size = _LONG_SIZE.unpack_from(held, place + 1)[0]
        limit = _LONGEST_COMMAND if flags & _COMMAND else self._limit
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
            # Two bytes say how long it may take; what follows comes back.
            self._outgoing.append(command(b"PONG", rest[2:]))
        elif name == b"ERROR":
            raise WireError("the peer reported an error")
        elif not self._ready:
            raise WireError("the handshake begins with another command than READY")

    @staticmethod
    def _check_peer(properties: bytes) -> None:
        place = 0
        while place < len(properties):
            name_end = place + 1 + properties[place]
            value_start = name_end + 4
            if len(properties) < value_start:
                raise WireError("the handshake is cut off")
            value_end = value_start + _VALUE_SIZE.unpack_from(properties, name_end)[0]
            if len(properties) < value_end:
                raise WireError("the handshake is cut off")
            name, value = properties[place + 1 : name_end], properties[value_start:value_end]
            if name.lower() == b"socket-type" and value not in _PEERS:
                raise WireError(f"a socket of type {value[:16]!r} connected; PAIR is needed")
            place = value_end
