"""Group commit on a real connection: batches, acknowledgements, limits and the end."""

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
    """Callers that wait for the commit."""

    async def test_put_returns_after_the_commit(self, writers: Writers, stored: Stored) -> None:
        """Other connections see the rows then, and not before."""
        writer = await writers()
        stored.gate.clear()
        put = asyncio.create_task(writer.put([1, 2]))
        await until(lambda: stored.attempts)
        assert not put.done()
        assert await stored.values() == []

        stored.gate.set()
        await put

        assert await stored.values() == [1, 2]

    async def test_put_without_rows_returns(self, writers: Writers, stored: Stored) -> None:
        """It is not an error."""
        writer = await writers()

        await writer.put([])
        await writer.put([1])

        assert await stored.values() == [1]

    async def test_concurrent_callers_share_batches(self, writers: Writers, stored: Stored) -> None:
        """Rows that come while a batch is written go into the next one."""
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

    async def test_rows_are_written_in_the_order_of_submission(self, writers: Writers, stored: Stored) -> None:
        """This holds across batches."""
        writer = await writers(max_batch=7)

        await asyncio.gather(*(writer.put([2 * number, 2 * number + 1]) for number in range(40)))

        assert stored.flat() == list(range(80))
        assert max(len(batch) for batch in stored.attempts) == 3

    async def test_many_rows_are_written_in_several_batches(self, writers: Writers, stored: Stored) -> None:
        """The rows of one caller stay together."""
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

    async def test_the_committed_callback_gets_the_number_of_rows(self, writers: Writers, stored: Stored) -> None:
        """It is called after each commit."""
        outcomes: list[int] = []
        writer = await writers(committed=outcomes.append)

        await writer.put([1, 2, 3])
        await writer.put([4])

        assert outcomes == [3, 1]


class TestSubmit:
    """Rows of callers that get a callback."""

    async def test_a_submission_calls_back_after_the_commit(self, writers: Writers, stored: Stored) -> None:
        """The callback is called once, and shares its batch with callers of put."""
        writer = await writers()
        stored.gate.clear()
        outcomes: list[tuple[int, Exception | None]] = []
        first = asyncio.create_task(writer.put([0]))
        await until(lambda: stored.attempts)
        writer.submit([1], lambda error: outcomes.append((1, error)))
        writer.submit([2], lambda error: outcomes.append((2, error)))
        second = asyncio.create_task(writer.put([3]))
        await until(lambda: writer.stats.waiting == 4)
        assert outcomes == []

        stored.gate.set()
        await asyncio.gather(first, second)

        assert outcomes == [(1, None), (2, None)]
        assert [len(batch) for batch in stored.attempts] == [1, 3]
        assert await stored.values() == [0, 1, 2, 3]

    async def test_a_refused_submission_calls_back_with_the_error(self, writers: Writers, stored: Stored) -> None:
        """It fails alone."""
        writer = await writers()
        stored.gate.clear()
        first = asyncio.create_task(writer.put([1]))
        await until(lambda: stored.attempts)
        outcomes: list[Exception | None] = []
        writer.submit([-1], outcomes.append)
        writer.submit([2], outcomes.append)

        stored.gate.set()
        await first
        await until(lambda: len(outcomes) == 2)

        assert [type(error) for error in outcomes] == [asyncpg.CheckViolationError, type(None)]
        assert await stored.values() == [1, 2]

    async def test_a_full_writer_says_so_and_still_accepts_submissions(self, writers: Writers, stored: Stored) -> None:
        """They wait with the others."""
        writer = await writers(max_waiting=2)
        stored.gate.clear()
        outcomes: list[Exception | None] = []
        writer.submit([1], outcomes.append)
        assert not writer.full
        writer.submit([2], outcomes.append)
        assert writer.full

        stored.gate.set()
        await until(lambda: len(outcomes) == 2)
        assert not writer.full

    async def test_close_commits_accepted_submissions(self, writers: Writers, stored: Stored) -> None:
        """Their callbacks are called, and later submissions are refused."""
        writer = await writers()
        outcomes: list[Exception | None] = []
        writer.submit([1], outcomes.append)
        await writer.close()
        assert outcomes == [None]
        with pytest.raises(Unavailable, match="stopping"):
            writer.submit([2], outcomes.append)
        assert outcomes == [None]
        assert await stored.values() == [1]

    async def test_rows_within_the_delay_share_a_batch(self, writers: Writers, stored: Stored) -> None:
        """The end of the writer ends the delay, and what it has gathered is committed."""
        writer = await writers(delay=600.0)
        outcomes: list[Exception | None] = []
        for number in range(3):
            writer.submit([number], outcomes.append)
            await asyncio.sleep(0)
            assert outcomes == []

        await writer.close()

        assert outcomes == [None] * 3
        assert [len(batch) for batch in stored.attempts] == [3]

    async def test_a_row_is_committed_after_the_delay(self, writers: Writers, stored: Stored) -> None:
        """It does not need further rows."""
        writer = await writers(delay=0.001)
        for number in range(3):
            await writer.put([number])
        assert await stored.values() == [0, 1, 2]


