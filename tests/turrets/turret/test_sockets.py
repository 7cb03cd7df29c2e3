"""The sockets of a turret."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import zmq

from smartmob.turrets.turret.outbox import Outbox
from smartmob.turrets.turret.sockets import TurretSockets
from tests import free_ports
from tests.waiting import until


class Ends:
    """The sockets of a headquarters, read without waiting."""

    def __init__(self, ports: tuple[int, int] = (0, 0)) -> None:
        self.context = zmq.Context()
        self.publisher, self.collector = self.context.socket(zmq.PUB), self.context.socket(zmq.PULL)
        for made, port in ((self.publisher, ports[0]), (self.collector, ports[1])):
            made.linger = 0
            made.bind(f"tcp://127.0.0.1:{port or '*'}")
        ends = (made.getsockopt_string(zmq.LAST_ENDPOINT) for made in (self.publisher, self.collector))
        orders, results = (int(end.rpartition(":")[2]) for end in ends)
        self.ports = (orders, results)
        self.frames: list[bytes] = []

    def received(self) -> list[bytes]:
        """Return everything that has come so far."""
        while True:
            try:
                self.frames.append(self.collector.recv(zmq.NOBLOCK))
            except zmq.Again:
                return self.frames

    def close(self) -> None:
        """Close both."""
        self.publisher.close()
        self.collector.close()
        self.context.term()


@pytest.fixture(name="ends")
def _ends() -> Iterator[Ends]:
    """Return the other ends."""
    made = Ends((free_ports.single_port(), free_ports.single_port()))
    yield made
    made.close()


@asynccontextmanager
async def _wire(ports: tuple[int, int]) -> AsyncIterator[tuple[TurretSockets, list[bytes], list[bool]]]:
    heard: list[bytes] = []
    changes: list[bool] = []
    wire = TurretSockets("127.0.0.1", ports, None, heard.append, changes.append)
    wire.open("uuid")
    try:
        yield wire, heard, changes
    finally:
        await wire.close(1.0)


async def test_many_messages_arrive_in_order(ends: Ends) -> None:
    """Though ZeroMQ accepts only some at a time."""
    async with _wire(ends.ports) as (wire, _, changes):
        await until(lambda: changes)
        box = Outbox()
        for number in range(30_000):
            box.number()
            box.put(str(number).encode())
        wire.use(box)
        wire.pump()
        await until(lambda: len(ends.received()) == 30_000)
    assert [int(frame) for frame in ends.frames] == list(range(30_000))


async def test_many_orders_are_all_received(ends: Ends) -> None:
    """None is left in the socket when they come at once."""
    async with _wire(ends.ports) as (_, heard, _):
        # Messages that are published before the subscription has arrived are lost.
        await until(lambda: ends.publisher.send(b"first") or heard)
        for number in range(900):
            ends.publisher.send(str(number).encode())
        await until(lambda: heard[-1] == b"899")
        assert [frame for frame in heard if frame != b"first"] == [str(number).encode() for number in range(900)]


async def test_only_the_last_status_waits_for_a_connection(ends: Ends) -> None:
    """A headquarters that comes later gets the present status and no earlier one."""
    ports = ends.ports
    ends.close()
    async with _wire(ports) as (wire, _, changes):
        for number in range(10):
            wire.send_status(f"status {number}".encode())
        assert not wire.idle
        later = Ends(ports)
        await until(lambda: changes)
        await until(later.received)
        await until(lambda: wire.idle)
        assert later.frames == [b"status 9"]
        later.close()


async def test_connections_and_their_loss_are_reported(ends: Ends) -> None:
    """In their order."""
    async with _wire(ends.ports) as (wire, _, changes):
        await until(lambda: wire.connected)
        ends.close()
        await until(lambda: not wire.connected)
        later = Ends(ends.ports)
        await until(lambda: wire.connected)
        later.close()
        assert changes[:3] == [True, False, True]


async def test_queued_messages_arrive_after_a_flush(ends: Ends) -> None:
    """And so do those after it."""
    async with _wire(ends.ports) as (wire, _, changes):
        await until(lambda: changes)
        box = Outbox(numbered=False)
        for _ in range(100):
            box.put(b"before")
        wire.use(box)
        wire.pump()
        await until(lambda: box.next() is None)
        wire.flush()
        box.put(b"after")
        await until(lambda: wire.pump() or b"after" in ends.received())
    assert sorted(ends.frames) == [b"after"] + [b"before"] * 100


async def test_unsent_messages_stay_in_the_outbox(ends: Ends) -> None:
    """A closed port of the headquarters does not block the turret."""
    async with _wire(ends.ports) as (wire, _, changes):
        await until(lambda: changes)
        ends.collector.unbind(ends.collector.getsockopt_string(zmq.LAST_ENDPOINT))
        ends.collector.close()
        box = Outbox(numbered=False)
        for _ in range(20_000):
            box.put(b"x" * 1000)
        wire.use(box)
        wire.pump()
        await asyncio.sleep(0.05)
        wire.pump()
        assert len(box) > 0


async def test_ports_that_are_interchanged_are_said(ends: Ends) -> None:
    """Each of both sockets says that its port is another one."""
    troubles: list[str] = []
    wire = TurretSockets(
        "127.0.0.1", (ends.ports[1], ends.ports[0]), None, lambda _: None, lambda _: None, troubles.append
    )
    wire.open("u1")
    try:
        await until(lambda: len(troubles) == 2)
    finally:
        await wire.close(0.0)
    for words in ("not the headquarters' port for orders", "not the headquarters' port for results"):
        assert sum(words in line for line in troubles) == 1
