"""TCP ports of this machine that are in use."""

from __future__ import annotations

import errno
import random
import socket
from contextlib import suppress
from itertools import islice
from pathlib import Path

_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_OUTGOING_FROM = 32_768
"""The first port that Linux gives to outgoing connections by default (ip-sysctl, `ip_local_port_range`)."""
_LOWEST_PORT = 10_240  # below are ports of well-known services
_TRIES = 100  # ports


def is_listened_on(port: int) -> bool:
    """Return whether a program listens on `port` of this machine, so that another could not."""
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104  # only tried
        try:
            with socket.socket(family, socket.SOCK_STREAM) as tried:
                # Connections that were closed a moment ago do not count.
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                tried.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
    return False


def lasting_ports(count: int) -> list[int]:
    """Return free ports that stay free while nothing listens on them, or zeros if no such ports are found.

    The system can assign a port that it chose for a listener to an outgoing connection meanwhile, even to that of a
    client that tries to reconnect to this port.
    """
    first = _OUTGOING_FROM
    with suppress(OSError, ValueError):
        first = int(_OUTGOING.read_text().split()[0])
    tried = random.sample(range(_LOWEST_PORT, first), _TRIES) if first >= _LOWEST_PORT + _TRIES else []
    found = islice((port for port in tried if not is_listened_on(port)), count)
    return [*found, *[0] * count][:count]
