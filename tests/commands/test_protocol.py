"""The messages of the WebSocket `/commands`: both ends understand each other, and credit is never exceeded."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.commands import protocol
from smartmob.commands.model import Outcome
from smartmob.commands.protocol import (
    Call,
    Cancel,
    Credit,
    Done,
    End,
    Gap,
    Hello,
    Ping,
    Pong,
    ReceiveWindow,
    SendWindow,
)
from smartmob.commands.routes.line_sink import LineSink
from smartmob.errors import InvalidInput, TooLarge


@pytest.mark.parametrize(
    "message",
    [
        Hello("me", "/tmp"),
        Call(1, "exec", ["ls"], {"cwd": "/"}, "0123456789"),
        Credit(1, 5),
        End(1),
        Cancel(2),
        Ping(3),
        Pong(3),
    ],
)
def test_messages_of_a_client_are_decoded_as_they_were_encoded(message: Any) -> None:
    """All fields arrive."""
    assert protocol.decode_client_message(protocol.encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        protocol.Welcome(1, "smartmob", []),
        protocol.Started(1, 7, True),
        protocol.Emitted(1, ["a", {"b": [1]}]),
        Gap(1, 0, 5),
        Credit(1, 5),
        Done(1, exit_code=None, values=[1], state="exited", end=5),
        protocol.Refused("not-found", "no", 1),
    ],
)
def test_messages_of_a_server_are_decoded_as_they_were_encoded(message: Any) -> None:
    """All fields arrive."""
    assert protocol.decode_server_message(protocol.encode(message)) == message


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "[]", "{}", '{"type":"nothing"}', '{"type":"call","id":-1,"name":"x"}', '{"type":"credit","id":1}',
     '{"type":"credit","id":1,"bytes":0}', '{"type":"call","id":1,"name":"x","args":{}}', "\ud800"],
)  # fmt: skip
def test_invalid_messages_are_refused(text: str) -> None:
    """The error says that the message is not understood."""
    data = text.encode("utf-8", "surrogatepass")
    with pytest.raises(InvalidInput, match="not understood"):
        protocol.decode_client_message(data)
    with pytest.raises(InvalidInput, match="not understood"):
        protocol.decode_server_message(data)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**62), st.binary(max_size=100))
def test_binary_frames_are_decoded_as_they_were_encoded(call_id: int, offset: int, data: bytes) -> None:
    """Kind, call, offset and bytes arrive."""
    found = protocol.decode_piece(protocol.encode_piece(protocol.OUTPUT, call_id, offset, data))
    assert (found.kind, found.id, found.offset, found.data) == (protocol.OUTPUT, call_id, offset, data)


@pytest.mark.parametrize("content", [b"", b"\x01\0\0\0\x01", b"\x09" + bytes(12)])
def test_invalid_binary_frames_are_refused(content: bytes) -> None:
    """Frames without a head and of an unknown kind raise InvalidInput."""
    with pytest.raises(InvalidInput):
        protocol.decode_piece(content)


@pytest.mark.parametrize("value", [datetime(2026, 11, 23, 8, 1), datetime(2026, 1, 1, tzinfo=UTC), "x", {"a": 1}, [1]])
def test_times_survive_json(value: object) -> None:
    """A time is a time again at the client; other values do not change."""
    sent = msgspec.json.decode(msgspec.json.encode(protocol.encode_value(value)))
    assert protocol.decode_value(sent) == value


def test_names_of_files_that_are_no_utf8_are_sent() -> None:
    """A reply with such a name, or with an error about it, is sent with U+FFFD for each byte that is no UTF-8."""
    name = os.fsdecode(b"a\xff\xfe")
    for message in (protocol.Emitted(1, [[name], {name: 1}]), protocol.Done(1, 0, [("b", name)])):
        assert "a\ufffd\ufffd" in protocol.encode(message).decode()
    sink = LineSink()
    sink.emit([name, 1])
    sink.finish(Outcome(exit_code=1, error=FileNotFoundError(2, "No such file", name)))
    lines = b"".join(sink._lines).decode()
    assert lines.count("a\ufffd\ufffd") >= 2


@pytest.mark.parametrize("value", [{"$time": "no"}, {"$time": 5}, {"$time": "2026-01-01", "b": 1}])
def test_objects_that_only_look_like_times_stay_objects(value: object) -> None:
    """Only an object whose single field is an ISO 8601 time becomes a time."""
    assert protocol.decode_value(value) == value


@given(st.lists(st.integers(1, 400_000), max_size=30), st.randoms(use_true_random=False))
def test_bytes_arrive_in_order_within_the_credit(sizes: list[int], random: Any) -> None:
    """Whatever the pace of the reader is, no byte is sent beyond the window."""
    sending, receiving, sent, taken = SendWindow(), ReceiveWindow(), 0, 0
    for size in sizes:
        rest = memoryview(bytes(size))
        while rest:
            place = sending.offset
            part = sending.take(rest)
            rest = rest[len(part) :]
            if part:
                receiving.receive(protocol.Piece(protocol.OUTPUT, 1, place, bytes(part)))
                sent += len(part)
            if not part or random.random() < 0.5:
                while receiving.held:
                    data = receiving.held.popleft()
                    taken += len(data)
                    if credit := receiving.consume(len(data)):
                        sending.add(credit)
            assert sent - taken <= protocol.WINDOW_BYTES
    assert sent == sum(sizes) == receiving.offset


def test_the_receiver_refuses_gaps_repeats_and_bytes_without_credit() -> None:
    """`skip` continues at a later offset."""
    receiving = ReceiveWindow(100)
    receiving.receive(protocol.Piece(protocol.OUTPUT, 1, 100, b"x" * 50))
    for offset in (100, 149, 151):
        with pytest.raises(InvalidInput, match="but those from 150 were expected"):
            receiving.receive(protocol.Piece(protocol.OUTPUT, 1, offset, b"x"))
    with pytest.raises(TooLarge):
        receiving.receive(protocol.Piece(protocol.OUTPUT, 1, 150, bytes(protocol.WINDOW_BYTES)))
    receiving.skip(500)
    assert receiving.offset == 500


def test_messages_of_many_levels_are_refused() -> None:
    """Both ends raise InvalidInput."""
    for text in ("[" * 20_000, '{"type": "call", "arguments": ' + "[" * 20_000):
        with pytest.raises(InvalidInput):
            protocol.decode_client_message(text)
        with pytest.raises(InvalidInput):
            protocol.decode_server_message(text)
