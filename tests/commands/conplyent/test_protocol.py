"""The messages of the stock wire: what clients ask, and answers in the order and with the numbers that they want."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.commands.conplyent import pickles, protocol
from smartmob.commands.conplyent.decoder import InvalidPickle
from smartmob.commands.conplyent.protocol import AnswerEncoder, CommandRequest, Heartbeat, Sync
from smartmob.commands.conplyent.zmtp import GREETING, READY, Wire


def _messages(frames: bytes) -> list[tuple[Any, dict[str, Any]]]:
    """Return the types and fields of messages in frames."""
    wire = Wire(10_000_000)
    decoded = [pickles.decode(body) for body in wire.receive(GREETING + READY + frames)]
    return [(kind, fields) for kind, _, fields in decoded]


def _sent(kind: Any, fields: dict[str, Any], request: bool = True) -> bytes:
    return pickles.encode(kind, request, fields)


def test_what_a_client_asks() -> None:
    """Heartbeats, the list of commands, and commands; its answers to heartbeats need nothing."""
    assert protocol.parse(_sent(protocol.HEARTBEAT, {})) == Heartbeat()
    assert protocol.parse(_sent(protocol.HEARTBEAT, {}, False)) is None
    assert protocol.parse(_sent(protocol.SYNC, {})) == Sync()
    fields = {"cmd_id": "ls", "args": ("/",), "keywargs": {"a": 1}}
    assert protocol.parse(_sent(protocol.COMMAND, fields)) == CommandRequest("ls", ("/",), {"a": 1})


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (protocol.ACKNOWLEDGE, {"request_id": 1}),
        (protocol.COMPLETE, {}),
        (protocol.COMMAND, {}),
        (protocol.COMMAND, {"cmd_id": 5, "args": (), "keywargs": {}}),
        (protocol.COMMAND, {"cmd_id": "ls", "args": [], "keywargs": {}}),
        (protocol.COMMAND, {"cmd_id": "ls", "args": (), "keywargs": {1: 2}}),
    ],
)
def test_what_no_client_says(kind: Any, fields: dict[str, Any]) -> None:
    """Messages of the server's kind and commands without their fields are refused."""
    with pytest.raises(InvalidPickle):
        protocol.parse(_sent(kind, fields))


def test_an_answer() -> None:
    """Acknowledgement, details numbered from 0, and the end with the next number."""
    answer = AnswerEncoder(7)
    frames = answer.acknowledge() + answer.detail("echo") + answer.detail(None) + answer.complete(-1)

    assert _messages(frames) == [
        (protocol.ACKNOWLEDGE, {"request_id": 7}),
        (protocol.DETAILS, {"request_id": 7, "details": "echo", "msg_num": 0}),
        (protocol.DETAILS, {"request_id": 7, "details": "None", "msg_num": 1}),
        (protocol.COMPLETE, {"request_id": 7, "exit_code": -1, "msg_num": 2}),
    ]


def test_no_request_is_0() -> None:
    """A client that sees 0 throws its queue away and hangs."""
    with pytest.raises(ValueError, match="request 0"):
        AnswerEncoder(0)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines(size: int) -> None:
    """Output in pieces of any size becomes lines with their line ends, as text mode reads them, and nothing is lost."""
    data = "one\nzwei ü\r\ndrei\rfour".encode()
    answer = AnswerEncoder(1)
    frames = b"".join(answer.output(data[at : at + size]) for at in range(0, len(data), size))
    frames += answer.output(b"", last=True)

    assert [fields["details"] for _, fields in _messages(frames)] == ["one\n", "zwei ü\n", "drei\n", "four"]


def test_a_line_without_an_end() -> None:
    """It is sent in parts, so that memory stays bounded."""
    answer = AnswerEncoder(1)
    frames = b"".join(answer.output(b"x" * 300_000) for _ in range(8)) + answer.output(b"", last=True)
    details = [fields["details"] for _, fields in _messages(frames)]

    assert "".join(details) == "x" * 2_400_000
    assert len(details) > 1


def test_the_echo_is_short() -> None:
    """A client drops it, so a megabyte that came is not sent back."""
    assert protocol.echo("ls", ("/",), {}) == "ls ('/',) {}"
    assert len(protocol.echo("wrfile", ("/x", b"x" * 1_000_000), {})) < 100
    assert len(protocol.echo("x", tuple(range(10_000)), {})) < 10_000
