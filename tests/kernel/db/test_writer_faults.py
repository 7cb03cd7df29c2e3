"""Group commit while the database is not available, and after that."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
import structlog

from smartmob.errors import Unavailable
from tests.kernel.proxy import Proxy
from tests.kernel.stored import Moment, Stored, Writers
from tests.waiting import until


class TestAway:
    """Connections that are closed by the server."""

    @pytest.mark.parametrize("moment", ["before", "inside", "after"])
    async def test_rows_are_stored_once_when_the_connection_ends_at_any_moment(
        self, writers: Writers, stored: Stored, moment: Moment
    ) -> None:
        """It may end before, within and after the transaction; the caller waits."""
        writer = await writers()
        stored.cuts = [moment]

        with structlog.testing.capture_logs() as lines:
            await writer.put([1, 2])

        assert await stored.values() == [1, 2]
        assert len(stored.attempts) == 2
        assert writer.stats.retries == 1
        assert [(line["event"], line["writer"], line["waiting"]) for line in lines] == [("writer.waiting", "test", 2)]

    async def test_rows_are_stored_once_after_many_lost_connections(self, writers: Writers, stored: Stored) -> None:
        """Their order is kept."""
        writer = await writers()
        stored.cuts = ["before", "inside", "after", None, "after", "inside", None]

        with structlog.testing.capture_logs():
            for number in range(4):
                await asyncio.gather(writer.put([3 * number, 3 * number + 1]), writer.put([3 * number + 2]))

        assert await stored.values() == list(range(12))
        assert writer.stats.waiting == 0

    async def test_a_connection_lost_between_batches_is_replaced(
        self, writers: Writers, stored: Stored, admin: Any
    ) -> None:
        """The next batch does not fail."""
        writer = await writers()
        await writer.put([1])
        (pid,) = stored.backends
        await admin.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)

        with structlog.testing.capture_logs():
            await writer.put([2])

        assert await stored.values() == [1, 2]

    async def test_rows_beside_a_refused_row_are_stored_although_the_connection_ends(
        self, writers: Writers, stored: Stored
    ) -> None:
        """Only the refused row fails."""
        writer = await writers()
        stored.gate.clear()
        puts = [asyncio.create_task(writer.put([value])) for value in (1, -1, 2)]
        await until(lambda: stored.attempts and writer.stats.waiting == 3)
        stored.cuts = ["inside", None, "after", "before", "inside"]

        with structlog.testing.capture_logs():
            stored.gate.set()
            results = await asyncio.gather(*puts, return_exceptions=True)

        assert [result is None for result in results] == [True, False, True]
        assert await stored.values() == [1, 2]

    async def test_acknowledged_rows_are_stored_once_under_load(
        self, writers: Writers, stored: Stored, admin: Any
    ) -> None:
        """The server closes connections of many callers at any moment."""
        writer = await writers()
        stored.cuts = [random.choice(["before", "inside", "after", None, None]) for _ in range(12)]

        async def work(start: int) -> None:
            for number in range(8):
                await writer.put([start + number])

        with structlog.testing.capture_logs():
            await asyncio.gather(*(work(100 * worker) for worker in range(10)))

        assert sorted(await stored.values()) == [100 * worker + number for worker in range(10) for number in range(8)]

    async def test_rows_are_stored_when_the_server_is_back(
        self, writers: Writers, stored: Stored, opened: Any, proxy: Proxy
    ) -> None:
        """The caller waits until then."""
        writer = await writers(await opened(proxy.url))
        await writer.put([1])
        proxy.cut()
        seen = proxy.seen

        with structlog.testing.capture_logs():
            put = asyncio.create_task(writer.put([2]))
            await until(lambda: proxy.seen > seen + 2)
            assert not put.done()
            proxy.up = True
            await put

        assert await stored.values() == [1, 2]


class TestPatience:
    """A database that is not available for longer than the patience."""

    async def test_rows_are_refused_after_the_patience(
        self, writers: Writers, stored: Stored, opened: Any, proxy: Proxy
    ) -> None:
        """The error says to retry, and the rows are not stored later."""
        database = await opened(proxy.url, patience=0.2)
        writer = await writers(database)
        proxy.cut()

        with (
            structlog.testing.capture_logs(),
            pytest.raises(Unavailable, match="the database is not available") as caught,
        ):
            await writer.put([1])
        assert caught.value.retry_after > 0
        assert writer.stats.refused == 1
        proxy.up = True
        database.patience = 20.0
        await writer.put([2])

        assert await stored.values() == [2]
        assert writer.stats.waiting == 0

    async def test_each_caller_waits_for_its_own_patience_only(
        self, writers: Writers, stored: Stored, opened: Any, proxy: Proxy
    ) -> None:
        """Callers before it do not matter."""
        writer = await writers(await opened(proxy.url, patience=0.2), max_batch=2)
        proxy.cut()

        with structlog.testing.capture_logs():
            results = await asyncio.gather(*(writer.put([number]) for number in range(20)), return_exceptions=True)

        assert {type(result) for result in results} == {Unavailable}
        assert writer.stats.refused == 20

    async def test_close_refuses_rows_when_the_database_is_not_available(
        self, writers: Writers, stored: Stored, opened: Any, proxy: Proxy
    ) -> None:
        """The writer ends."""
        writer = await writers(await opened(proxy.url, patience=0.2))
        proxy.cut()
        put = asyncio.create_task(writer.put([1]))
        await asyncio.sleep(0)

        with structlog.testing.capture_logs():
            await writer.close()

        with pytest.raises(Unavailable):
            await put

    async def test_a_server_that_hangs_counts_as_not_available(
        self, writers: Writers, stored: Stored, opened: Any, admin: Any
    ) -> None:
        """The rows are stored by another attempt."""
        database = await opened(patience=0.2)
        writer = await writers(database)

        with structlog.testing.capture_logs():
            async with admin.transaction():
                await admin.execute("LOCK TABLE stored IN ACCESS EXCLUSIVE MODE")
                with pytest.raises(Unavailable, match="no answer in time"):
                    await writer.put([1])
            database.patience = 20.0
            await writer.put([2])

        assert await stored.values() == [2]

    async def test_a_silent_connection_is_given_up_in_time(
        self, writers: Writers, stored: Stored, opened: Any, proxy: Proxy
    ) -> None:
        """Not even its end arrives."""
        database = await opened(proxy.url)
        writer = await writers(database)
        await writer.put([1])
        database.patience = 0.2
        proxy.flowing.clear()

        with structlog.testing.capture_logs():
            with pytest.raises(Unavailable):
                await writer.put([2])
            proxy.cut()
            proxy.flowing.set()
            proxy.up = True
            database.patience = 20.0
            await writer.put([3])

        assert await stored.values() == [1, 3]

    async def test_rows_wait_for_a_server_that_starts_later(
        self, writers: Writers, stored: Stored, opened: Any, proxy: Proxy
    ) -> None:
        """They are refused when that takes too long."""
        database = await opened(proxy.url, patience=0.3)
        proxy.cut()
        writer = await writers(database)
        with pytest.raises(Unavailable):
            await writer.put([1])

        proxy.up = True
        database.patience = 20.0
        await writer.put([2])
        assert await stored.values() == [2]


@pytest.mark.parametrize("with_keys", [True, False])
async def test_a_refusal_says_whether_the_rows_may_be_stored(
    writers: Writers, stored: Stored, opened: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, with_keys: bool
) -> None:
    """They may be when no answer came, and are not when they were never sent, also in a table without chosen keys."""
    original = stored.commit

    async def commit(connection: Any, submissions: Any) -> None:
        try:
            await original(connection, submissions)
        finally:
            for submission in () if with_keys else submissions:
                submission.commit_key = None

    monkeypatch.setattr(stored, "commit", commit)
    writer = await writers(await opened(proxy.url, patience=0.3), max_batch=1)
    stored.cuts = ["after"]
    stored.gate.clear()
    sent, waiting = asyncio.create_task(writer.put([1])), asyncio.create_task(writer.put([2]))
    await until(lambda: stored.attempts)
    proxy.up = False
    stored.gate.set()

    with structlog.testing.capture_logs():
        first, second = await asyncio.gather(sent, waiting, return_exceptions=True)

    assert "it is not known whether this was stored" in str(first)
    assert "nothing was stored" in str(second)
    assert await stored.values() == [1]


async def test_a_writer_that_fails_is_started_again(writers: Writers, stored: Stored) -> None:
    """Its callers get an error, and later rows are stored."""
    faults = [ZeroDivisionError()]

    def committed(_: int) -> None:
        if faults:
            raise faults.pop()

    writer = await writers(committed=committed)
    stored.gate.clear()
    with structlog.testing.capture_logs() as lines:
        first = asyncio.create_task(writer.put([1]))
        await until(lambda: stored.attempts)
        stored.gate.set()
        await first
        await writer.put([2])

    assert await stored.values() == [1, 2]
    assert writer.stats.waiting == 0
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["task.died"]
