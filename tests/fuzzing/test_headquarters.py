"""The headquarters under valid and mutated statuses, results and subscriptions, while an honest turret fires.

The honest turret is one of ours, one that speaks the documented dialect only, or one with a key in the list of turrets.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import orjson
import pytest
import zmq
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.fuzzing.machine import MeasuredMachine
from tests.fuzzing.mutations import damaged, messages
from tests.fuzzing.service import SECONDS, TIMEOUT, Service, running, settings, until
from tests.turrets.messages import oct_result, oct_status, own_status, slice_of, slices
from tests.turrets.raw import GREETING, subscription

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(TIMEOUT)]

HONEST, STRANGER = "honest", "hostile"
HEADQUARTERS, HONEST_PAIR, HOSTILE_PAIR = (zmq.curve_keypair() for _ in range(3))

Keys = tuple[tuple[bytes, bytes], bytes]
"""A pair of keys, public and secret, and the public key of the headquarters."""
T = TypeVar("T", bound="Sockets")

_CURVE_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)
"""The greeting of a client by ZMTP 3.0 with encryption (RFC 26 of ZeroMQ)."""


class Sockets:
    """The sockets of a turret in the one run of a test. With `keys` they are encrypted: own pair and server's key."""

    def __init__(self, target: Service, keys: Keys | None = None) -> None:
        self.target = target
        self.context = zmq.Context()
        self.orders, self.pusher = self.context.socket(zmq.SUB), self.push(keys)
        self._set(self.orders, keys)
        self.orders.connect(f"tcp://127.0.0.1:{target.orders_port}")
        self.orders.subscribe(b"")
        self.values = 0
        asked = {"run_time": 3600.0, "min_turrets": 1}
        self.run: str = orjson.loads(target.request("POST", "/turret-runs", asked, 201))["id"]

    def push(self, keys: Keys | None) -> Any:
        """Return a further connected socket for messages to the headquarters."""
        line = self.context.socket(zmq.PUSH)
        self._set(line, keys)
        line.connect(f"tcp://127.0.0.1:{self.target.results_port}")
        return line

    def close(self) -> None:
        """Stop the run, and wait until it is over."""
        self.context.destroy(linger=0)
        self.target.request("POST", f"/turret-runs/{self.run}/stop", None)
        path = f"/turret-runs/{self.run}"
        until(lambda: orjson.loads(self.target.get(path))["state"] in ("finished", "failed", "stopped"))

    def _set(self, line: Any, keys: Keys | None) -> None:
        line.setsockopt(zmq.RCVTIMEO, int(SECONDS * 1000))
        line.setsockopt(zmq.SNDTIMEO, int(SECONDS * 1000))
        if keys is not None:
            (line.curve_publickey, line.curve_secretkey), line.curve_serverkey = keys


class Turret(Sockets):
    """An honest turret of smartmob."""

    STORED = "SELECT coalesce(sum(count), 0) FROM turret_slices WHERE uuid = $1 AND run_id = $2"

    def __init__(self, target: Service, keys: Keys | None = None) -> None:
        super().__init__(target, keys)
        self.sequence = 0
        self.until(lambda briefing: (briefing.get("run") or {}).get("id") == self.run)

    def until(self, condition: Any) -> None:
        """Answer orders until a briefing is as wanted."""
        while True:
            briefing = orjson.loads(self.orders.recv())["smartmob"]
            on = (briefing.get("run") or {}).get("id")
            self.pusher.send(own_status("Running" if on else "ready", on, HONEST, sequence=self.sequence))
            if condition(briefing):
                return

    def deliver(self, count: int) -> None:
        """Send values under the next number."""
        self.sequence += 1
        self.values += count
        self.pusher.send(slices(self.run, self.sequence, [slice_of(0, [0.01] * count)], HONEST))

    def check_stored(self, stored: Callable[[], int]) -> None:
        """Fail unless all values are acknowledged, and stored once."""
        number = self.sequence
        self.until(lambda briefing: briefing["acknowledged"].get(HONEST, 0) >= number)
        assert stored() == self.values


