"""One call: what the server says of it is passed on in order, and it goes on after a lost connection."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.client.calls import RemoteCall, check_piece
from smartmob.client.failures import NotConnected
from smartmob.commands import protocol
from smartmob.commands.protocol import Call, Credit, Done, Emitted, Gap, Started
from smartmob.errors import InvalidInput


class CallTransport:
    """Keeps what a call sends and tells."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.told: list[Any] = []
        self.forgotten: list[int] = []

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def send_piece(self, kind: int, call_id: int, offset: int, data: Any) -> None:
        self.sent.append((kind, call_id, offset, bytes(data)))

    async def flush(self) -> None:
        pass

    def forget(self, call_id: int) -> None:
        self.forgotten.append(call_id)

    def moved(self, cwd: str) -> None:
        self.told.append(("moved", cwd))

    def started(self, number: int, job: bool) -> None:
        self.told.append(("started", number, job))

    def values(self, values: list[Any], size: int) -> None:
        self.told.append(("values", values))

    def output(self, offset: int, data: bytes) -> None:
        self.told.append(("output", offset, data))

    def gap(self, first: int, last: int) -> None:
        self.told.append(("gap", first, last))

    def done(self, done: Done) -> None:
        self.told.append(("done", done.exit_code))

    def failed(self, error: Exception) -> None:
        self.told.append(("failed", type(error)))


def _call(transport: CallTransport, *, resumable: bool) -> RemoteCall:
    call = RemoteCall(transport, transport, "exec", ["ls"], {}, resumable=resumable)
    call.begin(1)
    return call


def _output(offset: int, data: bytes) -> protocol.Piece:
    return protocol.Piece(protocol.OUTPUT, 1, offset, data)


def test_a_job_continues_at_its_byte_on_the_next_connection() -> None:
    """Lost after ten bytes, it is attached to from the tenth on; what was asked for is not asked for again."""
    line = CallTransport()
    call = _call(line, resumable=True)
    call.receive(Started(1, 77, True))
    call.receive_piece(_output(0, b"0123456789"))
    assert call.lost()
    call.begin(2)
    call.receive(Started(2, 78, False))
    call.receive_piece(_output(10, b"abc"))
    call.receive(Done(2, 0))

    assert line.sent[1] == Call(2, "attach", [], {"job_num": 77, "offset": 10, "hold": True})
    assert [told for told in line.told if told[0] != "started"] == [
        ("output", 0, b"0123456789"),
        ("output", 10, b"abc"),
        ("done", 0),
    ]


def test_an_unanswered_job_is_repeated_with_the_same_key() -> None:
    """It is asked for again with the same key, so that it is not run twice."""
    line = CallTransport()
    call = _call(line, resumable=True)
    assert call.lost()
    call.begin(2)
    first, second = line.sent
    assert (first.key, second.id) == (second.key, 2)
    assert len(first.key) == 32


def test_a_call_that_is_no_job_fails_with_its_connection() -> None:
    """It cannot be repeated, because its outcome is unknown."""
    line = CallTransport()
    call = _call(line, resumable=False)
    assert not call.lost()
    assert line.told == [("failed", NotConnected)]
    assert (call.over, line.forgotten) == (True, [1])


def test_an_unannounced_gap_or_repeat_is_refused() -> None:
    """A gap that is told is passed on; one that is not, and a repeat, are the connection's fault."""
    line = CallTransport()
    call = _call(line, resumable=True)
    call.receive_piece(_output(0, b"abc"))
    for offset in (2, 4):
        with pytest.raises(InvalidInput):
            call.receive_piece(_output(offset, b"x"))
    call.receive(Gap(1, 3, 10))
    call.receive_piece(_output(10, b"x"))
    assert line.told[-2:] == [("gap", 3, 10), ("output", 10, b"x")]


def test_credit_is_returned_in_few_messages() -> None:
    """The server gets credit for what was needed no more, in few messages."""
    line = CallTransport()
    call = _call(line, resumable=True)
    share = protocol.WINDOW_BYTES // 16
    for number in range(16):
        call.receive_piece(_output(number * share, bytes(share)))
        call.taken(share)
    assert [message.bytes for message in line.sent if isinstance(message, Credit)] == [protocol.WINDOW_BYTES // 4] * 4


async def test_input_is_sent_within_the_credit() -> None:
    """Bytes go out within the credit, and writing to what has ended fails."""
    line = CallTransport()
    call = _call(line, resumable=True)
    await call.write(b"x" * (protocol.PIECE_BYTES + 1_000))
    assert [len(sent[3]) for sent in line.sent[1:]] == [protocol.PIECE_BYTES, 1_000]
    assert line.sent[2][2] == protocol.PIECE_BYTES
    call.receive(Emitted(1, ["a"]))
    call.receive(Done(1, 0, ["b"]))
    assert line.told == [("values", ["a"]), ("values", ["b"]), ("done", 0)]
    with pytest.raises(NotConnected):
        await call.write(b"x")


def test_input_from_a_server_is_refused() -> None:
    """A server does not send what only a client sends."""
    with pytest.raises(InvalidInput):
        check_piece(protocol.encode_piece(protocol.INPUT, 1, 0, b""))
