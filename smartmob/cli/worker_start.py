"""The start of a service with workers: its listening sockets, and the process that forks the workers."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable

import msgspec

from smartmob import worker_app
from smartmob.app import Service
from smartmob.cli import service_words
from smartmob.kernel.http import bound_sockets
from smartmob.kernel.observability import log
from smartmob.kernel.observability.log import AccessLog
from smartmob.kernel.workers import forker
from smartmob.kernel.workers.forker import Forker
from smartmob.kernel.workers.pool import WorkerPool
from smartmob.settings import Settings

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class Forked(msgspec.Struct, frozen=True):
    """The process that forks workers, and the sockets on which they will listen."""

    forker: Forker
    sockets: list[socket.socket]

    def owner(self, settings: Settings, access_log: AccessLog) -> tuple[Service, WorkerPool]:
        """Return the service of this process, which owns everything that must exist only once, and its workers."""
        return worker_app.owner(settings, access_log, self.forker, self.sockets)

    def close(self) -> None:
        """End the remaining workers."""
        for sock in self.sockets:
            sock.close()
        self.forker.close()


def start(settings: Settings, log_format: str, loop_factory: LoopFactory | None) -> Forked:
    """Listen, and fork the process that forks workers. Raises StartupError."""
    sockets = bound_sockets.bind_together(settings.host, settings.port, settings.workers)

    def close() -> None:
        for sock in sockets:
            sock.close()

    def work(number: int, messages: socket.socket, streams: socket.socket, listening: socket.socket) -> int:
        logs = log.configure(
            log_format, settings.utc, settings.logging_endpoint, service_words.sentence, worker=number, shared=True
        )
        gc.set_threshold(10_000, 20, 20)  # as in the owner, see `serve`
        gc.enable()
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                return runner.run(logs.during(worker_app.work(settings, logs.access, (messages, streams, listening))))
        finally:
            logs.close()

    try:
        return Forked(forker.start(work, close), sockets)
    except BaseException:
        close()
        raise
