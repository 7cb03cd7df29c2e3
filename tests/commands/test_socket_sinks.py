"""The replies to a call on a WebSocket: flow control, messages of bytes, and gaps."""

from __future__ import annotations

import asyncio
from typing import Any

from smartmob.commands import protocol
from smartmob.commands.protocol import Call, Credit, Done, Emitted, End, Gap, Refused, Started
from smartmob.commands.registry import command
from tests.commands.features import RunningFeature
from tests.commands.socket_clients import SocketClient
from tests.waiting import until


async def test_a_call_sends_no_more_than_its_credit(peer: SocketClient) -> None:
    """Other calls go on while one has no credit."""
    await peer.send(Call(1, "exec", [["head", "-c", "3000000", "/dev/zero"]]))
    await until(lambda: len(peer.data()) == protocol.WINDOW_BYTES)
    await peer.send(Call(2, "exec", ["echo other"]))
    assert (await peer.end_of(2)).exit_code == 0
    assert len(peer.data()) == protocol.WINDOW_BYTES
    await peer.send(Credit(1, 1_000))
    await until(lambda: len(peer.data()) == protocol.WINDOW_BYTES + 1_000)
    await peer.send(Credit(1, 10_000_000))
    await peer.end_of()
    assert len(peer.data()) == 3_000_000


async def test_input_grants_credit_as_the_command_takes_it(peer: SocketClient, commands: RunningFeature) -> None:
    """More than a window of bytes reaches the command, and then the end of the input."""
    data = bytes(range(256)) * 20_000
    await peer.send(Call(1, "exec", [["sha1sum"]]))
    sending, given = protocol.SendWindow(), protocol.SendWindow()
    given.credit = 0
    rest = memoryview(data)
    while rest:
        place, part = sending.offset, sending.take(rest)
        if part:
            rest = rest[len(part) :]
            await peer.connection.handle_binary(protocol.encode_piece(protocol.INPUT, 1, place, part))
        else:
            await until(lambda: sum(credit.bytes for credit in peer.of(Credit)) > given.credit)
            sending.add(sum(credit.bytes for credit in peer.of(Credit)) - given.credit)
            given.credit = sum(credit.bytes for credit in peer.of(Credit))
    await peer.send(End(1))
    await peer.end_of()
    reply = await commands.call("exec", ["sha1sum"], stdin="")
    assert len(peer.data()) == len(reply.data)
    assert peer.data() != reply.data


async def test_input_that_comes_before_the_start_of_its_job_reaches_it(peer: SocketClient) -> None:
    """So does the end of the input, after bytes or alone."""
    for number, data in ((1, b"early"), (2, b"")):
        await peer.send(Call(number, "exec", [["cat"]]))
        if data:
            await peer.connection.handle_binary(protocol.encode_piece(protocol.INPUT, number, 0, data))
        await peer.send(End(number))
        assert not peer.of(Started, number)
        assert (await peer.end_of(number)).exit_code == 0
    assert peer.data() == b"early"


async def test_a_job_without_input_has_no_task_for_it(peer: SocketClient, commands: RunningFeature) -> None:
    """The task begins with the first bytes, or with the end of the input."""
    await peer.send(Call(1, "exec", [["cat"]]))
    await until(lambda: peer.of(Started))
    name = f"job-{peer.of(Started)[0].number}-forward"
    assert name not in commands.service.tasks.names()
    await peer.connection.handle_binary(protocol.encode_piece(protocol.INPUT, 1, 0, b"late"))
    assert name in commands.service.tasks.names()
    await until(lambda: peer.data() == b"late")
    await peer.send(End(1))
    assert (await peer.end_of()).exit_code == 0


async def test_a_message_of_bytes_is_a_binary_frame(peer: SocketClient, commands: RunningFeature) -> None:
    """It comes in its place among the other messages."""
    (commands.home / "f").write_bytes(b"\xff" * 10)
    await peer.send(Call(1, "rdfile", ["f"]))
    await peer.end_of()

    says, piece = (message for message in peer.messages if type(message) in (Emitted, protocol.Piece))
    assert says.values == ["Contents of f"]
    assert (piece.kind, piece.offset, piece.data) == (protocol.VALUE, 1, b"\xff" * 10)


async def test_output_that_is_no_longer_kept_is_a_gap(peer: SocketClient, commands: RunningFeature) -> None:
    """The message has the offsets of the gap."""
    reply = await commands.call("exec", "echo hello")
    commands.service._spools.remove(reply.number)
    await peer.send(Call(1, "attach", [reply.number]))
    await peer.end_of()
    assert peer.of(Gap) == [Gap(1, 0, 6)]


async def test_a_message_that_is_too_large_is_an_error(peer: SocketClient, commands: RunningFeature) -> None:
    """It would not fit into a text frame; the connection lives on."""

    async def shouts(call: Any) -> None:
        await call.emit_and_drain("x" * (protocol.LONGEST_TEXT_BYTES + 1))

    commands.service.registry.add(command(shouts))
    await peer.send(Call(1, "shouts"))
    done = await peer.end_of()
    assert done.error is not None
    assert "too large" in done.error.message
    await peer.send(Call(2, "cwd"))
    assert peer.of(Done, 2)


async def test_input_beyond_the_credit_is_refused(peer: SocketClient, commands: RunningFeature) -> None:
    """A command that reads nothing holds at most one window of input."""

    async def waits(call: Any) -> None:
        await asyncio.Event().wait()

    commands.service.registry.add(command(waits))
    await peer.send(Call(1, "waits"))
    for offset in range(0, protocol.WINDOW_BYTES, protocol.WINDOW_BYTES // 16):
        data = bytes(protocol.WINDOW_BYTES // 16)
        await peer.connection.handle_binary(protocol.encode_piece(protocol.INPUT, 1, offset, data))
    assert [message for message in peer.messages if type(message) is Refused] == []
    await peer.connection.handle_binary(protocol.encode_piece(protocol.INPUT, 1, protocol.WINDOW_BYTES, b"x"))
    (refused,) = (message for message in peer.messages if type(message) is Refused)
    assert "credit" in refused.detail
