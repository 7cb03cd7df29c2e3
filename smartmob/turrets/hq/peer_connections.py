"""The TCP connections of turrets with keys, so that those of a revoked key can be ended.

ZeroMQ checks a key once, when a turret connects, and has no call to disconnect one peer. A message has the key of its
sender and the descriptor of its connection. Shutting the connection down makes the turret connect again, which needs a
valid key.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Container
from contextlib import suppress
from typing import Any

from smartmob.kernel.observability.event_logger import get_logger

log = get_logger()


class PeerConnections:
    """The connections to one port of the headquarters, by descriptor, with the key of the peer that was last heard."""

    def __init__(self) -> None:
        self._keys: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, message: Any) -> None:
        """Remember the connection from which a message came, if the message states it."""
        with suppress(LookupError, ValueError):  # the end of a subscription has no sender
            self._keys[int(message.get("__fd"))] = message.get("User-Id")

    def end_revoked(self, keys: Container[str], port: int) -> None:
        """Shut down each connection to `port` whose key is not in `keys`."""
        revoked = [(descriptor, key) for descriptor, key in self._keys.items() if key not in keys]
        for descriptor, key in revoked:
            del self._keys[descriptor]
            if _shut_down(descriptor, port):
                log.warning("turrets.disconnected", key=key)


def _shut_down(descriptor: int, port: int) -> bool:
    """Shut down the TCP connection if the descriptor still is one to `port`; return whether it was.

    ZeroMQ may have closed it, and its number may belong to something else by now, so a duplicate is checked and shut
    down: it refers to the same connection until the end.
    """
    try:
        duplicate = os.dup(descriptor)
    except OSError:
        return False
    try:
        connection = socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        return False
    with connection:
        try:
            own = connection.getsockname()
            if not isinstance(own, tuple) or own[1] != port:
                return False
            connection.getpeername()  # a socket that listens has no peer
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False
    return True
