"""A socket on which words are sent with file descriptors, each whole and one after the other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence


class FdChannel:
    """The service's end of a socket to the guardian or to a keeper."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._lock = asyncio.Lock()
        self._ready = asyncio.Event()

    def fileno(self) -> int:
        """Return the socket's descriptor; -1 once it is closed."""
        return self._socket.fileno()

    async def send(self, word: bytes, fds: Sequence[int]) -> None:
        """Send `word` with `fds`; return at once unless the other side has been stopped.

        Raises OSError when there is no other side any more, or the line has been closed.
        """
        async with self._lock:
            while True:
                try:
                    socket.send_fds(self._socket, [word], fds)
                except BlockingIOError:
                    await self._writable()
                else:
                    return

    def close(self) -> None:
        """Close it; who waits to send is told so."""
        self._stop_watching()
        self._ready.set()
        self._socket.close()

    async def _writable(self) -> None:
        self._ready.clear()
        asyncio.get_running_loop().add_writer(self._socket.fileno(), self._ready.set)
        try:
            await self._ready.wait()
        finally:
            self._stop_watching()

    def _stop_watching(self) -> None:
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_writer(self._socket.fileno())