class OctTurret(Sockets):
    """An honest turret that speaks the documented dialect only: its results have no numbers."""

    STORED = "SELECT count(*) FROM turret_results WHERE turret_name = $1 AND run_id = $2"

    def __init__(self, target: Service) -> None:
        super().__init__(target)
        while self.answer("ready") != "start":
            pass

    def answer(self, status: str) -> str:
        """Answer the next order, and return its command."""
        order = orjson.loads(self.orders.recv())
        self.pusher.send(oct_status(status, HONEST, turret=HONEST))
        return str(order["command"])

    def deliver(self, count: int) -> None:
        """Send results, one by one."""
        self.values += count
        for _ in range(count):
            self.pusher.send(oct_result(turret_name=HONEST))

    def check_stored(self, stored: Callable[[], int]) -> None:
        """Fail unless all results are stored once; they are sent over one connection, in order."""
        while stored() < self.values:
            self.answer("Running")
        assert stored() == self.values


def _documents(run: str) -> list[dict[str, Any]]:
    health = {"cpu": 1.0, "busiest": 1.0, "cores": 2, "lag": 0.1, "memory": 5, "processes": 1}
    return [
        orjson.loads(message)
        for message in (
            oct_result(custom_timers={"a": 0.5}, error="x", turret_name="t"),
            oct_result(uuid=STRANGER, run=run, sequence=1),
            oct_status("ready", STRANGER),
            own_status("Running", run, STRANGER, health=health, sequence=3),
            slices(run, 1, [slice_of(0, [0.01], errors={"boom": 1})], STRANGER),
            slices(run, 2, [slice_of(1, [0.01], "timer")], STRANGER),
        )
    ]


class Headquarters(MeasuredMachine):
    """One honest turret, and a hostile one that sends anything under other uuids."""

    def __init__(self, turret: Turret | OctTurret, database_url: str, hostile: Any = None) -> None:
        """`hostile` is the socket of the hostile turret, by default that of the honest one."""
        super().__init__(turret.target)
        self.turret = turret
        self.url = database_url
        self.hostile = hostile or turret.pusher
        self.strange = messages(_documents(turret.run), keep=("uuid",))

    @rule(count=st.integers(1, 200))
    def deliver(self, count: int) -> None:
        """The honest turret delivers values."""
        self.turret.deliver(count)

    @rule(data=st.data(), count=st.integers(1, 20))
    def mutate(self, data: st.DataObject, count: int) -> None:
        """Messages that are almost right."""
        self.cost.allow(0.05 * count)
        for _ in range(count):
            self.hostile.send(data.draw(self.strange))

    @rule(number=st.sampled_from([0, 1, 2, 2**53, 2**63, 2**64, 10**30, -1]), count=st.integers(1, 5))
    def forge_numbers(self, number: int, count: int) -> None:
        """Sequence numbers that are repeated, missing or out of range."""
        message = slices(self.turret.run, 7, [slice_of(0, [0.01])], STRANGER)
        for _ in range(count):
            self.hostile.send(message.replace(b'"sequence":7', f'"sequence":{number}'.encode()))

    @rule(parts=st.lists(st.binary(max_size=50), min_size=2, max_size=5))
    def several_parts(self, parts: list[bytes]) -> None:
        """A message of several parts."""
        self.hostile.send_multipart(parts)

    @rule(topic=st.binary(max_size=3000), place=st.integers(0, 2), noise=damaged(GREETING))
    def strangers(self, topic: bytes, place: int, noise: bytes) -> None:
        """Long and incomplete subscriptions, and bytes that are not ZMTP, at each port."""
        target = self.turret.target
        port = (target.orders_port, target.external_port, target.results_port)[place]
        for data in (GREETING + subscription(topic) + subscription(topic)[:-1], noise):
            with socket.create_connection(("127.0.0.1", port), SECONDS) as line:
                line.sendall(data)

    def teardown(self) -> None:
        self.cost.allow(2)
        self.cost.end((), self.check_acknowledged)

    def check_acknowledged(self) -> None:
        """Fail unless what the honest turret sent is acknowledged, and stored once."""
        self.turret.deliver(1)
        self.turret.check_stored(lambda: asyncio.run(self.stored()))

    async def stored(self) -> int:
        connection = await asyncpg.connect(self.url)
        try:
            return int(await connection.fetchval(self.turret.STORED, HONEST, self.turret.run))
        finally:
            await connection.close()


