"""The owner's side of workers, which are real processes that do little."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
import pytest

from smartmob.errors import StartupError
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.workers import forker
from smartmob.kernel.workers import worker_messages as messages
from smartmob.kernel.workers.pool import _MOST_MISSED_HEARTBEATS, WorkerPool
from smartmob.kernel.workers.worker_messages import (
    Ping,
    Pong,
    Published,
    Stop,
    WorkerFailed,
    WorkerMetrics,
    WorkerStarted,
    WorkerWelcome,
)
from tests.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@dataclass(frozen=True, slots=True)
class _Told:
    """An event that each worker sends back with its own number, and that ends the worker `end`."""

    number: int
    end: int = 0


def _send(connection: socket.socket, message: messages.ToOwner) -> None:
    connection.sendall(messages.line(message))


def _work(number: int, connection: socket.socket, _streams: socket.socket, _listening: socket.socket) -> int:
    handled = 0
    for line in connection.makefile("rb"):
        match messages.TO_WORKER.decode(line):
            case WorkerWelcome(own_name=name) if name == f"fail {number}":
                _send(connection, WorkerFailed("no disk is left"))
                return 1
            case WorkerWelcome():
                _send(connection, WorkerStarted(os.getpid()))
            case Published(value=value):
                handled += 1
                if msgspec.json.decode(value, type=_Told).end == number:
                    return 3
                _send(connection, Published("_Told", msgspec.Raw(msgspec.json.encode(_Told(number)))))
            case Ping(number=asked):
                _send(connection, Pong(asked, WorkerMetrics({"handled": [("handled_total", {}, float(handled))]}, {})))
            case Stop():
                return 0
    return 1


@asynccontextmanager
async def _pool(*names: str) -> AsyncIterator[tuple[WorkerPool, EventBus]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    made = forker.start(_work, lambda: None)
    tasks, bus, told = TaskRegistry(), EventBus(), itertools.chain(names, itertools.repeat(names[-1] if names else ""))
    pool = WorkerPool(
        made, sockets, tasks, bus, AttemptLimit(), welcome=lambda: WorkerWelcome("", next(told), "", b""),
        events=(_Told,), to_workers=(_Told,), pauses=(0.0,) * 6,
    )  # fmt: skip
    try:
        yield pool, bus
    finally:
        await pool.close(10.0)
        await tasks.close()


def _collect(bus: EventBus) -> list[_Told]:
    found: list[_Told] = []
    bus.subscribe(_Told, found.append)
    return found


async def test_events_of_one_worker_reach_the_owner_and_the_other_worker() -> None:
    """After `in_step` each has had its effect, and the metrics are those of all workers."""
    async with _pool() as (pool, bus):
        found = _collect(bus)
        await pool.start(_refuse_streams, _ignore)
        assert await pool.check() is None
        bus.publish(_Told(0))
        await pool.in_step()
        # Each worker has answered, and each answer was given to the other worker, which answered that in turn.
        assert {told.number for told in found} == {0, 1, 2}
        assert pool.metrics().counters["handled"][0][2] >= 2


async def test_a_worker_that_ends_is_replaced_and_its_metrics_stay() -> None:
    """Its exit code is known; until the successor answers, the check of /ready says what is missing."""
    async with _pool() as (pool, bus):
        await pool.start(_refuse_streams, _ignore)
        first = pool._workers[2]
        bus.publish(_Told(0, end=2))
        await first.ended
        with pytest.raises(StartupError, match="1 of 2 workers run"):
            await pool.check()
        assert await first.status == 3
        await until(lambda: pool._workers[2] is not first)
        assert await pool._workers[2].started is None
        assert await pool.check() is None


async def test_a_hung_worker_is_replaced_after_many_heartbeats_without_an_answer() -> None:
    """A worker that is stopped is left alone for a while, then killed; one that answers again in time is kept."""
    async with _pool() as (pool, _):
        await pool.start(_refuse_streams, _ignore)
        kept, hung = pool._workers[1], pool._workers[2]
        assert hung._pid is not None
        os.kill(hung._pid, signal.SIGSTOP)
        for _beat in range(_MOST_MISSED_HEARTBEATS - 1):
            await pool.heartbeat()
        assert await pool.check() is None
        await pool.heartbeat()
        assert await hung.status == -signal.SIGKILL
        await until(lambda: pool._workers[2] is not hung)
        assert await pool._workers[2].started is None
        assert pool._workers[1] is kept
        os.kill(pid := kept._pid or 0, signal.SIGSTOP)
        for _beat in range(_MOST_MISSED_HEARTBEATS - 1):
            await pool.heartbeat()
        os.kill(pid, signal.SIGCONT)
        await until(lambda: kept.responsive)
        await pool.heartbeat()
        assert kept.ready


async def test_a_worker_that_cannot_start_ends_the_service_with_its_reason() -> None:
    """At the first start at once, later after some tries."""
    async with _pool("fail 2") as (pool, _):
        with pytest.raises(StartupError, match="a worker cannot start: no disk is left"):
            await pool.start(_refuse_streams, _ignore)
    async with _pool("", "", "fail 1") as (pool, bus):
        failed = asyncio.Event()
        await pool.start(_refuse_streams, failed.set)
        bus.publish(_Told(0, end=1))
        await failed.wait()
        assert pool.error == "a worker cannot start again: no disk is left"


async def _refuse_streams(connected: socket.socket) -> None:
    connected.close()


def _ignore() -> None:
    """Handle no failure."""
