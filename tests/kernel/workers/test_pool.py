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
from smartmob.kernel.workers.pool import _MOST_FAILED_STARTS, _MOST_MISSED_HEARTBEATS, _UNREADY_HEARTBEATS, WorkerPool
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
            case WorkerWelcome(own_name=name) if name in ("fail", f"fail {number}", "outage"):
                _send(connection, WorkerFailed("no disk is left", name == "outage"))
                return 1
            case WorkerWelcome(own_name="hang"):
                signal.pause()
            case WorkerWelcome():
                _send(connection, WorkerStarted())
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
async def _pool(*names: str, starting_seconds: float = 600.0) -> AsyncIterator[tuple[WorkerPool, EventBus]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    made = forker.start(_work, lambda: None)
    tasks, bus, told = TaskRegistry(), EventBus(), itertools.chain(names, itertools.repeat(names[-1] if names else ""))
    pool = WorkerPool(
        made, sockets, tasks, bus, AttemptLimit(), welcome=lambda: WorkerWelcome("", next(told), "", b""),
        events=(_Told,), to_workers=(_Told,), starting_seconds=starting_seconds, pauses=(0.0,) * 6,
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
        # The report on the fork comes by another socket than the message that a worker is ready.
        await until(lambda: kept.pid and hung.pid)
        os.kill(hung.pid or 0, signal.SIGSTOP)
        for _beat in range(_UNREADY_HEARTBEATS - 1):
            await pool.heartbeat()
        assert await pool.check() is None
        for _beat in range(_UNREADY_HEARTBEATS - 1, _MOST_MISSED_HEARTBEATS - 1):
            await pool.heartbeat()
            with pytest.raises(StartupError, match="1 of 2 workers do not answer"):
                await pool.check()
        await pool.heartbeat()
        assert await hung.status == -signal.SIGKILL
        await until(lambda: pool._workers[2] is not hung)
        assert await pool._workers[2].started is None
        assert pool._workers[1] is kept
        os.kill(pid := kept.pid or 0, signal.SIGSTOP)
        for _beat in range(_MOST_MISSED_HEARTBEATS - 1):
            await pool.heartbeat()
        os.kill(pid, signal.SIGCONT)
        await until(lambda: kept.responsive)
        await pool.heartbeat()
        assert kept.ready


async def test_a_worker_that_cannot_start_ends_the_service_with_its_reason() -> None:
    """At the first start at once; later after some tries, once no other worker is left."""
    async with _pool("fail 2") as (pool, _):
        with pytest.raises(StartupError, match="a worker cannot start: no disk is left"):
            await pool.start(_refuse_streams, _ignore)
    async with _pool("", "", "fail") as (pool, bus):
        failed = asyncio.Event()
        await pool.start(_refuse_streams, failed.set)
        bus.publish(_Told(0, end=1))
        await until(lambda: pool._failed_starts > 2 * _MOST_FAILED_STARTS)
        assert pool.error is None
        bus.publish(_Told(0, end=2))
        await failed.wait()
        assert pool.error == "a worker cannot start again: no disk is left"


async def test_an_outage_does_not_end_the_service() -> None:
    """The successors start when the database is available again."""
    async with _pool("", "", *["outage"] * 3 * _MOST_FAILED_STARTS, "") as (pool, bus):
        await pool.start(_refuse_streams, _ignore)
        bus.publish(_Told(0, end=1))
        bus.publish(_Told(0, end=2))
        await until(lambda: all(worker.ready for worker in pool._workers.values()))
        assert pool.error is None
        assert pool._failed_starts == 0


async def test_a_worker_that_hangs_before_it_is_ready_is_killed() -> None:
    """At the first start the service does not start; a successor is replaced again."""
    async with _pool("", "hang", starting_seconds=2.0) as (pool, _):
        with pytest.raises(StartupError, match="it ended before it could answer"):
            await pool.start(_refuse_streams, _ignore)
    async with _pool("", "", "hang", "", starting_seconds=2.0) as (pool, bus):
        await pool.start(_refuse_streams, _ignore)
        first = pool._workers[1]
        bus.publish(_Told(0, end=1))
        await until(lambda: pool._workers[1] is not first and pool._workers[1].ready)
        assert pool.error is None


async def test_the_metrics_of_a_worker_that_has_ended_count_once() -> None:
    """Until its successor takes its place, and afterwards: no counter falls."""
    async with _pool() as (pool, bus):
        await pool.start(_refuse_streams, _ignore)
        for _ in range(5):
            bus.publish(_Told(0))
        await pool.in_step()
        before, first = pool.metrics().counters["handled"][0][2], pool._workers[2]
        seen: list[float] = []
        bus.publish(_Told(0, end=2))
        await first.ended
        seen.append(pool.metrics().counters["handled"][0][2])
        await until(lambda: pool._workers[2] is not first)
        seen.append(pool.metrics().counters["handled"][0][2])
        assert before <= seen[0] <= seen[1] < 2 * before


async def _refuse_streams(connected: socket.socket) -> None:
    connected.close()


def _ignore() -> None:
    """Handle no failure."""
