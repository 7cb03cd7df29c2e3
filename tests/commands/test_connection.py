"""One WebSocket connection: many commands at once, bytes both ways at the pace of whoever takes them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from smartmob.commands import protocol
from smartmob.commands.connection import Connection
from smartmob.commands.protocol import Call, Cancel, Credit, Done, End, Gap, Hello, Ping, Pong, Refused, Says, Started
from smartmob.kernel.http.json_depth import MOST_LEVELS
from tests.commands.features import RunningFeature
from tests.waiting import until


class Client:
    """A client without a network: it keeps what it is sent, and takes nothing while `open` is not set."""

    def __init__(self, commands: RunningFeature) -> None:
        self.messages: list[Any] = []
        self.open = asyncio.Event()
        self.open.set()
        self.connection = Connection(commands.service, self, "10.0.0.1:5")
        self.connection.session.cwd = commands.home

    async def send_text(self, content: bytes) -> None:
        await self.open.wait()
        self.messages.append(protocol.decode_server_message(content))

    async def send_binary(self, content: bytes) -> None:
        await self.open.wait()
        self.messages.append(protocol.decode_piece(content))

    async def say(self, *messages: Any) -> None:
        """Send messages of a client."""
        for message in messages:
            await self.connection.text(protocol.encode(message).decode())

    def of(self, kind: type, call_id: int = 1) -> list[Any]:
        """Return the messages of a class about a call."""
        return [message for message in self.messages if type(message) is kind and message.id == call_id]

    async def end_of(self, call_id: int = 1) -> Done:
        """Return how a call ended, once it has."""
        (done,) = await until(lambda: self.of(Done, call_id))
        return done

    def data(self, call_id: int = 1) -> bytes:
        """Return the bytes of a call's output."""
        return b"".join(piece.data for piece in self.of(protocol.Piece, call_id) if piece.kind == protocol.OUTPUT)


@pytest.fixture(name="peer")
async def _peer(commands: RunningFeature) -> Any:
    """Return a connected client."""
    client = Client(commands)
    yield client
    client.connection.close()


async def test_a_greeting(peer: Client, commands: RunningFeature) -> None:
    """The client says who it is and gets its old folder back; the service says what it has."""
    (commands.home / "a").mkdir()
    await peer.say(Hello("ci@rack7", str(commands.home / "a")), Call(1, "cwd"), Ping(5))

    welcome, done, pong = peer.messages
    assert {"exec", "cd", "put"} <= {described.name for described in welcome.commands}
    assert done.values == [str(commands.home / "a")]
    assert pong == Pong(5)
    assert peer.connection.session.client == "ci@rack7 (10.0.0.1:5)"


async def test_a_quick_command(peer: Client) -> None:
    """It is answered by one message."""
    await peer.say(Call(1, "os_info"))
    assert peer.messages == [Done(1, 0, ["linux"])]


async def test_a_job(peer: Client) -> None:
    """Its number, its output at its offsets, and its end."""
    await peer.say(Call(1, "exec", ["echo hi; exit 3"]))
    done = await peer.end_of()

    (started,) = peer.of(Started)
    assert (started.job, started.number > 0, peer.data()) == (True, True, b"hi\n")
    assert (done.exit_code, done.state, done.end) == (3, "exited", 3)


async def test_many_at_once(peer: Client) -> None:
    """Two hundred commands on one connection do not get into each other's way."""
    await peer.say(*(Call(number, "exec", [["echo", str(number)]]) for number in range(200)))
    for number in range(200):
        assert (await peer.end_of(number)).exit_code == 0
        assert peer.data(number) == f"{number}\n".encode()


async def test_credit(peer: Client) -> None:
    """A call sends as many bytes as it has credit for, and others go on meanwhile."""
    await peer.say(Call(1, "exec", [["head", "-c", "3000000", "/dev/zero"]]))
    await until(lambda: len(peer.data()) == protocol.WINDOW_BYTES)
    await peer.say(Call(2, "exec", ["echo other"]))
    assert (await peer.end_of(2)).exit_code == 0
    assert len(peer.data()) == protocol.WINDOW_BYTES
    await peer.say(Credit(1, 1_000))
    await until(lambda: len(peer.data()) == protocol.WINDOW_BYTES + 1_000)
    await peer.say(Credit(1, 10_000_000))
    await peer.end_of()
    assert len(peer.data()) == 3_000_000


async def test_a_client_that_takes_nothing(peer: Client) -> None:
    """What waits for it is bounded, whatever it asked for."""
    peer.open.clear()
    for number in range(20):
        peer.connection._begin(Call(number, "exec", [["head", "-c", "2000000", "/dev/zero"]]))
    await until(lambda: peer.connection._held >= protocol.PIECE_BYTES)
    await asyncio.wait({asyncio.create_task(asyncio.sleep(0.2))})
    assert peer.connection._held <= 21 * protocol.PIECE_BYTES
    peer.open.set()


