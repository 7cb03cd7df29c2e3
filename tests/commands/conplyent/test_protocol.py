"""The messages of conplyent's wire: requests of clients, and answers with the numbers that they expect."""

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


def test_requests_of_a_client_are_parsed() -> None:
    """Its answer to a heartbeat needs no answer."""
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
def test_messages_that_no_client_sends_are_refused(kind: Any, fields: dict[str, Any]) -> None:
    """These are messages of a server, and commands without their fields."""
    with pytest.raises(InvalidPickle):
        protocol.parse(_sent(kind, fields))


def test_an_answer_is_numbered_as_the_client_expects() -> None:
    """ACKNOWLEDGE comes first, DETAILS are numbered from 0, and COMPLETE has the next number."""
    answer = AnswerEncoder(7)
    frames = answer.acknowledge() + answer.detail("echo") + answer.detail(None) + answer.complete(-1)

    assert _messages(frames) == [
        (protocol.ACKNOWLEDGE, {"request_id": 7}),
        (protocol.DETAILS, {"request_id": 7, "details": "echo", "msg_num": 0}),
        (protocol.DETAILS, {"request_id": 7, "details": "None", "msg_num": 1}),
        (protocol.COMPLETE, {"request_id": 7, "exit_code": -1, "msg_num": 2}),
    ]


def test_request_0_is_refused() -> None:
    """A client that gets 0 throws its queue away and waits without end."""
    with pytest.raises(ValueError, match="request 0"):
        AnswerEncoder(0)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_output_is_cut_into_lines_as_in_text_mode(size: int) -> None:
    """Nothing is lost, whatever the sizes of the pieces are."""
    data = "one\nzwei ü\r\ndrei\rfour".encode()
    answer = AnswerEncoder(1)
    frames = b"".join(answer.output(data[at : at + size]) for at in range(0, len(data), size))
    frames += answer.output(b"", last=True)

    assert [fields["details"] for _, fields in _messages(frames)] == ["one\n", "zwei ü\n", "drei\n", "four"]


def test_a_line_without_an_end_is_sent_in_parts() -> None:
    """So memory stays bounded."""
    answer = AnswerEncoder(1)
    frames = b"".join(answer.output(b"x" * 300_000) for _ in range(8)) + answer.output(b"", last=True)
    details = [fields["details"] for _, fields in _messages(frames)]

    assert "".join(details) == "x" * 2_400_000
    assert len(details) > 1


def test_the_echo_of_long_arguments_is_cut_off() -> None:
    """The client drops the echo, so a megabyte is not sent back."""
    assert protocol.echo("ls", ("/",), {}) == "ls ('/',) {}"
    assert len(protocol.echo("wrfile", ("/x", b"x" * 1_000_000), {})) < 100
    assert len(protocol.echo("x", tuple(range(10_000)), {})) < 10_000
