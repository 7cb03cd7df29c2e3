"""TCP ports of this machine that are in use."""

from __future__ import annotations

import errno
import socket


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
