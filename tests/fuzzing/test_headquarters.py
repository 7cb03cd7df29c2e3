"""The headquarters under valid and mutated statuses, results and subscriptions, while an honest turret fires."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import asyncpg
import orjson
import pytest
import zmq
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.fuzzing.mutations import damaged, messages
from tests.fuzzing.service import SECONDS, TIMEOUT, Service, settings
from tests.fuzzing.service import Sequence as Cost
from tests.turrets.messages import own_status, slice_of, slices, stock_result, stock_status
from tests.turrets.raw import GREETING, subscription

pytestmark = pytest.mark.timeout(TIMEOUT)

HONEST, STRANGER = "honest", "hostile"


class Turret:
    """An honest turret of ours, in the one run of this module."""

    def __init__(self, target: Service) -> None:
        self.target = target
        self.context = zmq.Context()
        self.orders, self.pusher = self.context.socket(zmq.SUB), self.context.socket(zmq.PUSH)
        for line, port in ((self.orders, target.orders_port), (self.pusher, target.results_port)):
            line.setsockopt(zmq.RCVTIMEO, int(SECONDS * 1000))
            line.setsockopt(zmq.SNDTIMEO, int(SECONDS * 1000))
            line.connect(f"tcp://127.0.0.1:{port}")
        self.orders.subscribe(b"")
        self.sequence = self.values = 0
        asked = {"run_time": 3600.0, "min_turrets": 1}
        self.run: str = orjson.loads(target.request("POST", "/turret-runs", asked, 201))["id"]
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


def _documents(run: str) -> list[dict[str, Any]]:
    health = {"cpu": 1.0, "busiest": 1.0, "cores": 2, "lag": 0.1, "memory": 5, "processes": 1}
    return [
        orjson.loads(message)
        for message in (
            stock_result(custom_timers={"a": 0.5}, error="x", turret_name="t"),
            stock_result(uuid=STRANGER, run=run, sequence=1),
            stock_status("ready", STRANGER),
            own_status("Running", run, STRANGER, health=health, sequence=3),
            slices(run, 1, [slice_of(0, [0.01], errors={"boom": 1})], STRANGER),
            slices(run, 2, [slice_of(1, [0.01], "timer")], STRANGER),
        )
    ]


class Headquarters(RuleBasedStateMachine):
    """One honest turret, and strangers that send whatever comes to their minds, with other uuids."""

    def __init__(self, turret: Turret, database_url: str) -> None:
        super().__init__()
        self.turret = turret
        self.url = database_url
        self.cost = Cost(turret.target)
        self.strange = messages(_documents(turret.run), keep=("uuid",))

    @rule(count=st.integers(1, 200))
    def deliver(self, count: int) -> None:
        """The honest turret measures."""
        self.turret.deliver(count)

    @rule(data=st.data(), count=st.integers(1, 20))
    def mutate(self, data: st.DataObject, count: int) -> None:
        """Messages that are almost right."""
        self.cost.allow(0.05 * count)
        for _ in range(count):
            self.turret.pusher.send(data.draw(self.strange))

    @rule(number=st.sampled_from([0, 1, 2, 2**53, 2**63, 2**64, 10**30, -1]), count=st.integers(1, 5))
    def forge_numbers(self, number: int, count: int) -> None:
        """Numbers that are repeated, left out or beyond all."""
        message = slices(self.turret.run, 7, [slice_of(0, [0.01])], STRANGER)
        for _ in range(count):
            self.turret.pusher.send(message.replace(b'"sequence":7', f'"sequence":{number}'.encode()))

    @rule(parts=st.lists(st.binary(max_size=50), min_size=2, max_size=5))
    def several_parts(self, parts: list[bytes]) -> None:
        """A message of several parts."""
        self.turret.pusher.send_multipart(parts)

    @rule(topic=st.binary(max_size=3000), place=st.integers(0, 2), noise=damaged(GREETING))
    def strangers(self, topic: bytes, place: int, noise: bytes) -> None:
        """Strange topics, and what is no ZMTP, at each port."""
        target = self.turret.target
        port = (target.orders_port, target.external_port, target.results_port)[place]
        for data in (GREETING + subscription(topic) + subscription(topic)[:-1], noise):
            with socket.create_connection(("127.0.0.1", port), SECONDS) as line:
                line.sendall(data)

    @invariant()
    def costs_little(self) -> None:
        """No action holds up the loop."""
        self.cost.check_step()

    def teardown(self) -> None:
        self.cost.allow(2)
        self.cost.end((), self.check_acknowledged)

    def check_acknowledged(self) -> None:
        """Fail unless what the honest turret sent is acknowledged, and stored once."""
        self.turret.deliver(1)
        number = self.turret.sequence
        self.turret.until(lambda briefing: briefing["acknowledged"].get(HONEST, 0) >= number)
        assert asyncio.run(self.stored()) == self.turret.values

    async def stored(self) -> int:
        connection = await asyncpg.connect(self.url)
        try:
            asked = "SELECT sum(count) FROM turret_slices WHERE uuid = $1"
            return int(await connection.fetchval(asked, HONEST))
        finally:
            await connection.close()


@pytest.fixture(name="turret")
def _turret(service: Service) -> Iterator[Turret]:
    turret = Turret(service)
    yield turret
    turret.context.destroy(linger=0)
    service.request("POST", f"/turret-runs/{turret.run}/stop", None)


def test_headquarters(turret: Turret, fuzzed_url: str) -> None:
    """No input of strangers causes a stall, memory growth or a dead task; honest results are stored once."""
    run_state_machine_as_test(lambda: Headquarters(turret, fuzzed_url), settings=settings(5, 10))
