"""Connections of clients that are not authenticated yet: each has a deadline, and their number is limited."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Callable

_IPV6_PREFIX_BITS = 64  # the network of one link, whose host chooses the other 64 bits (RFC 4291, section 2.5.1)


def network(address: str | None) -> str:
    """Return the unit that counts as one client: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_PREFIX_BITS), strict=False))
    return str(found)


class UnauthenticatedConnection:
    """One connection until its client is authenticated or disconnects."""

    def __init__(self, network: str, close: Callable[[], None]) -> None:
        self.network = network
        self.close = close
        self.timer: asyncio.TimerHandle | None = None
        self.seconds_left: float | None = None
        """The seconds until its deadline while the timer is stopped; None before the first start of the timer."""


class UnauthenticatedConnections:
    """Counts unauthenticated connections. When a limit is reached, the oldest connection is closed for the new one."""

    def __init__(self, seconds: float, total: int, by_address: int) -> None:
        self._seconds = seconds
        self._total = total
        self._by_address = by_address
        self._all: OrderedDict[UnauthenticatedConnection, None] = OrderedDict()
        self._by_network: dict[str, OrderedDict[UnauthenticatedConnection, None]] = {}
        self.closed = 0
        """The number of connections that were closed here, at a deadline or at a limit."""

    def __len__(self) -> int:
        return len(self._all)

    def add(self, address: str | None, close: Callable[[], None]) -> UnauthenticatedConnection:
        """Count a connection and start its timer; `close` is called at its deadline or when a limit is reached."""
        connection = UnauthenticatedConnection(network(address), close)
        self.start_timer(connection)
        return connection

    def start_timer(self, connection: UnauthenticatedConnection) -> None:
        """Count a connection again and start its timer with the time that is left."""
        if connection in self._all:
            return
        same_network = self._by_network.setdefault(connection.network, OrderedDict())
        if len(same_network) >= self._by_address:
            self._close(next(iter(same_network)))
        if len(self._all) >= self._total:
            self._close(next(iter(self._all)))
        self._all[connection] = None
        self._by_network.setdefault(connection.network, same_network)[connection] = None
        # The connection gets only the time that it has left.
        seconds = self._seconds if connection.seconds_left is None else connection.seconds_left
        connection.timer = asyncio.get_running_loop().call_later(seconds, self._close, connection)

    def remove(self, connection: UnauthenticatedConnection) -> None:
        """Stop the timer of a connection and its count: its client is authenticated, being checked, or gone."""
        if connection not in self._all:
            return
        del self._all[connection]
        same_network = self._by_network[connection.network]
        del same_network[connection]
        if not same_network:
            del self._by_network[connection.network]
        if connection.timer is not None:
            connection.seconds_left = max(0.0, connection.timer.when() - asyncio.get_running_loop().time())
            connection.timer.cancel()

    def _close(self, connection: UnauthenticatedConnection) -> None:
        self.remove(connection)
        self.closed += 1
        connection.close()
