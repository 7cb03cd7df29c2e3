"""The client behind a trusted reverse proxy: its address, its scheme and its Host, as the proxy's headers give them.

Only headers of connections that come from a trusted proxy are read, and only those that this proxy is known to write:
a proxy that writes `X-Forwarded-For` usually passes a client's own `Forwarded` on unchanged, and the other way round.
A client can send such a header too, so the proxies' entries are at its end, and it is read from there.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice

import msgspec
from multidict import CIMultiDictProxy

from smartmob.errors import SettingsError

X_FORWARDED_FOR, FORWARDED = "x-forwarded-for", "forwarded"

_MAX_ENTRIES = 32  # entries that are read, from the end of a header; chains of proxies have a few
_MAX_FORWARDED_CHARACTERS = 4_096  # of the header Forwarded, which must be parsed from its beginning
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}  # Traefik gives those of WebSockets
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'[ \t]*({_WORD})=(?:({_WORD})|"((?:[^"\\]|\\.)*)")[ \t]*([;,]|$)')
"""A parameter of the header Forwarded with what ends it (RFC 7239, section 4)."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForwardedClient(msgspec.Struct, frozen=True):
    """The client of a request as trusted proxies describe it; None stands for what they do not tell."""

    address: str
    scheme: str | None = None
    host: str | None = None


class _Entry(msgspec.Struct, frozen=True):
    """The peer of one proxy, as that proxy describes it."""

    address: str
    scheme: str = ""
    host: str = ""


class TrustedProxies:
    """The reverse proxies whose headers are believed, by address or network, and the header that they write.

    Raises SettingsError for a text that is neither an address nor a network.
    """

    def __init__(self, networks: Iterable[str] = (), header: str = X_FORWARDED_FOR) -> None:
        self._networks = [_network(text) for text in networks]
        self._entries = _forwarded if header == FORWARDED else _x_forwarded

    def client(self, peer: str | None, headers: CIMultiDictProxy[str]) -> ForwardedClient | None:
        """Return the client of a request that came from the address `peer`, or None if that is no trusted proxy."""
        if not self._networks or peer is None:
            return None
        address = _address(peer)
        if address is None or not self._is_trusted(address):
            return None
        found = ForwardedClient(str(address))
        for entry in islice(self._entries(headers), _MAX_ENTRIES):
            address = _address(entry.address)
            if address is None:  # a proxy that hides addresses, or an entry of the client itself
                break
            found = ForwardedClient(str(address), _SCHEMES.get(entry.scheme.lower()), entry.host or None)
            if not self._is_trusted(address):
                break
        return found

    def _is_trusted(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def _x_forwarded(headers: CIMultiDictProxy[str]) -> Iterator[_Entry]:
    """Yield the entries of `X-Forwarded-For`, the last one first.

    Schemes and hosts are at the same places of their own lists. A shorter list was replaced by a proxy: its first
    value counts for all entries before it.
    """
    schemes, hosts = _values(headers, "X-Forwarded-Proto"), _values(headers, "X-Forwarded-Host")
    scheme, host = "", ""
    for address in _values(headers, "X-Forwarded-For"):
        scheme, host = next(schemes, scheme), next(hosts, host)
        yield _Entry(address, scheme, host)


def _values(headers: CIMultiDictProxy[str], name: str) -> Iterator[str]:
    """Yield the values of a list, the last one first; of a long line only the end is divided."""
    lines = reversed(headers.getall(name, []))
    return chain.from_iterable(
        (value.strip() for value in reversed(line.rsplit(",", _MAX_ENTRIES)) if value.strip()) for line in lines
    )


def _forwarded(headers: CIMultiDictProxy[str]) -> Iterator[_Entry]:
    """Yield the entries of `Forwarded` (RFC 7239), the last one first, or none if any part of it is malformed.

    An open quotation mark of a client would swallow the entries that proxies add after it.
    """
    for element in reversed(_elements(headers)):
        yield _Entry(element.get("for", ""), element.get("proto", ""), element.get("host", ""))


def _elements(headers: CIMultiDictProxy[str]) -> list[dict[str, str]]:
    """Return the parameters of each element of `Forwarded`, or [] if any part of it is malformed."""
    text = ",".join(headers.getall("Forwarded", []))
    elements: list[dict[str, str]] = [{}]
    at = 0
    while at < len(text) <= _MAX_FORWARDED_CHARACTERS:
        match = _PAIR.match(text, at)
        if match is None or match[1].lower() in elements[-1]:
            return []
        value = match[2] if match[3] is None else re.sub(r"\\(.)", r"\1", match[3])
        elements[-1][match[1].lower()] = value
        if match[4] == ",":
            elements.append({})
        at = match.end()
    return elements


def _address(text: str) -> _Address | None:
    """Return the IP address in an entry, without its port, or None; an IPv4 address in an IPv6 one as IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise SettingsError(
            f"--trusted-proxy: expected an address or a network such as 10.0.0.0/8, got {text!r} ({error})"
        ) from None
