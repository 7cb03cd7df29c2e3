"""A socket over which a worker passes connected sockets to the owner, each a connection to the owner's HTTP server."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from smartmob.kernel.subprocesses.fd_channel import FdChannel

_MOST_AT_ONCE = 16  # sockets in one read


class StreamOpener:
    """The worker's end."""

    def __init__(self, connection: socket.socket) -> None:
        self._channel = FdChannel(connection)

    async def open(self) -> socket.socket:
        """Return a socket that is connected to the owner's HTTP server. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                await self._channel.send(b"S", (theirs.fileno(),))
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        return ours

    def close(self) -> None:
        """Close the socket."""
        self._channel.close()


class StreamReceiver:
    """The owner's end: it calls `accept` with each connected socket until `close`, or until the worker has ended."""

    def __init__(self, connection: socket.socket, accept: Callable[[socket.socket], object]) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._accept = accept
        asyncio.get_running_loop().add_reader(connection.fileno(), self._read)

    def close(self) -> None:
        """Close the socket; connections that were accepted stay open."""
        if self._connection.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._connection.close()

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._connection, _MOST_AT_ONCE, _MOST_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
            connected = socket.socket(fileno=descriptor)
            connected.setblocking(False)
            self._accept(connected)
        if not data:
            self.close()
