"""One worker as the owner sees it: its sockets, its state, and the questions that it has not answered yet."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Set
from contextlib import suppress
from typing import Any

from smartmob.kernel.workers.stream_socket import StreamReceiver
from smartmob.kernel.workers.worker_messages import MAX_LINE_BYTES, Ping, ToWorker, WorkerMetrics, line


class WorkerProcess:
    """A worker process. `pause` is the time in seconds before its start."""

    def __init__(self, number: int, pause: float) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.pause = pause
        self.ready = False
        self.replaces = False
        self.responsive = True
        self.pid: int | None = None
        """The process id from the fork until the end."""
        self.missed = 0
        """Heartbeats in a row that were not answered."""
        self.reason: str | None = None
        self.is_outage = False
        self.metrics = WorkerMetrics()
        self.started: asyncio.Future[str | None] = loop.create_future()
        """Done with None when the worker answers requests, or with the reason why it cannot."""
        self.status: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._began = loop.time()
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._number = 0
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._streams: StreamReceiver | None = None

    @property
    def age(self) -> float:
        """Return the seconds since the start."""
        return self._loop.time() - self._began

    async def connect(
        self, messages: socket.socket, streams: socket.socket, accept: Callable[[socket.socket], object]
    ) -> None:
        """Take the owner's ends of the sockets; `accept` gets the streams that the worker opens."""
        self._streams = StreamReceiver(streams, accept)
        self._reader, self._writer = await asyncio.open_connection(sock=messages, limit=MAX_LINE_BYTES)

    def send(self, message: ToWorker) -> None:
        """Send a message; it is dropped if the worker has ended."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(line(message))

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the messages of the worker until it has ended."""
        assert self._reader is not None
        with suppress(ConnectionError, ValueError):
            while data := await self._reader.readline():
                yield data

    def ping(self) -> asyncio.Future[None]:
        """Send a ping; return a future that is done when the answer arrives or the worker ends."""
        self._number += 1
        answered = self._pings[self._number] = self._loop.create_future()
        self.send(Ping(self._number))
        return answered

    def answered(self, number: int, metrics: WorkerMetrics) -> None:
        """Keep the answer to a ping."""
        self.metrics, self.responsive, self.missed = metrics, True, 0
        for given in [waiting for waiting in self._pings if waiting <= number]:
            self._answer_ping(self._pings.pop(given))

    def check_answered(self, late: Set[Any]) -> None:
        """Mark the worker as not answering if one of its pings is among the late ones."""
        if not late.isdisjoint(self._pings.values()):
            self.responsive = False

    def missed_heartbeats(self) -> int:
        """Count a heartbeat; return the number of unanswered heartbeats in a row, including this one.

        A worker that is not ready yet answers none.
        """
        self.missed = 0 if self.ready and self.responsive else self.missed + 1
        return self.missed

    def kill(self) -> None:
        """Kill the process, which may be stopped or in an endless loop. Then it is handled like a crashed worker."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def started_with(self, reason: str | None) -> None:
        """Record that the worker answers requests, or the reason why it cannot."""
        self.ready = reason is None
        if not self.started.done():
            self.started.set_result(reason)

    def set_status(self, status: int) -> None:
        """Record the exit status, or the negative number of a signal."""
        self.pid = None
        if not self.status.done():
            self.status.set_result(status)

    def status_text(self) -> str:
        """Return how the worker ended."""
        if not self.status.done():
            return "unknown"
        status = self.status.result()
        if status >= 0:
            return f"exit code {status}"
        with suppress(ValueError):
            return signal.Signals(-status).name
        return f"signal {-status}"

    def close(self) -> None:
        """Close the sockets and release all callers that wait for an answer."""
        self.ready = False
        if self._streams is not None:
            self._streams.close()
        if self._writer is not None:
            self._writer.close()
        for waiting in self._pings.values():
            self._answer_ping(waiting)
        self._pings.clear()
        self._answer_ping(self.ended)

    @staticmethod
    def _answer_ping(waiting: asyncio.Future[None]) -> None:
        if not waiting.done():
            waiting.set_result(None)
