"""The address of the machine that sent a request, as far as it is known from the connection."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TypeAlias

import msgspec
from aiohttp import hdrs, web

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_OF_PROXIES = (hdrs.FORWARDED, hdrs.X_FORWARDED_FOR, hdrs.VIA, "X-Real-IP")
"""Headers that a proxy adds. The connection of such a request comes from the proxy, and the headers can be forged."""
_MOST_REMEMBERED = 1024
"""Parsed addresses that are remembered; most are of machines that send a sample each second. Parsing takes 2 µs."""


class PeerAddress(msgspec.Struct, frozen=True):
    """The address of a machine. `is_local` tells whether it is the machine of the service."""

    address: str
    is_local: bool


def peer_address(request: web.Request) -> PeerAddress | None:
    """Return the address from which a request was sent, or None if it is not known.

    A trusted proxy states the address of its client, and the gate has put it into `remote`. An address behind any other
    proxy, or at a Unix socket, is not known.
    """
    if request.transport is None:
        return None
    peername, sockname = (request.transport.get_extra_info(name) for name in ("peername", "sockname"))
    direct, named = from_ends(peername, sockname), _address((request.remote or "",))
    if direct is not None and named is not None and str(named) != direct.address:
        return behind_proxy(named, direct, sockname)
    return None if any(name in request.headers for name in _OF_PROXIES) else direct


def behind_proxy(client: Address, proxy: PeerAddress, sockname: object) -> PeerAddress | None:
    """Return the address of a trusted proxy's client. A loopback address means the machine of the proxy."""
    if client.is_loopback:
        return PeerAddress(str(client), is_local=True) if proxy.is_local else None
    return PeerAddress(str(client), client == _address(sockname))


def from_ends(peername: object, sockname: object) -> PeerAddress | None:
    """Return the address of the other end of a connection, or None if that has none; see `socket.getpeername`."""
    peer, ours = (str(name[0]) if isinstance(name, tuple) and name else None for name in (peername, sockname))
    return None if peer is None else _of_texts(peer, ours)


@lru_cache(maxsize=_MOST_REMEMBERED)
def _of_texts(peer_text: str, our_text: str | None) -> PeerAddress | None:
    peer, ours = _parsed(peer_text), None if our_text is None else _parsed(our_text)
    if peer is None:
        return None
    # A machine that connects to its own address has this address on both ends.
    return PeerAddress(str(peer), peer.is_loopback or peer == ours)


def _address(name: object) -> Address | None:
    return _parsed(str(name[0])) if isinstance(name, tuple) and name else None


@lru_cache(maxsize=_MOST_REMEMBERED)
def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A socket for both families shows IPv4 addresses in this form.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