async def test_input(peer: Client, commands: RunningFeature) -> None:
    """Bytes reach the command as it takes them, which gives credit for more; then their end."""
    data = bytes(range(256)) * 20_000
    await peer.say(Call(1, "exec", [["sha1sum"]]))
    sending, given = protocol.SendWindow(), protocol.SendWindow()
    given.credit = 0
    rest = memoryview(data)
    while rest:
        place, part = sending.offset, sending.take(rest)
        if part:
            rest = rest[len(part) :]
            await peer.connection.binary(protocol.encode_piece(protocol.INPUT, 1, place, part))
        else:
            await until(lambda: sum(credit.bytes for credit in peer.of(Credit)) > given.credit)
            sending.add(sum(credit.bytes for credit in peer.of(Credit)) - given.credit)
            given.credit = sum(credit.bytes for credit in peer.of(Credit))
    await peer.say(End(1))
    await peer.end_of()
    told = await commands.call("exec", ["sha1sum"], stdin="")
    assert len(peer.data()) == len(told.data)
    assert peer.data() != told.data


async def test_bytes_as_messages(peer: Client, commands: RunningFeature) -> None:
    """A message that is bytes comes as a binary frame, in its place."""
    (commands.home / "f").write_bytes(b"\xff" * 10)
    await peer.say(Call(1, "rdfile", ["f"]))
    await peer.end_of()

    said, piece = (message for message in peer.messages if type(message) in (Says, protocol.Piece))
    assert said.values == ["Contents of f"]
    assert (piece.kind, piece.offset, piece.data) == (protocol.VALUE, 1, b"\xff" * 10)


async def test_errors(peer: Client) -> None:
    """An error says its class, its arguments and which kind of problem it is."""
    await peer.say(Call(1, "cd", ["/no/such"]), Call(2, "nothing"), Call(3, "cd"))
    found = [(await peer.end_of(number)).error for number in (1, 2, 3)]

    assert [error and (error.type, error.problem) for error in found] == [
        ("FileNotFoundError", "not-found"),
        ("LookupError", "not-found"),
        ("TypeError", "invalid-input"),
    ]
    assert found[0] is not None
    assert found[0].args == [2, "No such file or directory", "/no/such"]


async def test_what_is_nested_too_deeply(peer: Client) -> None:
    """A call with arguments of more levels than are taken is refused, one with as many as are taken is answered."""
    deep = "[" * MOST_LEVELS + "]" * MOST_LEVELS
    await peer.connection.text(f'{{"type":"call","id":1,"name":"cwd","args":{deep}}}')
    await peer.connection.text(f'{{"type":"call","id":2,"name":"cwd","args":{deep[2:-2]}}}')
    refused = [message for message in peer.messages if type(message) is Refused]

    assert [(message.problem, "nested too deeply" in message.detail) for message in refused] == [
        ("invalid-input", True)
    ]
    assert peer.of(Done, 2)


async def test_what_is_not_understood(peer: Client) -> None:
    """It is refused with the name of the problem, and the connection lives on."""
    await peer.connection.text("nonsense")
    await peer.connection.binary(b"short")
    await peer.say(Call(1, "exec", [["cat"]]), Call(1, "exec", [["cat"]]))
    await peer.connection.binary(protocol.encode_piece(protocol.INPUT, 1, 77, b"x"))
    refused = [message for message in peer.messages if type(message) is Refused]

    assert [message.problem for message in refused] == ["invalid-input"] * 4
    assert refused[2].id == 1
    await peer.say(Credit(9, 1), End(9), Cancel(9), Call(2, "cwd"))
    assert peer.of(Done, 2)


async def test_leaving_a_command(peer: Client, commands: RunningFeature) -> None:
    """A cancelled call says nothing more; its job goes on."""
    await peer.say(Call(1, "exec", ["read x; echo late"]))
    (started,) = await until(lambda: peer.of(Started))
    await peer.say(Cancel(1))
    await commands.call("send_input", started.number, "x")
    later = await commands.call("attach", started.number)

    assert later.data == b"late\n"
    assert peer.of(Done) == []


async def test_a_lost_client(peer: Client, commands: RunningFeature) -> None:
    """Its jobs go on, with their input open, and its other commands end."""
    await peer.say(Call(1, "exec", [["cat"]]), Call(2, "put", ["f", 10]))
    (started,) = await until(lambda: peer.of(Started))
    await until(lambda: (commands.home / "f.10.smartmob-part").exists())
    peer.connection.close()
    await commands.call("send_input", started.number, "still there")
    job = commands.service.supervisor.find(started.number)
    await until(lambda: job is not None and job.spool.end == 12)
    await until(lambda: not any("command-call" in name for name in commands.tasks.names()))


async def test_gaps(peer: Client, commands: RunningFeature) -> None:
    """What is no longer kept is told with its place."""
    told = await commands.call("exec", "echo hello")
    commands.service._outputs.remove(told.number)
    await peer.say(Call(1, "attach", [told.number]))
    await peer.end_of()
    assert peer.of(Gap) == [Gap(1, 0, 6)]
