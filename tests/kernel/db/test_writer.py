"""Group commit over a real connection: who shares a batch, and who is told what."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from smartmob.errors import Unavailable
from smartmob.kernel.db.writer import GroupCommitWriter
from tests.kernel.stored import Stored, Writers
from tests.waiting import until


class TestPut:
    """What a caller waits for."""

    async def test_it_returns_after_the_commit(self, writers: Writers, stored: Stored) -> None:
        """What was acknowledged is seen by everybody, and nothing before."""
        writer = await writers()
        stored.gate.clear()
        put = asyncio.create_task(writer.put([1, 2]))
        await until(lambda: stored.attempts)
        assert not put.done()
        assert await stored.values() == []

        stored.gate.set()
        await put

        assert await stored.values() == [1, 2]

    async def test_nothing_to_store(self, writers: Writers, stored: Stored) -> None:
        """No rows are no error."""
        writer = await writers()

        await writer.put([])
        await writer.put([1])

        assert await stored.values() == [1]

    async def test_concurrent_callers_share_batches(self, writers: Writers, stored: Stored) -> None:
        """All that comes while a batch is being written goes into the next one."""
        writer = await writers()
        stored.gate.clear()
        first = asyncio.create_task(writer.put([0]))
        await until(lambda: stored.attempts)
        others = [asyncio.create_task(writer.put([number, number])) for number in range(1, 51)]
        await until(lambda: writer.stats.waiting == 101)

        stored.gate.set()
        await asyncio.gather(first, *others)

        assert [len(batch) for batch in stored.attempts] == [1, 50]
        assert (writer.stats.batches, writer.stats.rows, writer.stats.waiting) == (2, 101, 0)

    async def test_the_order_is_kept(self, writers: Writers, stored: Stored) -> None:
        """Rows are handed to the database in the order in which they were put, through all batches."""
        writer = await writers(max_batch=7)

        await asyncio.gather(*(writer.put([2 * number, 2 * number + 1]) for number in range(40)))

        assert stored.flat() == list(range(80))
        assert max(len(batch) for batch in stored.attempts) == 3

    async def test_a_batch_has_an_end(self, writers: Writers, stored: Stored) -> None:
        """Many rows are written in several batches; those of one caller are never parted."""
        writer = await writers(max_batch=10)
        stored.gate.clear()
        puts = [asyncio.create_task(writer.put([number] * size)) for number, size in enumerate([1, 6, 4, 1, 25, 3])]
        await until(lambda: writer.stats.waiting == 40)

        stored.gate.set()
        await asyncio.gather(*puts)

        sizes = [[len(rows) for rows in batch] for batch in stored.attempts]
        assert [size for batch in sizes for size in batch] == [1, 6, 4, 1, 25, 3]
        assert [25] in sizes
        assert all(sum(batch) <= 10 for batch in sizes if batch != [25])

    async def test_who_is_told(self, writers: Writers, stored: Stored) -> None:
        """After each commit the subscriber learns how many rows it had."""
        told: list[int] = []
        writer = await writers(committed=told.append)

        await writer.put([1, 2, 3])
        await writer.put([4])

        assert told == [3, 1]


class TestSubmit:
    """Rows of callers that do not wait, and are told."""

    async def test_told_after_the_commit(self, writers: Writers, stored: Stored) -> None:
        """The function is called once, when everybody can see the rows; who waits shares the batch."""
        writer = await writers()
        stored.gate.clear()
        told: list[tuple[int, Exception | None]] = []
        first = asyncio.create_task(writer.put([0]))
        await until(lambda: stored.attempts)
        writer.submit([1], lambda error: told.append((1, error)))
        writer.submit([2], lambda error: told.append((2, error)))
        second = asyncio.create_task(writer.put([3]))
        await until(lambda: writer.stats.waiting == 4)
        assert told == []

        stored.gate.set()
        await asyncio.gather(first, second)

        assert told == [(1, None), (2, None)]
        assert [len(batch) for batch in stored.attempts] == [1, 3]
        assert await stored.values() == [0, 1, 2, 3]

    async def test_told_of_a_refusal(self, writers: Writers, stored: Stored) -> None:
        """What the database refuses fails alone, and its function gets the error."""
        writer = await writers()
        stored.gate.clear()
        first = asyncio.create_task(writer.put([1]))
        await until(lambda: stored.attempts)
        told: list[Exception | None] = []
        writer.submit([-1], told.append)
        writer.submit([2], told.append)

        stored.gate.set()
        await first
        await until(lambda: len(told) == 2)

        assert [type(error) for error in told] == [asyncpg.CheckViolationError, type(None)]
        assert await stored.values() == [1, 2]

    async def test_full(self, writers: Writers, stored: Stored) -> None:
        """It says when there is no room; who submits all the same waits with the others."""
        writer = await writers(max_waiting=2)
        stored.gate.clear()
        told: list[Exception | None] = []
        writer.submit([1], told.append)
        assert not writer.full
        writer.submit([2], told.append)
        assert writer.full

        stored.gate.set()
        await until(lambda: len(told) == 2)
        assert not writer.full

    async def test_closed(self, writers: Writers, stored: Stored) -> None:
        """What was accepted is committed and told of; afterwards nothing is taken."""
        writer = await writers()
        told: list[Exception | None] = []
        writer.submit([1], told.append)
        await writer.close()
        assert told == [None]
        with pytest.raises(Unavailable, match="stopping"):
            writer.submit([2], told.append)
        assert told == [None]
        assert await stored.values() == [1]


class TestRefused:
    """Rows that the database refuses for their content."""

    async def test_all_or_nothing(self, writers: Writers, stored: Stored) -> None:
        """One bad row and none of its caller's is stored; the caller gets the database's own error."""
        writer = await writers()

        with pytest.raises(asyncpg.CheckViolationError):
            await writer.put([1, 2, -1, 3])

        assert await stored.values() == []
        assert (writer.stats.rows, writer.stats.waiting) == (0, 0)

    async def test_it_fails_alone(self, writers: Writers, stored: Stored) -> None:
        """The others of its batch are stored."""
        writer = await writers()
        stored.gate.clear()
        puts = [asyncio.create_task(writer.put(rows)) for rows in ([1], [2, 3], [4, -1], [5], [-2], [6])]
        await until(lambda: writer.stats.waiting == 8)

        stored.gate.set()
        results = await asyncio.gather(*puts, return_exceptions=True)

        assert [type(result) for result in results] == [
            type(None), type(None), asyncpg.CheckViolationError, type(None), asyncpg.CheckViolationError, type(None),
        ]  # fmt: skip
        assert await stored.values() == [1, 2, 3, 5, 6]

    async def test_the_writer_goes_on(self, writers: Writers, stored: Stored) -> None:
        """The next caller does not notice."""
        writer = await writers()
        with pytest.raises(asyncpg.CheckViolationError):
            await writer.put([-1])

        await writer.put([1])

        assert await stored.values() == [1]

    async def test_a_mistake_of_the_store(self, writers: Writers, stored: Stored) -> None:
        """A bug in the function that commits reaches the caller and ends nothing."""
        writer = await writers()
        stored.bugs = 1

        with pytest.raises(ZeroDivisionError):
            await writer.put([1])
        await writer.put([2])

        assert await stored.values() == [2]


class TestCallersThatLeave:
    """Callers that are cancelled."""

    async def test_before_their_batch(self, writers: Writers, stored: Stored) -> None:
        """Their rows are not stored, and the others do not notice."""
        writer = await writers()
        stored.gate.clear()
        puts = [asyncio.create_task(writer.put([number])) for number in range(5)]
        await until(lambda: stored.attempts and writer.stats.waiting == 5)
        leaving = asyncio.create_task(writer.put([99]))
        await until(lambda: writer.stats.waiting == 6)
        leaving.cancel()
        await asyncio.wait([leaving])

        stored.gate.set()
        await asyncio.gather(*puts)
        await writer.put([5])

        assert await stored.values() == [0, 1, 2, 3, 4, 5]
        assert writer.stats.waiting == 0

    async def test_within_their_batch(self, writers: Writers, stored: Stored) -> None:
        """A batch that is under way is finished for those who still wait."""
        writer = await writers()
        stored.gate.clear()
        puts = [asyncio.create_task(writer.put([number])) for number in range(4)]
        await until(lambda: stored.attempts and writer.stats.waiting == 4)
        puts[1].cancel()

        stored.gate.set()
        await asyncio.gather(*puts[:1], *puts[2:])

        assert set(await stored.values()) >= {0, 2, 3}

    async def test_a_batch_that_nobody_waits_for(self, writers: Writers, stored: Stored) -> None:
        """It is not written at all."""
        writer = await writers()
        stored.gate.clear()
        first = asyncio.create_task(writer.put([1]))
        await until(lambda: stored.attempts)
        second = asyncio.create_task(writer.put([2]))
        await until(lambda: writer.stats.waiting == 2)
        second.cancel()

        stored.gate.set()
        await first
        await until(lambda: writer.stats.waiting == 0)

        assert stored.flat() == [1]


class TestBackPressure:
    """More than can wait."""

    async def test_callers_wait_for_room(self, writers: Writers, stored: Stored) -> None:
        """Beyond the limit a caller waits until there is room, and nothing is lost."""
        writer = await writers(max_waiting=3)
        stored.gate.clear()
        puts = [asyncio.create_task(writer.put([number])) for number in range(20)]
        await until(lambda: stored.attempts)
        await asyncio.sleep(0)
        assert writer.stats.waiting == 3

        stored.gate.set()
        await asyncio.gather(*puts)

        assert await stored.values() == list(range(20))

    async def test_when_the_time_is_up(self, writers: Writers, stored: Stored, opened: Any) -> None:
        """A caller for whom no room was made is refused, and its rows are not stored."""
        database = await opened()
        writer = await writers(database, max_waiting=1)
        stored.gate.clear()
        first = asyncio.create_task(writer.put([1]))
        await until(lambda: stored.attempts)
        database.patience = 0.05

        with pytest.raises(Unavailable, match="too many writes are waiting; nothing was stored"):
            await writer.put([2])

        stored.gate.set()
        await first
        assert await stored.values() == [1]
        assert writer.stats.refused == 1


class TestEnd:
    """Starting and closing."""

    async def test_close_commits_what_waits(self, writers: Writers, stored: Stored) -> None:
        """Everything that was accepted is stored before close returns."""
        writer = await writers(max_batch=5)
        stored.gate.clear()
        puts = [asyncio.create_task(writer.put([number])) for number in range(12)]
        await until(lambda: writer.stats.waiting == 12)
        closing = asyncio.create_task(writer.close())
        await asyncio.sleep(0)
        assert not closing.done()

        stored.gate.set()
        await closing

        assert await stored.values() == list(range(12))
        await asyncio.gather(*puts)

    async def test_nothing_is_taken_afterwards(self, writers: Writers, stored: Stored) -> None:
        """A late caller is told that the service stops."""
        writer = await writers()
        await writer.close()

        with pytest.raises(Unavailable, match="the service is stopping; nothing was stored"):
            await writer.put([1])
        assert await stored.values() == []

    async def test_close_before_start(self, opened: Any, stored: Stored) -> None:
        """A writer that was never started can be closed."""
        await GroupCommitWriter("test", await opened(), stored.commit).close()

    async def test_its_connection_is_closed(self, writers: Writers, stored: Stored, admin: Any) -> None:
        """Nothing of a closed writer is left at the server."""
        writer = await writers()
        await writer.put([1])
        (pid,) = stored.backends

        await writer.close()

        await until(lambda: _gone(admin, pid))


async def _gone(admin: Any, pid: int) -> bool:
    return not await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid)
