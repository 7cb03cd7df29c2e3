"""The client behind a trusted reverse proxy: its address, its scheme and its Host, as the proxy's headers give them.

Only headers of connections that come from a trusted proxy are read, and only those that this proxy is known to write: a
proxy that writes `X-Forwarded-For` usually passes a client's own `Forwarded` on unchanged, and the other way round. A
client can send such a header too. The proxies add their entries at its end, so it is read from there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from itertools import islice

import msgspec
from multidict import CIMultiDictProxy

from smartmob.errors import SettingsError
from smartmob.kernel.http.forwarded_header import (
    MAX_ENTRIES,
    Address,
    address_of,
    forwarded_entries,
    x_forwarded_entries,
)

X_FORWARDED_FOR, FORWARDED = "x-forwarded-for", "forwarded"

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}  # Traefik sends the schemes of WebSockets


class ForwardedClient(msgspec.Struct, frozen=True):
    """The client of a request as trusted proxies describe it; a field that they do not state is None."""

    address: str
    scheme: str | None = None
    host: str | None = None


class TrustedProxies:
    """The reverse proxies whose headers are believed, by address or network, and the header that they write.

    Raises SettingsError for a text that is neither an address nor a network.
    """

    def __init__(self, networks: Iterable[str] = (), header: str = X_FORWARDED_FOR) -> None:
        self._networks = [_network(text) for text in networks]
        self._entries = forwarded_entries if header == FORWARDED else x_forwarded_entries

    def client(self, peer: str | None, headers: CIMultiDictProxy[str]) -> ForwardedClient | None:
        """Return the client of a request that came from the address `peer`, or None if that is not a trusted proxy."""
        if not self._networks or peer is None:
            return None
        address = address_of(peer)
        if address is None or not self._is_trusted(address):
            return None
        found = ForwardedClient(str(address))
        for entry in islice(self._entries(headers), MAX_ENTRIES):
            address = address_of(entry.address)
            if address is None:  # a proxy that hides addresses, or an entry of the client itself
                break
            found = ForwardedClient(str(address), _SCHEMES.get(entry.scheme.lower()), entry.host or None)
            if not self._is_trusted(address):
                break
        return found

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise SettingsError(
            f"--trusted-proxy: expected an address or a network such as 10.0.0.0/8, got {text!r} ({error})"
        ) from None
