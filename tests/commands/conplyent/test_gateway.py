"""The gateway for conplyent's clients, tested byte by byte: many clients, the order of commands, hostile clients."""

from __future__ import annotations

import asyncio
import io
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from smartmob.commands import registry
from smartmob.commands.conplyent import pickles, protocol
from smartmob.commands.conplyent.decoder import MODULE
from smartmob.commands.conplyent.gateway import ConplyentGateway
from smartmob.commands.conplyent.zmtp import GREETING, READY, Wire, command, frame
from smartmob.errors import StartupError
from smartmob.feature_settings import ConplyentSettings
from tests.commands.features import RunningFeature, feature
from tests.waiting import SECONDS, until


class _Message:
    """The content of conplyent's MSG."""

    def __init__(self) -> None:
        self.kind: Any = None
        self.fields: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.kind, self.fields = state["_type"], state["_kwargs"]


class _Trusting(pickle.Unpickler):
    """An unpickler that trusts its input, as conplyent's client does."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        own = {"MSG": _Message, "MSGType": lambda value: value}
        return own[global_name] if module_name == MODULE else super().find_class(module_name, global_name)


class Peer:
    """A client that speaks the wire as libzmq and conplyent's client do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._wire = Wire(100_000_000)
        self.messages: list[tuple[Any, dict[str, Any]]] = []

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)

    def call(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Send a command."""
        fields = {"cmd_id": name, "args": args, "keywargs": kwargs}
        self.write(frame(pickles.encode(protocol.COMMAND, True, fields)))

    async def next(self) -> tuple[Any, dict[str, Any]]:
        """Return the next message."""
        while not self.messages:
            data = await self._reader.read(65536)
            if not data:
                raise ConnectionError
            for body in self._wire.receive(data):
                message = _Trusting(io.BytesIO(body)).load()
                self.messages.append((message.kind, message.fields))
        return self.messages.pop(0)

    async def answer(self) -> tuple[list[Any], int | None]:
        """Return the details of the next command, without the echo, and its exit code."""
        kind, fields = await self.next()
        assert kind == protocol.ACKNOWLEDGE
        number, details = fields["request_id"], []
        while True:
            kind, fields = await self.next()
            assert fields["request_id"] == number
            assert fields["msg_num"] == len(details)
            if kind == protocol.COMPLETE:
                return details[1:], fields["exit_code"]
            details.append(fields["details"])

    async def disconnected(self) -> bool:
        """Return whether the server has closed the connection."""
        async with asyncio.timeout(SECONDS):
            try:
                while await self._reader.read(65536):
                    pass
            except ConnectionError:
                pass
        return True


class OpenGateway:
    """A listening gateway, and the maker of its clients."""

    def __init__(self, commands: RunningFeature, gateway: ConplyentGateway) -> None:
        self.commands = commands
        self.gateway = gateway

    @asynccontextmanager
    async def peer(self, greeting: bytes = GREETING + READY) -> AsyncIterator[Peer]:
        """Connect and send a greeting."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        writer.write(greeting)
        try:
            yield Peer(reader, writer)
        finally:
            writer.close()


@pytest.fixture(name="gateway")
async def _gateway(database_url: str, tmp_path: Path) -> AsyncIterator[OpenGateway]:
    """Return the listening gateway of a feature."""
    async with feature(database_url, tmp_path) as commands:
        settings = ConplyentSettings(port=0, max_message=1024 * 1024)
        gateway = ConplyentGateway(commands.service, settings, commands.tasks)
        await gateway.start()
        yield OpenGateway(commands, gateway)
        gateway.close()


async def test_a_client_gets_heartbeats_and_the_names_of_commands(gateway: OpenGateway) -> None:
    """PING of libzmq is answered, and commands that stream bytes are not offered."""
    async with gateway.peer() as peer:
        peer.write(frame(pickles.encode(protocol.HEARTBEAT, True, {})) * 2)
        peer.write(frame(pickles.encode(protocol.SYNC, True, {})))
        peer.write(command(b"PING", b"\0\x10x"))
        assert [await peer.next(), await peer.next()] == [(protocol.HEARTBEAT, {})] * 2
        kind, fields = await peer.next()
        assert kind == protocol.SYNC
        assert {"exec", "cd", "kill"} <= set(fields["args"][0])
        assert not {"get", "put"} & set(fields["args"][0])


async def test_many_clients_are_served_at_a_time(gateway: OpenGateway) -> None:
    """Each has its own working directory, and none waits for another."""
    (gateway.commands.home / "a").mkdir()
    async with gateway.peer() as one, gateway.peer() as two:
        one.call("cd", str(gateway.commands.home / "a"))
        two.call("exec", ["cat"])
        assert await one.answer() == ([str(gateway.commands.home / "a")], 0)
        one.call("cwd")
        assert await one.answer() == ([str(gateway.commands.home / "a")], 0)
        assert (await two.next())[0] == protocol.ACKNOWLEDGE
        two.call("cwd")


async def test_commands_run_in_the_order_of_their_arrival(gateway: OpenGateway) -> None:
    """Commands that were sent without waiting run one after the other."""
    path = str(gateway.commands.home / "f")
    async with gateway.peer() as peer:
        for number in range(50):
            peer.call("wrfile", path, str(number).encode(), append=number > 0)
        for _ in range(50):
            assert (await peer.answer())[1] == 0
    assert (gateway.commands.home / "f").read_text() == "".join(map(str, range(50)))


async def test_request_ids_are_never_0_and_never_repeated(gateway: OpenGateway) -> None:
    """Five commands get five ids."""
    async with gateway.peer() as peer:
        numbers = []
        for _ in range(5):
            peer.call("cwd")
            kind, fields = await peer.next()
            while kind != protocol.COMPLETE:
                kind, fields = await peer.next()
            numbers.append(fields["request_id"])
    assert 0 not in numbers
    assert len(set(numbers)) == 5


async def test_errors_are_answered_with_builtin_exceptions(gateway: OpenGateway) -> None:
    """Unknown commands, wrong arguments and failed commands get an answer."""
    async with gateway.peer() as peer:
        for name, args in (("nothing", ()), ("cd", (5,)), ("cd", ("/no/such",))):
            peer.call(name, *args)
        answers = [await peer.answer() for _ in range(3)]
    assert [(code, type(details[-1])) for details, code in answers] == [
        (1, LookupError),
        (1, TypeError),
        (1, FileNotFoundError),
    ]


async def test_an_honest_client_gets_an_error_for_an_unsupported_object(gateway: OpenGateway) -> None:
    """Its listener would wait without end if the connection were closed."""
    async with gateway.peer() as peer:
        data = pickles.encode(protocol.COMMAND, True, {"cmd_id": "ls", "args": ("P",), "keywargs": {}})
        path = pickle.dumps(Path("/tmp"), 3)[2:-1]
        peer.write(frame(data.replace(pickle.dumps("P", 3)[2:-3], path, 1)))
        (error,), code = await peer.answer()
        assert (type(error), code) == (TypeError, 1)
        assert "pathlib" in str(error)


@pytest.mark.parametrize(
    "attack",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        GREETING + READY + frame(b"garbage"),
        GREETING + READY + frame(b"\x80\x03cos\nsystem\nX\x04\0\0\0true\x85R0."),
        GREETING + READY + frame(b"\x80\x03Nr\xff\xff\xff\x7f."),
        GREETING + READY + b"\x02" + (100 * 1024 * 1024).to_bytes(8, "big") + b"x" * 1_000,
        GREETING + READY + b"\x01\x01a",
        GREETING[:20] + b"\0" * 100,
    ],
)
async def test_hostile_clients_are_disconnected(gateway: OpenGateway, attack: bytes) -> None:
    """Other clients are served as before."""
    async with gateway.peer() as honest:
        async with gateway.peer(attack) as hostile:
            assert await hostile.disconnected()
        honest.call("os_info")
        assert await honest.answer() == (["linux"], 0)


