"""A socket that sends messages with file descriptors, each message whole and one after the other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence


class FdChannel:
    """The service's end of the socket to the watchdog or to a subreaper."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._lock = asyncio.Lock()
        self._ready = asyncio.Event()

    def fileno(self) -> int:
        """Return the descriptor of the socket, or -1 after `close`."""
        return self._socket.fileno()

    async def send(self, message: bytes, fds: Sequence[int]) -> None:
        """Send `message` with the descriptors `fds`. Waits only while the socket is full.

        Raises OSError when the other process has ended, or the channel was closed.
        """
        async with self._lock:
            while True:
                try:
                    socket.send_fds(self._socket, [message], fds)
                except BlockingIOError:
                    await self._wait_until_writable()
                else:
                    return

    def close(self) -> None:
        """Close the socket. A `send` that waits raises OSError."""
        self._stop_watching()
        self._ready.set()
        self._socket.close()

    async def _wait_until_writable(self) -> None:
        self._ready.clear()
        asyncio.get_running_loop().add_writer(self._socket.fileno(), self._ready.set)
        try:
            await self._ready.wait()
        finally:
            self._stop_watching()

    def _stop_watching(self) -> None:
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_writer(self._socket.fileno())
