"""`/commands` under sequences of valid, mutated and broken messages of clients that run programs and copy files."""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from tests.fuzzing.machine import WebSocketMachine
from tests.fuzzing.mutations import is_text, messages
from tests.fuzzing.service import TIMEOUT, Service, settings
from tests.fuzzing.websocket import BINARY, PING, PONG, TEXT, WebSocket, frame

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(TIMEOUT)]

OUTPUT, INPUT, VALUE = 1, 2, 3
LARGEST_ID = 2**32 - 1
_HEAD = struct.Struct(">BIQ")
_MOST_CONNECTIONS = 3
_PROGRAM_SECONDS = 0.3

_names = itertools.count(1)
_calls = itertools.count(1)


def piece(call: int, offset: int, data: bytes, kind: int = INPUT) -> bytes:
    """Return the content of a binary frame."""
    return _HEAD.pack(kind, call, offset) + data


def _call(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"type": "call", "id": LARGEST_ID, "name": name, "args": list(args), "kwargs": kwargs}


# What is changed here byte by byte must harm nothing: no path is absolute, and no program or command removes anything.
_HARMLESS = [
    {"type": "hello", "client": "hostile", "cwd": "."},
    {"type": "ping", "n": 5},
    {"type": "credit", "id": LARGEST_ID, "bytes": 5},
    {"type": "end", "id": LARGEST_ID},
    {"type": "cancel", "id": LARGEST_ID},
    _call("cwd"),
    _call("ls", "sub"),
    _call("cd", "sub/.."),
    _call("rdfile", "here", limit=10),
    _call("find_files", "sub"),
    _call("get", "here", offset=1),
    _call("put", "there", size=3, sha256=hashlib.sha256(b"abc").hexdigest(), mode=0o600, transfer="t"),
    _call("env", "HOME"),
    _call("is_alive", 2**40),
]
_STARTING = [
    _call("exec", ["true", "a"], env={"A": "b"}, cwd=".", timeout=5, stdin="x"),
    _call("exec", "exit 3", shell=True, terminal={"rows": 5, "columns": 5}),
    _call("attach", 2**40, offset=1, hold=False),
    _call("send_input", 2**40, "x"),
    _call("resize", 2**40, 5, 5),
    {**_call("exec", ["true"]), "key": "a-key-of-a-stranger"},
]


class Client:
    """A connection with calls of honest and hostile clients, whose answers have different ids."""

    def __init__(self, port: int, folder: Path) -> None:
        self.line = WebSocket(port, "/commands")
        self.line.send({"type": "hello", "client": "honest", "cwd": str(folder)})
        assert self.next(None)["type"] == "welcome"

    def call(self, name: str, *args: Any, key: str | None = None, **kwargs: Any) -> int:
        """Call a command; return the id of the call."""
        ident = next(_calls)
        message: dict[str, Any] = {"type": "call", "id": ident, "name": name, "args": list(args), "kwargs": kwargs}
        self.line.send(message if key is None else message | {"key": key})
        return ident

    def next(self, ident: int | None) -> dict[str, Any]:
        """Return the next message to a call, or the next of all; bytes come as a message, too."""
        while True:
            opcode, content = self.line.read()
            if opcode == BINARY:
                kind, of, offset = _HEAD.unpack_from(content)
                message = {"type": kind, "id": of, "offset": offset, "data": content[_HEAD.size :]}
            elif opcode == TEXT:
                message = orjson.loads(content)
            else:
                continue
            if ident is None or message.get("id") == ident:
                return message

    def result(self, ident: int) -> tuple[dict[str, Any], bytes, int]:
        """Return how a call ended, its output, and the number of its job or 0."""
        output, number = b"", 0
        while (message := self.next(ident))["type"] != "done":
            if message["type"] == OUTPUT:
                assert message["offset"] == len(output)
                output += message["data"]
                if message["data"]:
                    self.line.send({"type": "credit", "id": ident, "bytes": len(message["data"])})
            elif message["type"] == "started":
                number = message["number"]
            else:
                assert message["type"] in ("says", VALUE, "credit"), message
        return message, output, number


