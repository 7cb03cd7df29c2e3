"""The owner's side of the workers: starts them, replaces one that ends, and keeps them in step with the service."""

from __future__ import annotations

import asyncio
import math
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web

from smartmob.errors import StartupError
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.auth.events import AttemptMade
from smartmob.kernel.http.server import Accept
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.workers.forker import FORKED, REPORT, Forker
from smartmob.kernel.workers.worker_messages import (
    TO_OWNER,
    Attempt,
    Pong,
    Published,
    Reload,
    Stop,
    WorkerFailed,
    WorkerMetrics,
    WorkerStarted,
    WorkerWelcome,
)
from smartmob.kernel.workers.worker_metrics import Sums
from smartmob.kernel.workers.worker_process import WorkerProcess

log = get_logger()

_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_STEP_SECONDS = 1.0
"""The longest time that a request of the owner waits for a worker that does not answer."""
_HEARTBEAT_SECONDS = 2.0
"""Seconds by which the metrics of a worker are out of date at most when it is killed."""
_MOST_MISSED_HEARTBEATS = 15
"""Heartbeats in a row without an answer after which a worker counts as hung: 30 s, the time that gunicorn waits.

They are counted by the owner, and not by the clock, so that workers are not killed after a debugger or a suspended
machine has stopped all processes of the service for a while.
"""
_UNREADY_HEARTBEATS = 3
"""Heartbeats in a row without an answer from which the service is not ready; a busy worker can miss one or two."""
_PROVEN_SECONDS = 10.0
"""The age of a worker from which it is replaced at once when it ends."""
PAUSES_SECONDS = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
"""The pauses before a worker that ended young is replaced; the last one applies to all further attempts."""
_MOST_FAILED_STARTS = 5  # failed starts in a row, after which the pool gives up
_STATUS_SECONDS = 1.0


