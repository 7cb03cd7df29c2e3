"""The gateway for clients of conplyent under sequences of valid calls, damaged pickles and broken frames."""

from __future__ import annotations

import io
import itertools
import pickle
import socket
from typing import Any

import orjson
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from smartmob.commands.conplyent import pickles, protocol
from smartmob.commands.conplyent.decoder import MODULE
from smartmob.commands.conplyent.zmtp import GREETING, READY, Wire, command, frame
from tests.fuzzing.machine import MeasuredMachine
from tests.fuzzing.mutations import any_of, damaged
from tests.fuzzing.service import SECONDS, TIMEOUT, Service, settings

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(TIMEOUT)]

_MOST_CONNECTIONS = 3
_PROGRAM_SECONDS = 0.3
_names = itertools.count(1)


def call(name: str, *args: Any, **kwargs: Any) -> bytes:
    """Return the pickle of a command."""
    return pickles.encode(protocol.COMMAND, True, {"cmd_id": name, "args": args, "keywargs": kwargs})


def _nested(depth: int) -> bytes:
    """Return a command whose argument is a tuple of tuples."""
    return call("cwd").replace(b")", b")" + b"\x85" * depth, 2)


# No path is absolute, and no program or command removes anything: one byte may become any other.
_VALID = [
    call("cwd"),
    call("ls", "sub"),
    call("exec", ["true", "a"], env={"A": "b"}),
    call("is_alive", 2**40),
    call("nothing", [1, 2.5, None, True, b"bytes", {"a": {1, 2}}, ("x",) * 20], a={"b": [2**200]}),
    pickles.encode(protocol.HEARTBEAT, True, {}),
    pickles.encode(protocol.SYNC, True, {}),
]
_WRONG = [
    *(_nested(depth) for depth in (20, 1000, 100_000)),
    call("cwd", [[]] * 60_000),
    call("cwd", {str(number): number for number in range(60_000)}),
    b"\x80\x03r\xff\xff\xff\x7f.",
    b"\x80\x03cos\nsystem\n(X\x04\0\0\0trueitR.",
    pickle.dumps({"_type": 1}),
    b"",
]
_FRAMES = [
    b"\x04\x05\x04PING",
    b"\x01\x00\x00\x00",
    b"\x02" + b"\xff" * 8,
    b"\x06" + b"\xff" * 8,
    b"\xff" * 64,
    frame(b"x" * 1000)[:500],
    command(b"PING", b"\0\x10" + b"x" * 16) * 500,
    command(b"READY", b"\xff" * 9),
]


class _Message:
    """The fields of MSG of a client of conplyent."""

    def __init__(self) -> None:
        self.kind: Any = None
        self.fields: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.kind, self.fields = state["_type"], state["_kwargs"]


