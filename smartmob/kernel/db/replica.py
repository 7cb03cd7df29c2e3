"""A replica of the database for reading: whether it is there, how far behind it is, and its connections."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from smartmob.errors import DatabaseError
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.tasks import TaskRegistry

log = get_logger()

_CHECK_SECONDS = 1.0
"""Seconds for which the result of a check is valid, and the longest duration of a check."""
_KEPT_POSITIONS = 600
_POSITION = """
SELECT (SELECT system_identifier FROM pg_control_system()) AS system, current_database()::text AS name,
       pg_is_in_recovery() AS replica,
       CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')
            ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') END::bigint AS position
"""


class _Primary(Protocol):
    async def fetchrow_at_once(self, query: str, seconds: float) -> asyncpg.Record | None:
        """Return a row of the database itself, without retries."""


class ReplayDelay:
    """Computes how long a replica is behind from positions in the write-ahead log of both servers.

    The replica's own positions cannot be used: while it is disconnected, it considers itself up to date.
    """

    def __init__(self) -> None:
        self._written: deque[tuple[float, int]] = deque(maxlen=_KEPT_POSITIONS)

    def seconds(self, now: float, written: int, replayed: int) -> float | None:
        """Return the delay in seconds, or None if the replica lacks changes from before the first call."""
        self._written.append((now, written))
        # Only the newest position that has been replayed matters from now on.
        while len(self._written) > 1 and self._written[1][1] <= replayed:
            self._written.popleft()
        since, position = self._written[0]
        return now - since if position <= replayed else None


class ReplicaState(msgspec.Struct, frozen=True):
    """The result of a check. `behind` is the delay in seconds, if known; `problem` says why the replica is not read."""

    problem: str | None
    behind: float | None = None


class Replica:
    """The connections to a replica. After `open` you must `close`.

    It is not read while it does not answer, is more than `most_behind` seconds behind, or is not a replica.
    """

    def __init__(self, primary: _Primary, most_behind: float) -> None:
        self._primary = primary
        self._most_behind = most_behind
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._delay = ReplayDelay()
        self._wrong_url = False
        self._state: ReplicaState | None = None
        self._checked = 0.0
        self._tasks = TaskRegistry()
        self._checking: asyncio.Task[ReplicaState] | None = None

    async def open(self, url: str, **arguments: Any) -> None:
        """Check the address and the replica, which may be unavailable. Raises DatabaseError for an invalid address."""
        self._pool = await asyncpg.create_pool(url, min_size=0, **arguments)
        await self.check()
        if self._wrong_url:
            raise DatabaseError(
                "the URL of the replica cannot be used: it is not postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
            )

    async def close(self) -> None:
        """Close the connections."""
        await self._tasks.close()
        if self._pool is not None:
            self._pool.terminate()

    async def usable(self) -> bool:
        """Return whether the replica may be read now; one that was unavailable is checked in the background."""
        if clock.steady() - self._checked > _CHECK_SECONDS:
            checking = self._start_check()
            if self._state is None or self._state.problem is None:
                await asyncio.wait([checking])
        return self._state is not None and self._state.problem is None

    @asynccontextmanager
    async def acquire(self, seconds: float) -> AsyncIterator[PoolConnectionProxy[asyncpg.Record]]:
        """Return a connection until the block ends."""
        assert self._pool is not None
        async with self._pool.acquire(timeout=seconds) as connection:
            yield connection

    async def check(self) -> ReplicaState:
        """Check the replica, and return its state."""
        return await self._start_check()

    async def note(self) -> str | None:
        """Return why the replica is not read, for the health of the service, which works without it."""
        state = await self.check()
        return None if state.problem is None else f"the replica is not read: {state.problem}"

    def failed(self, problem: str) -> None:
        """Stop reading the replica until the next check, because a query has lost its connection."""
        self._set(ReplicaState(problem))

    def _start_check(self) -> asyncio.Task[ReplicaState]:
        if self._checking is None or self._checking.done():
            self._checking = self._tasks.start("database-replica", self._check())
        return self._checking

    async def _check(self) -> ReplicaState:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                state = await self._looked_at()
        except ValueError:
            # The message may quote a part of the password.
            self._wrong_url, state = True, ReplicaState("its URL cannot be used")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            state = ReplicaState(one_line(error))
        self._set(state)
        return state

    async def _looked_at(self) -> ReplicaState:
        # Ask the database itself first: the replica is compared with the position that it has written by now.
        primary = await self._primary.fetchrow_at_once(_POSITION, _CHECK_SECONDS)
        async with self.acquire(_CHECK_SECONDS) as connection:
            replica = await connection.fetchrow(_POSITION)
        assert primary is not None and replica is not None
        if not replica["replica"]:
            return ReplicaState("the server is not a streaming replica (pg_is_in_recovery() is false)")
        if (primary["system"], primary["name"]) != (replica["system"], replica["name"]):
            return ReplicaState("it is a replica of another database")
        behind = self._delay.seconds(clock.steady(), primary["position"], replica["position"])
        if behind is None:
            return ReplicaState("it is behind, and it is not known yet for how long")
        if behind > self._most_behind:
            return ReplicaState(f"it is {behind:.0f} s behind", behind)
        return ReplicaState(None, behind)

    def _set(self, state: ReplicaState) -> None:
        before, self._state, self._checked = self._state, state, clock.steady()
        if state.problem is not None and (before is None or before.problem is None):
            log.warning("replica.skipped", reason=state.problem)
        elif state.problem is None and before is not None and before.problem is not None:
            log.info("replica.resumed")


def one_line(error: BaseException) -> str:
    """Return in one line why a server cannot be read, without its address."""
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, asyncpg.PostgresError):
        return str(error).split("\n", 1)[0]
    return "it does not answer"
