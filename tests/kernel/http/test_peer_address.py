"""The address of the machine that sent a request."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from smartmob.kernel.http.peer_address import PeerAddress, behind_proxy, from_ends


@pytest.mark.parametrize(
    ("peer", "ours", "address", "is_local"),
    [
        (("127.0.0.1", 5000), ("127.0.0.1", 8080), "127.0.0.1", True),
        (("::1", 5000, 0, 0), ("::1", 8080, 0, 0), "::1", True),
        (("::ffff:127.0.0.1", 5000, 0, 0), ("::ffff:127.0.0.1", 8080, 0, 0), "127.0.0.1", True),
        (("192.0.2.7", 5000), ("192.0.2.7", 8080), "192.0.2.7", True),
        (("192.0.2.8", 5000), ("192.0.2.7", 8080), "192.0.2.8", False),
        (("::ffff:192.0.2.8", 5000, 0, 0), ("::", 8080, 0, 0), "192.0.2.8", False),
        (("fe80::1%eth0", 5000, 0, 2), ("fe80::2%eth0", 8080, 0, 2), "fe80::1%eth0", False),
    ],
)
def test_the_ends_of_a_connection_tell_the_sender(peer: Any, ours: Any, address: str, is_local: bool) -> None:
    """Loopback, and the address of the service on both ends, are the machine of the service."""
    assert from_ends(peer, ours) == PeerAddress(address, is_local)


@pytest.mark.parametrize("peer", ["", "/run/x.socket", None, (), ("no address", 1)])
def test_a_connection_without_an_internet_address_has_no_sender(peer: Any) -> None:
    """A Unix socket has no address."""
    assert from_ends(peer, None) is None


@pytest.mark.parametrize(
    ("client", "proxy", "expected"),
    [
        ("192.0.2.9", PeerAddress("127.0.0.1", is_local=True), PeerAddress("192.0.2.9", is_local=False)),
        ("192.0.2.7", PeerAddress("192.0.2.8", is_local=False), PeerAddress("192.0.2.7", is_local=True)),
        ("::1", PeerAddress("127.0.0.1", is_local=True), PeerAddress("::1", is_local=True)),
        ("127.0.0.1", PeerAddress("192.0.2.8", is_local=False), None),
    ],
)
def test_a_trusted_proxy_tells_its_client(client: str, proxy: PeerAddress, expected: PeerAddress | None) -> None:
    """Loopback of a proxy on another machine is of that machine, and no address of a known one."""
    assert behind_proxy(ipaddress.ip_address(client), proxy, ("192.0.2.7", 8080)) == expected