class KeyedHeadquarters(Headquarters):
    """The same with a list of keys: the hostile turret has a key in the list, others have none or another one."""

    @rule(number=st.integers(1, 5), status=st.sampled_from(["Aborted", "ready", "Running"]))
    def speak_for_another(self, number: int, status: str) -> None:
        """Messages under the uuid of the honest turret, whose key is another one."""
        run = self.turret.run
        self.hostile.send(own_status(status, run, HONEST, sequence=number, final=True))
        self.hostile.send(slices(run, number, [slice_of(0, [0.5] * 100)], HONEST))

    @rule(key=st.booleans(), messages=st.lists(st.binary(max_size=50), max_size=3))
    def unlisted(self, key: bool, messages: list[bytes]) -> None:
        """A peer with a key that is not in the list, or without any."""
        line = self.turret.push((zmq.curve_keypair(), HEADQUARTERS[0]) if key else None)
        for message in messages:
            line.send(message)
        line.close(linger=0)

    @rule(place=st.integers(0, 2), size=st.integers(0, 2**18), more=st.binary(max_size=300))
    def broken_handshakes(self, place: int, size: int, more: bytes) -> None:
        """Commands of CURVE with random content, and with more metadata than any peer sends."""
        target = self.turret.target
        port = (target.orders_port, target.external_port, target.results_port)[place]
        for name in (b"\x05HELLO", b"\x08INITIATE", b"\x07MESSAGE"):
            content = name + bytes(size) + more
            with socket.create_connection(("127.0.0.1", port), SECONDS) as line:
                line.sendall(_CURVE_GREETING + b"\x06" + len(content).to_bytes(8, "big"))
                with suppress(ConnectionError):
                    line.sendall(content)


@contextmanager
def _closing(turret: T) -> Iterator[T]:
    try:
        yield turret
    finally:
        turret.close()


def test_no_input_of_strangers_harms_the_headquarters(service: Service, fuzzed_url: str) -> None:
    """No input of strangers causes a stall, memory growth or a dead task; honest results are stored once."""
    with _closing(Turret(service)) as turret:
        run_state_machine_as_test(lambda: Headquarters(turret, fuzzed_url), settings=settings(5, 10))


def test_results_of_a_turret_of_oct_are_stored_once(service: Service, fuzzed_url: str) -> None:
    """Results of a turret that speaks the documented dialect only are stored once, whatever strangers send."""
    with _closing(OctTurret(service)) as turret:
        run_state_machine_as_test(lambda: Headquarters(turret, fuzzed_url), settings=settings(3, 8))


def test_a_turret_with_a_key_changes_nothing_of_others(fuzzed_url: str, tmp_path: Path) -> None:
    """A turret with a key changes nothing of another one's, and peers without a key in the list change nothing."""
    (tmp_path / "hq.key").write_bytes(HEADQUARTERS[1])
    (tmp_path / "turrets").write_bytes(HONEST_PAIR[0] + b"\n" + HOSTILE_PAIR[0] + b"\n")
    arguments = ("--hq-curve-key-file", str(tmp_path / "hq.key"), "--hq-turret-keys", str(tmp_path / "turrets"))
    keys, others = (HONEST_PAIR, HEADQUARTERS[0]), (HOSTILE_PAIR, HEADQUARTERS[0])
    with running(fuzzed_url, *arguments) as keyed, _closing(Turret(keyed, keys)) as turret:
        hostile = turret.push(others)
        run_state_machine_as_test(lambda: KeyedHeadquarters(turret, fuzzed_url, hostile), settings=settings(3, 10))
