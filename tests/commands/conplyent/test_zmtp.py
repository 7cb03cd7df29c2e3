"""The wire protocol of ZeroMQ: what a real peer sends is understood however it is cut, the rest is refused."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.commands.conplyent import zmtp
from smartmob.commands.conplyent.zmtp import GREETING, Wire, WireError, command, frame

LIMIT = 100_000
HELLO = GREETING + zmtp.READY


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[first:last] for first, last in itertools.pairwise(edges)]


def _greeted() -> Wire:
    wire = Wire(LIMIT)
    wire.receive(HELLO)
    wire.to_send()
    return wire


class TestHandshake:
    """The greeting and READY."""

    def test_greeting_and_ready_are_sent_once(self) -> None:
        """The greeting is sent at once, READY after the greeting of the peer."""
        wire = Wire(LIMIT)

        assert wire.to_send() == GREETING
        assert wire.receive(GREETING) == []
        assert (wire.to_send(), wire.to_send()) == (zmtp.READY, b"")
        assert not wire.ready
        wire.receive(zmtp.READY)
        assert wire.ready

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"GET / HTTP/1.1\r\n\r\n", "not ZeroMQ"),
            (b"\xff" + bytes(8) + b"\x7e" + bytes(54), "not ZeroMQ"),
            (b"\xff" + bytes(8) + b"\x7f\x01", "ZMTP 1"),
            (GREETING.replace(b"NULL", b"PLAI"), "mechanism"),
            (GREETING + frame(b"hello"), "before the handshake"),
            (GREETING + command(b"HELLO", b""), "another command"),
            (GREETING + command(b"READY", b"\x0bSocket-Type\0\0\0\x03SUB"), "PAIR is needed"),
            (GREETING + command(b"READY", b"\x0bSocket-Type\0\0\0\xff"), "cut off"),
            (GREETING + command(b"READY", b"\x0bSock"), "cut off"),
        ],
    )
    def test_peers_that_do_not_fit_are_refused(self, data: bytes, message: str) -> None:
        """A peer must speak ZMTP 3 with a PAIR socket and the mechanism NULL."""
        with pytest.raises(WireError, match=message):
            Wire(LIMIT).receive(data)


class TestFrames:
    """Frames and commands."""

    @given(st.lists(st.binary(max_size=600), max_size=6), st.lists(st.integers(min_value=0), max_size=12))
    def test_messages_survive_any_cuts(self, bodies: list[bytes], places: list[int]) -> None:
        """The same bytes give the same messages, wherever the network cuts them."""
        wire = Wire(LIMIT)
        found = [m for part in _cut(HELLO + b"".join(map(frame, bodies)), places) for m in wire.receive(part)]

        assert found == bodies

    def test_a_ping_is_answered_with_its_context(self) -> None:
        """The time to live is not part of the answer."""
        wire = _greeted()
        wire.receive(command(b"PING", b"\x00\x10context"))

        assert wire.to_send() == command(b"PONG", b"context")

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"\x02" + (LIMIT + 1).to_bytes(8, "big"), "at most"),
            (b"\x02" + b"\xff" * 8, "at most"),
            (b"\x06" + (5_000).to_bytes(8, "big"), "at most 4096"),
            (b"\x01\x01a", "several parts"),
            (b"\x08\x01a", "unknown flags"),
            (command(b"ERROR", b"\x03bad"), "reported an error"),
        ],
    )
    def test_invalid_frames_are_refused_by_their_heads(self, data: bytes, message: str) -> None:
        """A frame that is too large is refused before its body is held."""
        with pytest.raises(WireError, match=message):
            _greeted().receive(data)

    @given(st.binary(max_size=300))
    def test_any_bytes_raise_only_wire_errors(self, data: bytes) -> None:
        """Any bytes give messages or a WireError."""
        for wire in (Wire(LIMIT), _greeted()):
            with contextlib.suppress(WireError):
                wire.receive(data)
