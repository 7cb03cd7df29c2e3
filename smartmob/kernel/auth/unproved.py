"""Connections whose clients have not yet proved who they are: each has a deadline, and their number is bounded."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Callable

_IPV6_PREFIX = 64


def network(address: str | None) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_PREFIX), strict=False))
    return str(found)


class UnprovedConnection:
    """One connection until its client has proved itself or has left."""

    def __init__(self, place: str, end: Callable[[], None]) -> None:
        self.place = place
        self.end = end
        self.timer: asyncio.TimerHandle | None = None
        self.left: float | None = None
        """Seconds that it still has, while nothing is expected of it."""


class UnprovedConnections:
    """Counts unproved connections; at a bound the oldest one is ended, so that a newcomer has its chance."""

    def __init__(self, seconds: float, most: int, most_by_address: int) -> None:
        self._seconds = seconds
        self._most = most
        self._most_by_address = most_by_address
        self._all: OrderedDict[UnprovedConnection, None] = OrderedDict()
        self._places: dict[str, OrderedDict[UnprovedConnection, None]] = {}
        self.ended = 0

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, address: str | None, end: Callable[[], None]) -> UnprovedConnection:
        """Take note of a connection; `end` is called when its time is up or others need its place."""
        arrival = UnprovedConnection(network(address), end)
        self.wait(arrival)
        return arrival

    def wait(self, arrival: UnprovedConnection) -> None:
        """Expect a proof of this connection from now on."""
        if arrival in self._all:
            return
        here = self._places.setdefault(arrival.place, OrderedDict())
        if len(here) >= self._most_by_address:
            self._end(next(iter(here)))
        if len(self._all) >= self._most:
            self._end(next(iter(self._all)))
        self._all[arrival] = None
        self._places.setdefault(arrival.place, here)[arrival] = None
        # What it has used of its time before is not given again.
        left = self._seconds if arrival.left is None else arrival.left
        arrival.timer = asyncio.get_running_loop().call_later(left, self._end, arrival)

    def leave(self, arrival: UnprovedConnection) -> None:
        """Expect nothing more of this connection: it has proved itself, or it is gone."""
        if arrival not in self._all:
            return
        del self._all[arrival]
        here = self._places[arrival.place]
        del here[arrival]
        if not here:
            del self._places[arrival.place]
        if arrival.timer is not None:
            arrival.left = max(0.0, arrival.timer.when() - asyncio.get_running_loop().time())
            arrival.timer.cancel()

    def _end(self, arrival: UnprovedConnection) -> None:
        self.leave(arrival)
        self.ended += 1
        arrival.end()
