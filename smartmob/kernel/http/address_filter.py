"""The addresses to which the service sends no requests of its own: link-local ones and metadata services of clouds.

Such addresses serve the secrets of the machine, and a client could make the service fetch these secrets.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Any

_METADATA = frozenset(
    map(ipaddress.IPv4Address, ("169.254.169.254", "168.63.129.16", "192.0.0.192", "100.100.100.200"))
)
"""IPv4 metadata services: of most clouds, Azure, older machines of Oracle, and Alibaba."""
_METADATA_NETWORKS = tuple(
    map(ipaddress.IPv6Network, ("fd00:ec2::/32", "fd20:ce::/32", "fd00:c1::/32", "fd00:42::/32", "fec0::/10"))
)
"""IPv6 metadata services of Amazon, Google, Oracle and Scaleway, and the deprecated site-local addresses (RFC 3879)."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291, section 2.5.5.1


class ForbiddenAddress(OSError):
    """The address belongs to a network to which the service sends no requests of its own."""


def create_socket(address: tuple[Any, ...]) -> socket.socket:
    """Return a socket for an address to which a name was resolved; raises ForbiddenAddress.

    The resolved address is checked right before the connection, so no name, notation or redirect evades the check.
    """
    family, kind, protocol, _, target = address
    if is_forbidden(str(target[0])):
        raise ForbiddenAddress(errno.EACCES, "link-local addresses and metadata services of clouds are not allowed")
    return socket.socket(family, kind, protocol)


def is_forbidden(host: str) -> bool:
    """Return whether an address is link-local or belongs to the metadata service of a cloud.

    The IPv4 addresses that are embedded in an IPv6 address are checked, too.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_link_local or address in _METADATA
    if address.is_link_local or any(address in network for network in _METADATA_NETWORKS):
        return True
    # A NAT64 may use any prefix (RFC 6052); the IPv4 address is then usually in the last 32 bits.
    return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF) in _METADATA or any(
        inner.is_link_local or inner in _METADATA for inner in _embedded(address)
    )


def _embedded(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that are embedded in an IPv6 address: mapped, translated (NAT64) or tunnelled."""
    number = int(address)
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        found.append(ipaddress.IPv4Address(number & 0xFFFF_FFFF))
    if address in _LOCAL_NAT64:
        # RFC 6052, section 2.2: after a prefix of 48 bits, bits 64 to 71 separate the halves of the IPv4 address.
        found.append(ipaddress.IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF))
        found.append(ipaddress.IPv4Address(number & 0xFFFF_FFFF))
    return [inner for inner in found if inner is not None]
