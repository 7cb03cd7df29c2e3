"""`/echo` under sequences of valid, mutated and broken messages of machines."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from tests.fuzzing.machine import WebSocketMachine
from tests.fuzzing.mutations import is_text, messages
from tests.fuzzing.service import TIMEOUT, Service, settings
from tests.fuzzing.websocket import BINARY, CONTINUED, PING, PONG, TEXT, WebSocket, frame

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(TIMEOUT)]

NAME, STRANGER = "honest", "hostile"
_MOST_CONNECTIONS = 4
_PINGS = 500
_LONGEST_MESSAGE = 256 * 1024

# Of some days ago: a sequence needs a second for each sample.
_times = itertools.count(int(time.time()) - 5 * 86_400)
_numbers = itertools.count(1)


def proof(name: str, password: str = "123") -> str:
    """Return the id with which a machine authenticates."""
    return base64.b64encode(f"{name}:{password}".encode()).decode()


def _documents() -> list[dict[str, Any]]:
    """Return a valid message of each kind, as a machine sends them that is not the honest one."""
    sample = {"cpu_load": 1.5, "mem": 2, "storage": 3, "time": int(time.time()), "id": 7, "temperatures": {"a": 1.0}}
    mine = {"client_id": proof(STRANGER)}
    return [
        {"type": "HELLO"},
        {"type": "CLIENT_DATA", "data": sample | {"cores": [1.0, 2.0]}, "interval": 1, **mine},
        {"type": "BACKFILL", "samples": [sample, sample | {"id": 8}], **mine},
        {"type": "SUBSCRIBE", "request_id": 99, "data": ["CPU", "MEM"], "interval": "3600", **mine},
        {"type": "UNSUBSCRIBE", "request_id": 99},
        {"type": "WORK_TIME"},
        {"type": "CLOCK_OFFSET", "offset": 0.5, "delay": 0.1, **mine},
    ]


class Echo(WebSocketMachine):
    """Machines that report: an honest one, and a hostile one that sends anything, over the same connections."""

    path = "/echo"

    def __init__(self, target: Service) -> None:
        super().__init__(target)
        self.open: list[WebSocket] = []
        self.first = next(_times)
        self.acknowledged: dict[int, int] = {}
        self.perhaps: dict[int, int] = {}

    # -- honest ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.open) < _MOST_CONNECTIONS)
    @rule()
    def connect(self) -> None:
        """A machine connects, greets and sends a sample."""
        line = WebSocket(self.target.port, "/echo")
        self.open.append(line)
        line.send({"type": "HELLO"})
        assert line.answer()["type"] == "WELCOME"
        self.send_sample(line, 1)

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9), mem=st.integers(0, 2**53))
    def sample(self, of: int, mem: int) -> None:
        """A sample is answered by what was sent."""
        self.send_sample(self.line(of), mem)

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9), count=st.integers(1, 200), times=st.integers(1, 3))
    def backfill(self, of: int, count: int, times: int) -> None:
        """Old samples are stored once; repeated ones are recognised by their ids."""
        line = self.line(of)
        samples = [{"mem": 5, "time": next(_times), "id": number} for number in range(count)]
        for _ in range(times):
            line.send({"type": "BACKFILL", "client_id": proof(NAME), "samples": samples})
            assert self.answer(line) == {"type": "BACKFILLED", "payload": {"stored": count, "refused": []}}
        self.acknowledged |= {int(sample["time"]): 5 for sample in samples}

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9))
    def subscribe(self, of: int) -> None:
        """A subscription begins with an event."""
        line, number = self.line(of), next(_numbers)
        line.send({"type": "SUBSCRIBE", "request_id": f"s{number}", "data": ["CPU"], "interval": 3600})
        assert self.answer(line) == {"type": "SUBSCRIBED", "payload": {"request_id": f"s{number}"}}
        event = line.answer()
        assert (event["type"], event["payload"]["request"]) == ("EVENT", f"s{number}")
        line.send({"type": "UNSUBSCRIBE", "request_id": f"s{number}"})
        assert self.answer(line)["type"] == "UNSUBSCRIBED"

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9), cuts=st.lists(st.integers(0, 100), max_size=20), pings=st.booleans())
    def fragments(self, of: int, cuts: Sequence[int], pings: bool) -> None:
        """A sample in many frames, with pings between them, is one sample."""
        line, (moment, data, message) = self.line(of), self.new_sample(6)
        ends = sorted({min(cut, len(message)) for cut in cuts} | {len(message)})
        start = 0
        for number, end in enumerate(ends):
            opcode = TEXT if number == 0 else CONTINUED
            line.write(frame(opcode, message[start:end], last=end == len(message)))
            if pings and end < len(message):
                line.write(frame(PING, b"between"))
            start = end
        self.expect_returned(line, moment, 6, data)

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9), size=st.integers(0, 125))
    def ping_flood(self, of: int, size: int) -> None:
        """Each ping is answered, and messages after them are."""
        line = self.line(of)
        line.write(frame(PING, bytes(size)) * _PINGS)
        for _ in range(_PINGS):
            while line.read() != (PONG, bytes(size)):
                pass
        self.send_sample(line, 2)

    # -- hostile --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.open)
    @rule(of=st.integers(0, 9), sent=st.lists(messages(_documents()), min_size=1, max_size=8), binary=st.booleans())
    def mutate(self, of: int, sent: list[bytes], binary: bool) -> None:
        """A malformed message is answered with an error, and the connection stays open."""
        line = self.line(of)
        for message in sent:
            self.cost.allow(0.1)  # another password costs its hash
            line.send(message, BINARY if binary or not is_text(message) else TEXT)
        self.answered_so_far(line)

    @rule(sent=messages(_documents()))
    def unproved(self, sent: bytes) -> None:
        """A client that is not authenticated gets the time at most, whatever it sends."""
        line = WebSocket(self.target.port, "/echo")
        self.cost.allow(0.1)
        line.send(sent, BINARY)
        line.send({"type": "HELLO"})
        while line.answer()["type"] != "WELCOME":
            pass
        line.send({"type": "CLIENT_DATA", "data": {"time": next(_times)}, "client_id": proof(NAME, "wrong")})
        while (answer := line.answer()).get("reason") != "incorrect username or password":
            assert answer["type"] != "DATA_RETURN"
        line.close()

    @rule(count=st.integers(1, 20), part=st.integers(0, 60))
    def leave_in_the_middle(self, count: int, part: int) -> None:
        """Samples whose client leaves before the answer are stored once or not at all."""
        data = frame(TEXT, json.dumps({"type": "HELLO"}).encode())
        for _ in range(count):
            moment, _, message = self.new_sample(3)
            self.perhaps[moment] = 3
            data += frame(TEXT, message)
        self.disconnect_within(data, part)

    # -- end ----- -----------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        self.cost.allow(1)
        self.cost.end(self.open, self.check_acknowledged)

    def check_acknowledged(self) -> None:
        """Fail unless all connections still serve, and what they acknowledged is stored."""
        for line in self.open:
            self.send_sample(line, 4)
        self.check_stored()

    def check_stored(self) -> None:
        """Fail unless what was acknowledged is there, once, and nothing that was never sent."""
        span = f"start={self.first}&end={next(_times)}"
        path = f"/client/{NAME}/time/report?{span}"
        found = orjson.loads(self.target.get(path, Authorization=proof(NAME)))["payload"]
        stored = [(int(sample["unix_time"]), sample["mem"]) for sample in found]
        assert len(stored) == len(set(stored))
        assert set(self.acknowledged.items()) <= set(stored)
        assert set(stored) <= set((self.acknowledged | self.perhaps).items())

    # -- parts ----------------------------------------------------------------------------------------------------

    def line(self, of: int) -> WebSocket:
        return self.open[of % len(self.open)]

    def new_sample(self, mem: int) -> tuple[int, dict[str, Any], bytes]:
        moment = next(_times)
        data = {"mem": mem, "time": moment}
        return moment, data, json.dumps({"type": "CLIENT_DATA", "client_id": proof(NAME), "data": data}).encode()

    def send_sample(self, line: WebSocket, mem: int) -> None:
        moment, data, message = self.new_sample(mem)
        line.send(message)
        self.expect_returned(line, moment, mem, data)

    def expect_returned(self, line: WebSocket, moment: int, mem: int, data: dict[str, Any]) -> None:
        assert self.answer(line) == {"type": "DATA_RETURN", "payload": {"data": data}}
        self.acknowledged[moment] = mem

    def answer(self, line: WebSocket) -> dict[str, Any]:
        """Return the next answer that is no event of a subscription."""
        while (answer := line.answer())["type"] == "EVENT":
            pass
        return answer

    def answered_so_far(self, line: WebSocket) -> None:
        """Return when all that was sent so far is answered."""
        sent = float(next(_numbers))
        line.send({"type": "CLOCK", "sent": sent})
        while (answer := line.answer())["type"] != "CLOCK" or answer["payload"]["sent"] != sent:
            assert answer["type"] in ("ERROR", "WELCOME", "DATA_RETURN", "BACKFILLED", "SUBSCRIBED", "UNSUBSCRIBED",
                                      "EVENT", "WORK_TIME", "CLOCK", "CLOCK_OFFSET")  # fmt: skip


@pytest.fixture(name="target")
def _target(service: Service) -> Iterator[Service]:
    for name in (NAME, STRANGER):
        service.request("POST", "/client", {"username": name, "password": "123"})
    yield service


def test_no_input_of_machines_harms_the_service(target: Service) -> None:
    """No input of machines causes a stall, memory growth or an internal error; acknowledged samples are stored once."""
    run_state_machine_as_test(lambda: Echo(target), settings=settings(10, 15))