class WorkerPool:
    """Runs one worker for each of the listening `sockets`, which stay open here when a worker ends.

    So connections that arrive while a worker is replaced wait for its successor. `events` are the classes of events
    that the workers send to be published here; `to_workers` are those that are sent to the workers. `welcome` returns
    the first message to a worker. One that is not ready after `starting_seconds` counts as hung.
    """

    def __init__(
        self, forker: Forker, sockets: Sequence[socket.socket], tasks: TaskRegistry, bus: EventBus,
        attempts: AttemptLimit, *, welcome: Callable[[], WorkerWelcome],
        events: Iterable[type], to_workers: Iterable[type],
        starting_seconds: float = 120.0, pauses: Sequence[float] = PAUSES_SECONDS,
    ) -> None:  # fmt: skip
        self.error: str | None = None
        self._welcome = welcome
        self._on_failure: Callable[[], object] = lambda: None
        self._forker = forker
        self._sockets = sockets
        self._tasks = tasks
        self._bus = bus
        self._attempts = attempts
        self._events: Mapping[str, type] = {kind.__name__: kind for kind in events}
        self._workers: dict[int, WorkerProcess] = {}
        self._unreported: dict[int, deque[WorkerProcess]] = {}
        self._sender: WorkerProcess | None = None
        self._sums = Sums()
        self._failed_starts = 0
        self._pauses = pauses
        self._most_starting_heartbeats = math.ceil(starting_seconds / _HEARTBEAT_SECONDS)
        self._stopping = False
        self._received = b""
        self._accept: Callable[[socket.socket], object] = lambda connected: connected.close()
        for kind in to_workers:
            bus.subscribe(kind, self._publish)
        bus.subscribe(AttemptMade, self._share_attempt)

    @property
    def address(self) -> tuple[str, int]:
        """Return the host and the port on which the workers listen."""
        host, port = self._sockets[0].getsockname()[:2]
        return host, port

    async def start(self, accept: Accept, on_failure: Callable[[], object]) -> None:
        """Start all workers; `accept` gets their connections to this process. Raises StartupError.

        `on_failure` is called once when a worker cannot be replaced; `error` tells why.
        """
        self._on_failure = on_failure
        self._accept = lambda connected: self._tasks.start("worker-stream", accept(connected))
        self._forker.connection.setblocking(False)
        asyncio.get_running_loop().add_reader(self._forker.connection.fileno(), self._read_ends)
        self._tasks.supervise("workers-heartbeat", self._run_heartbeat)
        started = [await self._launch(number, 0.0) for number in range(1, len(self._sockets) + 1)]
        reasons = await asyncio.gather(*(worker.started for worker in started))
        if reason := next(filter(None, reasons), None):
            raise StartupError(f"a worker cannot start: {reason}")

    @web.middleware
    async def middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Answer a request of the owner as if there were no workers: see `in_step`."""
        await self.in_step()
        response: web.StreamResponse = await handler(request)
        if request.method not in _SAFE_METHODS:
            await self.in_step()
        return response

    async def check(self) -> str | None:
        """Raise StartupError unless all workers run and answer; the check of /ready."""
        running = sum(worker.ready for worker in self._workers.values())
        if running < len(self._sockets):
            raise StartupError(f"{running} of {len(self._sockets)} workers run; the others are being started")
        if hung := sum(worker.missed >= _UNREADY_HEARTBEATS for worker in self._workers.values()):
            raise StartupError(f"{hung} of {len(self._sockets)} workers do not answer")
        return None

    async def in_step(self) -> None:
        """Wait until the messages from the workers have had their effect here, and those to the workers there."""
        waiting = [worker.ping() for worker in self._workers.values() if worker.ready and worker.responsive]
        if not waiting or self._stopping:
            return
        _, late = await asyncio.wait(waiting, timeout=_STEP_SECONDS)
        if late:
            for worker in self._workers.values():
                worker.check_answered(late)

    def metrics(self) -> WorkerMetrics:
        """Return the sums of the metrics of all workers that ran, as of their last answers."""
        return self._sums.total(worker.metrics for worker in self._workers.values())

    def reload(self) -> None:
        """Have the workers read the certificate again."""
        self._send(Reload())

    def stop_accepting(self) -> None:
        """Close the listening sockets and order the workers to end."""
        self._stopping = True
        for listening in self._sockets:
            listening.close()
        self._send(Stop())

    async def close(self, seconds: float) -> None:
        """Wait at most `seconds` until the workers have ended, then kill what is left."""
        if not self._stopping:
            self.stop_accepting()
        if ends := [worker.ended for worker in self._workers.values()]:
            await asyncio.wait(ends, timeout=seconds)
        asyncio.get_running_loop().remove_reader(self._forker.connection.fileno())
        await asyncio.to_thread(self._forker.close)
        for worker in tuple(self._workers.values()):
            worker.close()

    async def _run_heartbeat(self) -> None:
        """Background task: keep the metrics of the workers fresh, and replace hung workers."""
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            await self.heartbeat()

    async def heartbeat(self) -> None:
        """Ask all workers for their metrics, and kill those that have not answered for long, so that they are replaced.

        Such a worker answers no request, and the system would keep assigning it its share of the connections. One that
        is starting has more time, because it may wait for the database.
        """
        await self.in_step()
        for worker in self._workers.values():
            if worker.ended.done():
                continue
            most = _MOST_MISSED_HEARTBEATS if worker.ready else self._most_starting_heartbeats
            if worker.missed_heartbeats() >= most:
                log.error("worker.hung", worker=worker.number, heartbeats=worker.missed)
                worker.kill()

    async def _launch(self, number: int, pause: float) -> WorkerProcess:
        messages, their_messages = socket.socketpair()
        streams, their_streams = socket.socketpair()
        with their_messages, their_streams:
            self._forker.fork(number, (their_messages, their_streams, self._sockets[number - 1]))
        worker = WorkerProcess(number, pause)
        self._workers[number] = worker
        self._unreported.setdefault(number, deque()).append(worker)
        await worker.connect(messages, streams, self._accept)
        worker.send(self._welcome())
        for address, digest in self._attempts.refused_now():
            worker.send(Attempt(address, digest.hex(), accepted=False))
        self._tasks.start(f"worker-{number}", self._follow(worker))
        return worker

    async def _follow(self, worker: WorkerProcess) -> None:
        async for data in worker.lines():
            self._handle(worker, TO_OWNER.decode(data))
        self._sums.retire(worker.metrics)
        worker.metrics = WorkerMetrics()  # counted now, until its successor takes its place
        was_ready = worker.ready
        worker.close()
        if self._stopping:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_STATUS_SECONDS):
                await asyncio.shield(worker.status)
        if not was_ready:
            await self._start_failed(worker)
            return
        log.warning("worker.ended", worker=worker.number, status=worker.status_text())
        await self._replace(worker.number, self._pause_after(worker))

    def _pause_after(self, worker: WorkerProcess) -> float:
        """Return the seconds after which a worker that has ended is replaced: more if it ended young."""
        if worker.age >= _PROVEN_SECONDS:
            return 0.0
        return next((longer for longer in self._pauses if longer > worker.pause), self._pauses[-1])

    async def _start_failed(self, worker: WorkerProcess) -> None:
        reason = worker.reason or f"it ended before it could answer ({worker.status_text()})"
        first = not worker.replaces
        worker.started_with(reason)
        if first:
            return
        self._failed_starts += 1
        log.error("worker.not_started", worker=worker.number, reason=reason)
        # An outage passes, and the workers that are left go on: new settings or files may be corrected meanwhile.
        is_final = not worker.is_outage and not any(other.ready for other in self._workers.values())
        if is_final and self._failed_starts >= _MOST_FAILED_STARTS:
            self._fail(f"a worker cannot start again: {reason}")
            return
        await self._replace(worker.number, self._pauses[min(self._failed_starts, len(self._pauses) - 1)])

    async def _replace(self, number: int, pause: float) -> None:
        await asyncio.sleep(pause)
        if self._stopping:
            return
        try:
            worker = await self._launch(number, pause)
        except OSError as error:
            self._fail(f"a worker cannot start again: {error.strerror}")
            return
        worker.replaces = True

    def _fail(self, error: str) -> None:
        if self.error is None and not self._stopping:
            self.error = error
            self._on_failure()

    def _handle(self, worker: WorkerProcess, message: object) -> None:
        match message:
            case WorkerStarted():
                self._failed_starts = 0
                worker.started_with(None)
                worker.missed = 0
                log.info("worker.started", worker=worker.number)
            case WorkerFailed(reason=reason, is_outage=is_outage):
                worker.reason, worker.is_outage = reason, is_outage
            case Published(kind=kind, value=value):
                self._publish_here(worker, msgspec.json.decode(value, type=self._events[kind]))
            case Attempt(address=address, digest=digest, accepted=accepted):
                self._attempts.record(address, bytes.fromhex(digest), accepted=accepted)
                self._send(message, but=worker)
            case Pong(number=number, metrics=metrics):
                worker.answered(number, metrics)

    def _publish_here(self, worker: WorkerProcess, event: object) -> None:
        """Publish an event of a worker; it is not sent back to that worker."""
        self._sender = worker
        try:
            self._bus.publish(event)
        finally:
            self._sender = None

    def _publish(self, event: object) -> None:
        value = msgspec.Raw(msgspec.json.encode(event))
        self._send(Published(type(event).__name__, value), but=self._sender)

    def _share_attempt(self, made: AttemptMade) -> None:
        self._send(Attempt(made.address, made.digest.hex(), made.accepted))

    def _send(self, message: Any, but: WorkerProcess | None = None) -> None:
        for worker in self._workers.values():
            if worker is not but:
                worker.send(message)

    def _read_ends(self) -> None:
        """Keep the process id of each worker that was forked, and the wait status of each that has ended."""
        try:
            data = self._forker.connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._forker.connection.fileno())
            self._fail("the process that starts the workers has ended")
            return
        self._received += data
        while len(self._received) >= REPORT.size:
            number, pid, status = REPORT.unpack(self._received[: REPORT.size])
            self._received = self._received[REPORT.size :]
            waiting = self._unreported.get(number)
            if not waiting:
                continue
            if status == FORKED:
                for worker in [each for each in waiting if each.pid is None][:1]:
                    worker.pid = pid
            else:
                waiting.popleft().set_status(os.waitstatus_to_exitcode(status))
