"""Connections whose clients have not yet proved who they are."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from smartmob.kernel.auth.unauthenticated import UnauthenticatedConnections, network


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
    """IPv4 addresses are counted one by one, IPv6 addresses by their /64."""
    assert network(address) == counted


async def test_a_connection_without_a_proof_is_ended() -> None:
    """Its end is called once its time is up, and it is counted no longer."""
    ended = asyncio.Event()
    connections = UnauthenticatedConnections(0.01, 10, 10)
    connections.add("a", ended.set)
    async with asyncio.timeout(20):
        await ended.wait()
    assert (len(connections), connections.closed) == (0, 1)


async def test_time_that_was_used_is_not_given_again() -> None:
    """A connection that failed to prove itself has what was left of its time, not all of it."""
    connections = UnauthenticatedConnections(1000, 10, 10)
    connection = connections.add("a", lambda: None)
    connections.remove(connection)
    connection.seconds_left = 5.0
    connections.start_timer(connection)
    assert connection.timer is not None
    assert connection.timer.when() - asyncio.get_running_loop().time() < 100
    connections.remove(connection)


async def test_the_oldest_of_an_address_gives_way() -> None:
    """Above the bound of an address its own oldest connection is ended, and no one else's."""
    ended: list[str] = []
    connections = UnauthenticatedConnections(1000, 10, 2)
    for name in ("b1", "a1", "a2", "a3"):
        connections.add(name[0], partial(ended.append, name))
    assert ended == ["a1"]
    assert len(connections) == 3


async def test_the_oldest_of_all_gives_way() -> None:
    """Above the bound of all the oldest connection is ended; one that has proved itself never is."""
    ended: list[str] = []
    connections = UnauthenticatedConnections(1000, 2, 2)
    proved = connections.add("p", lambda: ended.append("p"))
    connections.remove(proved)
    for name in ("a", "b", "c"):
        connections.add(name, partial(ended.append, name))
    assert ended == ["a"]
    assert len(connections) == 2