class TestRefused:
    """Rows that the database refuses for their content."""

    async def test_one_refused_row_refuses_all_rows_of_its_caller(self, writers: Writers, stored: Stored) -> None:
        """The caller gets the error of the database."""
        writer = await writers()

        with pytest.raises(asyncpg.CheckViolationError):
            await writer.put([1, 2, -1, 3])

        assert await stored.values() == []
        assert (writer.stats.rows, writer.stats.waiting) == (0, 0)

    async def test_a_refused_caller_does_not_harm_its_batch(self, writers: Writers, stored: Stored) -> None:
        """The rows of the other callers are stored."""
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

    async def test_the_writer_works_after_a_refusal(self, writers: Writers, stored: Stored) -> None:
        """The next caller does not notice."""
        writer = await writers()
        with pytest.raises(asyncpg.CheckViolationError):
            await writer.put([-1])

        await writer.put([1])

        assert await stored.values() == [1]

    async def test_an_exception_of_the_commit_function_reaches_the_caller(
        self, writers: Writers, stored: Stored
    ) -> None:
        """The writer goes on."""
        writer = await writers()
        stored.bugs = 1

        with pytest.raises(ZeroDivisionError):
            await writer.put([1])
        await writer.put([2])

        assert await stored.values() == [2]


class TestCancelledCallers:
    """Callers that are cancelled."""

    async def test_rows_of_a_caller_cancelled_before_its_batch_are_not_stored(
        self, writers: Writers, stored: Stored
    ) -> None:
        """Other callers do not notice."""
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

    async def test_a_batch_goes_on_when_one_of_its_callers_is_cancelled(self, writers: Writers, stored: Stored) -> None:
        """The rows of the others are stored."""
        writer = await writers()
        stored.gate.clear()
        puts = [asyncio.create_task(writer.put([number])) for number in range(4)]
        await until(lambda: stored.attempts and writer.stats.waiting == 4)
        puts[1].cancel()

        stored.gate.set()
        await asyncio.gather(*puts[:1], *puts[2:])

        assert set(await stored.values()) >= {0, 2, 3}

    async def test_a_batch_of_cancelled_callers_is_not_written(self, writers: Writers, stored: Stored) -> None:
        """No attempt is made."""
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
    """More rows than may wait."""

    async def test_callers_above_the_limit_wait_and_lose_nothing(self, writers: Writers, stored: Stored) -> None:
        """They wait until enough rows are committed."""
        writer = await writers(max_waiting=3)
        stored.gate.clear()
        puts = [asyncio.create_task(writer.put([number])) for number in range(20)]
        await until(lambda: stored.attempts)
        await asyncio.sleep(0)
        assert writer.stats.waiting == 3

        stored.gate.set()
        await asyncio.gather(*puts)

        assert await stored.values() == list(range(20))

    async def test_a_caller_above_the_limit_is_refused_after_its_patience(
        self, writers: Writers, stored: Stored, opened: Any
    ) -> None:
        """Its rows are not stored."""
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

    async def test_close_commits_waiting_rows(self, writers: Writers, stored: Stored) -> None:
        """All accepted rows are stored before it returns."""
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

    async def test_a_closed_writer_refuses_rows(self, writers: Writers, stored: Stored) -> None:
        """The error says that the service is stopping."""
        writer = await writers()
        await writer.close()

        with pytest.raises(Unavailable, match="the service is stopping; nothing was stored"):
            await writer.put([1])
        assert await stored.values() == []

    async def test_a_writer_that_was_never_started_can_be_closed(self, opened: Any, stored: Stored) -> None:
        """There is nothing to wait for."""
        await GroupCommitWriter("test", await opened(), stored.commit).close()

    async def test_close_closes_the_connection(self, writers: Writers, stored: Stored, admin: Any) -> None:
        """The server has none of the writer's connections any more."""
        writer = await writers()
        await writer.put([1])
        (pid,) = stored.backends

        await writer.close()

        await until(lambda: _gone(admin, pid))


async def _gone(admin: Any, pid: int) -> bool:
    return not await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid)