class _Reader(pickle.Unpickler):
    """Reads what the service sends; other classes than those of conplyent's client are not looked up."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name == MODULE:
            return {"MSG": _Message, "MSGType": lambda value: value}[global_name]
        if module_name == "builtins" and global_name.endswith(("Error", "Exception")):
            return lambda *given: (global_name, given)
        raise pickle.UnpicklingError(f"{module_name}.{global_name}")


class Peer:
    """A connection of a client of conplyent."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._socket.sendall(GREETING + READY)
        self._wire = Wire(100_000_000)
        self._bodies: list[bytes] = []

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def next(self) -> tuple[Any, dict[str, Any]]:
        """Return the next message."""
        while not self._bodies:
            data = self._socket.recv(65536)
            assert data, "the service has ended the connection"
            self._bodies += self._wire.receive(data)
        message = _Reader(io.BytesIO(self._bodies.pop(0))).load()
        return message.kind, message.fields

    def result(self, name: str, *args: Any, **kwargs: Any) -> tuple[int, list[Any], int | None]:
        """Call a command; return its number, its details without the echo, and its exit code."""
        self.send(frame(call(name, *args, **kwargs)))
        kind, fields = self.next()
        assert kind == protocol.ACKNOWLEDGE
        number, details = fields["request_id"], []
        while True:
            kind, fields = self.next()
            assert (fields["request_id"], fields["msg_num"]) == (number, len(details))
            if kind == protocol.COMPLETE:
                return number, details[1:], fields["exit_code"]
            details.append(fields["details"])

    def until_closed(self) -> None:
        """End the sending direction, and return when the service has ended the connection."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(65536):
                pass
        except OSError as error:
            assert not isinstance(error, TimeoutError)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class Gateway(MeasuredMachine):
    """Honest clients, and hostile ones that send over connections of their own."""

    def __init__(self, target: Service) -> None:
        super().__init__(target)
        self.open: list[Peer] = []
        self.jobs: dict[int, bytes] = {}
        self.files: dict[str, bytes] = {}

    @precondition(lambda self: len(self.open) < _MOST_CONNECTIONS)
    @rule()
    def connect(self) -> None:
        """A client connects, and gets the names of the commands."""
        peer = Peer(self.target.conplyent_port)
        self.open.append(peer)
        peer.send(frame(pickles.encode(protocol.HEARTBEAT, True, {})))
        assert peer.next() == (protocol.HEARTBEAT, {})
        peer.send(frame(pickles.encode(protocol.SYNC, True, {})))
        assert "exec" in peer.next()[1]["args"][0]

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9), lines=st.integers(0, 500), code=st.integers(0, 3))
    def execute(self, of: int, lines: int, code: int) -> None:
        """A program's lines and exit code arrive, and can be read again later."""
        self.cost.allow(_PROGRAM_SECONDS)
        mark = f"job {next(_names)}"
        peer = self.peer(of)
        number, details, exit_code = peer.result("exec", f"yes '{mark}' | head -n {lines}; exit {code}")
        assert (details, exit_code) == ([f"{mark}\n"] * lines, code)
        assert number not in self.jobs
        self.jobs[number] = f"{mark}\n".encode() * lines

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9), data=st.binary(max_size=3000))
    def write(self, of: int, data: bytes) -> None:
        """A file that was written is read as it was."""
        peer, name = self.peer(of), f"gateway{next(_names)}"
        path = str(self.target.folder / name)
        assert peer.result("wrfile", path, data)[2] == 0
        _, details, exit_code = peer.result("rdfile", path)
        assert (b"".join(details[1:]), exit_code) == (data, 0)
        self.files[path] = data

    @rule(message=st.one_of(any_of(_VALID).flatmap(damaged), any_of(_WRONG), st.binary(max_size=200)))
    def mutate(self, message: bytes) -> None:
        """A message that no client of conplyent sends ends at most its own connection."""
        self.cost.allow(_PROGRAM_SECONDS)
        peer = Peer(self.target.conplyent_port)
        self.spoil(peer, frame(message))

    @rule(data=st.one_of(any_of(_FRAMES), st.binary(max_size=100), damaged(frame(call("cwd")))))
    def broken_frames(self, data: bytes) -> None:
        """A malformed or incomplete frame ends at most its own connection."""
        self.spoil(Peer(self.target.conplyent_port), data)

    @rule(data=st.one_of(damaged(GREETING + READY), st.binary(max_size=100)))
    def broken_greeting(self, data: bytes) -> None:
        """A malformed greeting ends at most its own connection."""
        with socket.create_connection(("127.0.0.1", self.target.conplyent_port), SECONDS) as line:
            line.sendall(data)

    @rule(count=st.integers(1, 3), part=st.integers(0, 60))
    def leave_in_the_middle(self, count: int, part: int) -> None:
        """A client can disconnect while its calls run, and no other client waits."""
        self.cost.allow(_PROGRAM_SECONDS * count)
        peer, data = Peer(self.target.conplyent_port), frame(call("exec", ["true"])) * count
        peer.send(data[: len(data) - part])
        peer.close()

    def teardown(self) -> None:
        self.cost.allow(0.1 * len(self.jobs) + 0.5)
        self.cost.end(self.open, self.check_acknowledged)

    def check_acknowledged(self) -> None:
        """Fail unless all connections still serve, and jobs and files are as they were acknowledged."""
        for peer in self.open:
            assert peer.result("is_alive", 2**40)[1] == [False]
        for number, output in self.jobs.items():
            assert orjson.loads(self.target.get(f"/jobs/{number}"))["id"] == number
            assert self.target.get(f"/jobs/{number}/output?from=0") == output
        for path, data in self.files.items():
            with open(path, "rb") as file:
                assert file.read() == data

    def peer(self, of: int) -> Peer:
        return self.open[of % len(self.open)]

    def spoil(self, peer: Peer, data: bytes) -> None:
        """Send data, and wait until the service ends the connection."""
        try:
            peer.send(data)
        except ConnectionError:
            pass
        peer.until_closed()
        peer.close()


def test_no_input_of_clients_of_the_gateway_harms_the_service(service: Service) -> None:
    """No input of clients causes a stall, memory growth or an internal error; acknowledged programs and files exist."""
    run_state_machine_as_test(lambda: Gateway(service), settings=settings(5, 10))