async def test_jobs_go_on_without_their_client(gateway: OpenGateway) -> None:
    """No task of its connection is left."""
    async with gateway.peer() as peer:
        peer.call("exec", ["cat"])
        _, fields = await peer.next()
    await until(lambda: not gateway.gateway.peers)
    assert (await gateway.commands.call("is_alive", fields["request_id"])).values == [True]
    await until(lambda: not any(name.startswith("conplyent") for name in gateway.commands.tasks.names()))


async def test_output_for_a_slow_client_waits_on_disk(gateway: OpenGateway) -> None:
    """Other clients are served meanwhile."""
    async with gateway.peer() as slow, gateway.peer() as other:
        slow.call("exec", "yes | head -c 40000000")
        await until(lambda: gateway.commands.service._spools.total == 40_000_000)
        other.call("cwd")
        assert (await other.answer())[1] == 0
        (peer,) = (peer for peer in gateway.gateway.peers if peer._tasks)
        assert peer.transport.get_write_buffer_size() < 30_000_000


async def test_messages_for_a_slow_client_are_not_made(commands: RunningFeature) -> None:
    """A command that says much waits until its client has read, and the client then gets all of it."""
    made = 0

    async def talks(call: Any) -> None:
        nonlocal made
        while made < 64:
            made += 1
            await call.emit_and_drain("x" * 2**20)

    commands.service.registry.add(registry.command(talks))
    async with _bounded(commands) as gateway, gateway.peer() as slow, gateway.peer() as other:
        slow.call("talks")
        await until(lambda: made > 0)
        other.call("os_info")
        assert await other.answer() == (["linux"], 0)
        assert made < 64
        assert await slow.answer() == (["x" * 2**20] * 64, 0)


async def test_a_taken_port_stops_the_start(gateway: OpenGateway) -> None:
    """The error names the setting to change."""
    settings = ConplyentSettings(port=gateway.gateway.port)
    with pytest.raises(StartupError, match="--conplyent-port"):
        await ConplyentGateway(gateway.commands.service, settings, gateway.commands.tasks).start()