class Commands(WebSocketMachine):
    """Honest clients that run programs and copy files, and hostile ones that send anything over their connections."""

    path = "/commands"

    def __init__(self, target: Service) -> None:
        super().__init__(target)
        self.folder = target.folder / f"work{next(_names)}"
        (self.folder / "sub").mkdir(parents=True)
        (self.folder / "here").write_bytes(b"here")
        self.open: list[Client] = []
        self.jobs: dict[int, bytes] = {}
        self.files: dict[str, bytes] = {}

    # -- honest ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.open) < _MOST_CONNECTIONS)
    @rule()
    def connect(self) -> None:
        """A client connects and is welcome."""
        self.open.append(Client(self.target.port, self.folder))

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9), size=st.integers(0, 3_000_000), code=st.integers(0, 3))
    def execute(self, of: int, size: int, code: int) -> None:
        """A program's output and exit code arrive, and can be read again later."""
        self.cost.allow(_PROGRAM_SECONDS)
        client, mark = self.client(of), f"job {next(_names)} "
        ident = client.call("exec", f"printf '{mark}'; head -c {size} /dev/zero; exit {code}")
        done, output, number = client.result(ident)
        assert (done["exit_code"], output) == (code, mark.encode() + bytes(size))
        self.keep_job(number, output)

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9), parts=st.lists(st.binary(min_size=1, max_size=2000), max_size=5))
    def feed(self, of: int, parts: Sequence[bytes]) -> None:
        """A program gets its input in order, and returns it."""
        self.cost.allow(_PROGRAM_SECONDS)
        client = self.client(of)
        ident, offset = client.call("exec", ["cat"]), 0
        started = client.next(ident)
        for part in parts:
            client.line.send(piece(ident, offset, part), BINARY)
            offset += len(part)
        client.line.send({"type": "end", "id": ident})
        done, output, _ = client.result(ident)
        assert (done["exit_code"], output) == (0, b"".join(parts))
        self.keep_job(started["number"], output)

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9))
    def kill(self, of: int) -> None:
        """A running program is killed, and its end is reported."""
        self.cost.allow(_PROGRAM_SECONDS)
        client = self.client(of)
        ident = client.call("exec", ["sleep", "600"])
        number = client.next(ident)["number"]
        told, _, _ = client.result(client.call("kill", number))
        assert told["values"] == [f"Sent kill command to job {number}"]
        assert client.result(ident)[0]["exit_code"] == -15
        self.keep_job(number, b"")

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9), again=st.integers(0, 9))
    def repeat(self, of: int, again: int) -> None:
        """A call that is repeated with its key is one job."""
        self.cost.allow(_PROGRAM_SECONDS)
        mark = f"mark-{next(_names):08}"
        line = f"echo once >> {mark}; echo {mark}"
        found = []
        for place in (of, again):
            client = self.client(place)
            done, output, number = client.result(client.call("exec", line, key=mark))
            assert (done["exit_code"], output) == (0, f"{mark}\n".encode())
            found.append(number)
        assert found[0] == found[1]
        assert (self.folder / mark).read_bytes() == b"once\n"

    @precondition(lambda self: self.jobs and self.open)
    @rule(of=st.integers(0, 9), job=st.integers(0, 99))
    def attach(self, of: int, job: int) -> None:
        """The output of a job that has ended can be read again."""
        self.cost.allow(_PROGRAM_SECONDS)
        client, number = self.client(of), sorted(self.jobs)[job % len(self.jobs)]
        assert client.result(client.call("attach", number))[1] == self.jobs[number]

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9), size=st.integers(0, 300_000), split=st.integers(1, 100_000))
    def put(self, of: int, size: int, split: int) -> None:
        """A file that is acknowledged is complete."""
        client, name = self.client(of), f"file{next(_names)}"
        data = (name.encode() * (size // len(name) + 1))[:size]
        ident = client.call("put", name, size=size, sha256=hashlib.sha256(data).hexdigest())
        while client.next(ident)["type"] != "says":
            pass
        for place in range(0, size, max(split, size // 50)):
            client.line.send(piece(ident, place, data[place : place + max(split, size // 50)]), BINARY)
        client.line.send({"type": "end", "id": ident})
        done, _, _ = client.result(ident)
        assert (done["exit_code"], done.get("error")) == (0, None)
        self.files[name] = data

    @precondition(lambda self: self.files and self.open)
    @rule(of=st.integers(0, 9), name=st.integers(0, 99))
    def get(self, of: int, name: int) -> None:
        """A file is returned as it was stored."""
        client, chosen = self.client(of), sorted(self.files)[name % len(self.files)]
        done, output, _ = client.result(client.call("get", chosen))
        assert (done["exit_code"], output) == (0, self.files[chosen])

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9), count=st.integers(1, 300))
    def ping_flood(self, of: int, count: int) -> None:
        """Each ping is answered: those of the WebSocket protocol and those of smartmob."""
        client = self.client(of)
        client.line.write((frame(PING, b"p") + frame(TEXT, b'{"type": "ping", "n": 77}')) * count)
        for _ in range(count):
            while client.line.read() != (PONG, b"p"):
                pass
        self.answers(client)

    # -- hostile --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.open)
    @rule(
        of=st.integers(0, 9),
        sent=st.lists(messages(_HARMLESS, keep=("id",)), min_size=1, max_size=8),
        binary=st.booleans(),
    )
    def mutate(self, of: int, sent: list[bytes], binary: bool) -> None:
        """A malformed message is answered with an error, and the connection stays open."""
        client = self.client(of)
        self.cost.allow(0.1 * len(sent))
        for message in sent:
            client.line.send(message, TEXT if not binary and is_text(message) else BINARY)
        self.answers(client)

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9), sent=messages(_STARTING, damage=False))
    def mutate_programs(self, of: int, sent: bytes) -> None:
        """A call without a program or with wrong arguments affects no other call."""
        self.cost.allow(_PROGRAM_SECONDS)
        client = self.client(of)
        client.line.send(sent, TEXT if is_text(sent) else BINARY)
        self.answers(client)

    @precondition(lambda self: self.open)
    @rule(
        of=st.integers(0, 9),
        kind=st.integers(0, 255),
        offset=st.sampled_from([0, 1, 2**32, 2**63, 2**64 - 1]),
        sizes=st.lists(st.sampled_from([0, 1, 1000, 600_000]), max_size=5),
    )
    def wrong_pieces(self, of: int, kind: int, offset: int, sizes: list[int]) -> None:
        """Input that is wrong, too much or of no call is refused; the call that it spoiled can be cancelled."""
        self.cost.allow(_PROGRAM_SECONDS)
        client = self.client(of)
        ident = client.call("exec", ["sleep", "600"])
        number = client.next(ident)["number"]
        for size in sizes:
            client.line.send(piece(ident, offset, bytes(size), kind), BINARY)
            client.line.send(piece(LARGEST_ID - 1, offset, bytes(size), kind), BINARY)
        client.line.send({"type": "cancel", "id": ident})
        self.answers(client)
        client.result(client.call("kill", number))

    @rule(count=st.integers(1, 3), part=st.integers(0, 60))
    def leave_in_the_middle(self, count: int, part: int) -> None:
        """A client can disconnect while its calls run, and no other client waits."""
        self.cost.allow(_PROGRAM_SECONDS * count)
        call = {"type": "call", "id": 1, "name": "exec", "args": [["true"]]}
        data = b"".join(frame(TEXT, json.dumps(call | {"id": number}).encode()) for number in range(count))
        self.disconnect_within(data, part)

    # -- end ----- -----------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        self.cost.allow(0.1 * len(self.jobs) + 0.5)
        self.cost.end([client.line for client in self.open], self.check_acknowledged)

    def check_acknowledged(self) -> None:
        """Fail unless all connections still serve, and jobs and files are as they were acknowledged."""
        for client in self.open:
            self.answers(client)
        for number, output in self.jobs.items():
            job = orjson.loads(self.target.get(f"/jobs/{number}"))
            assert (job["id"], job["state"] in ("running", "pending")) == (number, False)
            assert self.target.get(f"/jobs/{number}/output?from=0") == output
        for name, data in self.files.items():
            assert (self.folder / name).read_bytes() == data

    # -- parts ----------------------------------------------------------------------------------------------------

    def client(self, of: int) -> Client:
        return self.open[of % len(self.open)]

    def keep_job(self, number: int, output: bytes) -> None:
        assert number > 0
        assert number not in self.jobs
        self.jobs[number] = output

    def answers(self, client: Client) -> None:
        """Fail unless a call over this connection gets its answer: so all before it was read."""
        client.line.send({"type": "hello", "cwd": str(self.folder)})
        done, _, _ = client.result(client.call("cwd"))
        assert done["values"] == [str(self.folder)]


def test_no_input_of_clients_of_commands_harms_the_service(service: Service) -> None:
    """No input of clients causes a stall, memory growth or an internal error; acknowledged programs and files exist."""
    run_state_machine_as_test(lambda: Commands(service), settings=settings(6, 12))
