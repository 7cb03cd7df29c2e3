"""Connections of clients that are not authenticated yet."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from smartmob.kernel.auth.unauthenticated import UnauthenticatedConnections, network
from tests.waiting import SECONDS


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
    ],
)
def test_an_ipv6_network_of_64_bits_is_one_client(address: str | None, counted: str) -> None:
    """IPv4 addresses count one by one, IPv6 addresses by their /64 network."""
    assert network(address) == counted


async def test_an_unauthenticated_connection_is_closed_at_its_deadline() -> None:
    """At its deadline the connection is closed and not counted any more."""
    ended = asyncio.Event()
    connections = UnauthenticatedConnections(0.01, 10, 10)
    connections.add("a", ended.set)
    async with asyncio.timeout(SECONDS):
        await ended.wait()
    assert (len(connections), connections.closed) == (0, 1)


async def test_a_restarted_timer_has_only_the_rest_of_the_time() -> None:
    """A connection that failed to authenticate gets only the rest of its time."""
    connections = UnauthenticatedConnections(1000, 10, 10)
    connection = connections.add("a", lambda: None)
    connections.remove(connection)
    connection.seconds_left = 5.0
    connections.start_timer(connection)
    assert connection.timer is not None
    assert connection.timer.when() - asyncio.get_running_loop().time() < 100
    connections.remove(connection)


async def test_at_the_limit_of_an_address_its_oldest_connection_is_closed() -> None:
    """At the limit of an address its own oldest connection is closed, and no other."""
    ended: list[str] = []
    connections = UnauthenticatedConnections(1000, 10, 2)
    for name in ("b1", "a1", "a2", "a3"):
        connections.add(name[0], partial(ended.append, name))
    assert ended == ["a1"]
    assert len(connections) == 3


async def test_at_the_total_limit_the_oldest_connection_is_closed() -> None:
    """At the total limit the oldest unauthenticated connection is closed; an authenticated one never is."""
    ended: list[str] = []
    connections = UnauthenticatedConnections(1000, 2, 2)
    proved = connections.add("p", lambda: ended.append("p"))
    connections.remove(proved)
    for name in ("a", "b", "c"):
        connections.add(name, partial(ended.append, name))
    assert ended == ["a"]
    assert len(connections) == 2