async def test_the_gateway_is_closed_by_default(gateway: OpenGateway) -> None:
    """Without the setting it does not listen."""
    closed = ConplyentGateway(gateway.commands.service, ConplyentSettings(), gateway.commands.tasks)
    await closed.start()
    assert closed.port == 0
    closed.close()


@asynccontextmanager
async def _bounded(commands: RunningFeature, **bounds: Any) -> AsyncIterator[OpenGateway]:
    """Run a gateway with other bounds than the usual ones."""
    gateway = ConplyentGateway(commands.service, ConplyentSettings(port=0), commands.tasks, **bounds)
    await gateway.start()
    try:
        yield OpenGateway(commands, gateway)
    finally:
        gateway.close()


async def test_a_client_without_a_greeting_is_disconnected(commands: RunningFeature) -> None:
    """A client that has completed the handshake stays."""
    async with _bounded(commands, greeting_seconds=2.0) as gateway, gateway.peer() as honest:
        honest.call("os_info")
        assert await honest.answer() == (["linux"], 0)
        async with gateway.peer(GREETING) as silent:
            await until(lambda: len(gateway.gateway.peers) == 2)
            await until(lambda: len(gateway.gateway.peers) == 1)
            assert await silent.disconnected()
        honest.call("os_info")
        assert await honest.answer() == (["linux"], 0)


async def test_clients_beyond_the_limit_are_disconnected(commands: RunningFeature) -> None:
    """The next client is served when one has left."""
    async with _bounded(commands, most_connections=1) as gateway:
        async with gateway.peer() as first:
            first.call("os_info")
            assert await first.answer() == (["linux"], 0)
            async with gateway.peer() as second:
                second.call("os_info")
                with pytest.raises(ConnectionError):
                    await second.answer()
        await until(lambda: not gateway.gateway.peers)
        async with gateway.peer() as third:
            third.call("os_info")
            assert await third.answer() == (["linux"], 0)


async def test_reading_is_paused_while_many_requests_wait(commands: RunningFeature) -> None:
    """The requests are answered in their order when the first command has ended."""
    released = asyncio.Event()

    async def waits(call: Any) -> None:
        await released.wait()

    commands.service.registry.add(registry.command(waits))
    async with _bounded(commands, most_waiting=4) as gateway, gateway.peer() as peer:
        for name in ("waits", *("os_info",) * 6):
            peer.call(name)
        (connection,) = await until(lambda: gateway.gateway.peers)
        await until(lambda: not connection.transport.is_reading() or len(connection._waiting) == 6)
        assert not connection.transport.is_reading()
        released.set()
        assert [await peer.answer() for _ in range(7)] == [([], 0), *[(["linux"], 0)] * 6]
        assert connection.transport.is_reading()


async def test_a_prompt_is_sent_before_its_line_ends_to_a_client_that_asks(gateway: OpenGateway) -> None:
    """With the argument `partial` a line comes as it is written; without it whole lines come, as from conplyent."""
    line = "printf 'name? '; read x; echo $x"
    async with gateway.peer() as peer:
        peer.call("exec", line, partial=True)
        number = (await peer.next())[1]["request_id"]
        assert [(await peer.next())[1]["details"] for _ in range(2)][1] == "name? "
        await gateway.commands.call("send_input", number, "me")
        assert [(await peer.next())[1].get("details") for _ in range(2)] == ["me\n", None]
        peer.call("exec", line)
        number = (await peer.next())[1]["request_id"]
        running = gateway.commands.service.supervisor.find(number)
        assert running is not None
        await until(lambda: running.spool.end == len("name? "))
        await gateway.commands.call("send_input", number, "me")
        assert [(await peer.next())[1].get("details") for _ in range(3)][1:] == ["name? me\n", None]


async def test_minus_one_is_a_bad_parameter_and_a_hangup_as_on_conplyents_server(gateway: OpenGateway) -> None:
    """The wire has one number for both, and the client raises ValueError for it where `raise_error` asks."""
    async with gateway.peer() as peer:
        peer.call("ls", "/no/such")
        assert await peer.answer() == (["/no/such: No such directory"], -1)
        peer.call("exec", "kill -HUP $$")
        assert await peer.answer() == ([], -1)


async def test_a_client_that_connects_again_is_where_it_was(gateway: OpenGateway, tmp_path: Path) -> None:
    """As on conplyent's server, whose directory stays; one that is gone is not kept."""
    (tmp_path / "work").mkdir()
    async with gateway.peer() as first:
        first.call("cd", str(tmp_path / "work"))
        assert await first.answer() == ([str(tmp_path / "work")], 0)
    await until(lambda: not gateway.gateway.peers)
    async with gateway.peer() as second:
        second.call("cwd")
        assert await second.answer() == ([str(tmp_path / "work")], 0)
    await until(lambda: not gateway.gateway.peers)
    (tmp_path / "work").rmdir()
    async with gateway.peer() as third:
        third.call("cwd")
        assert await third.answer() == ([str(Path.home())], 0)
