"""Group commit while the database goes away and comes back."""

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
    """A connection that ends."""

    @pytest.mark.parametrize("moment", ["before", "inside", "after"])
    async def test_every_moment(self, writers: Writers, stored: Stored, moment: Moment) -> None:
        """Before, within and after the transaction: the caller waits, and its rows are stored once."""
        writer = await writers()
        stored.cuts = [moment]

        with structlog.testing.capture_logs() as lines:
            await writer.put([1, 2])

        assert await stored.values() == [1, 2]
        assert len(stored.attempts) == 2
        assert writer.stats.retries == 1
        assert [(line["event"], line["writer"], line["waiting"]) for line in lines] == [("writer.waiting", "test", 2)]

    async def test_again_and_again(self, writers: Writers, stored: Stored) -> None:
        """However often it ends, all is stored once and in order."""
        writer = await writers()
        stored.cuts = ["before", "inside", "after", None, "after", "inside", None]

        with structlog.testing.capture_logs():
            for number in range(4):
                await asyncio.gather(writer.put([3 * number, 3 * number + 1]), writer.put([3 * number + 2]))

        assert await stored.values() == list(range(12))
        assert writer.stats.waiting == 0

    async def test_between_two_batches(self, writers: Writers, stored: Stored, admin: Any) -> None:
        """A connection that ended while nobody wrote is no reason to fail."""
        writer = await writers()
        await writer.put([1])
        (pid,) = stored.backends
        await admin.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)

        with structlog.testing.capture_logs():
            await writer.put([2])

        assert await stored.values() == [1, 2]

    async def test_refused_rows_meanwhile(self, writers: Writers, stored: Stored) -> None:
        """Who waits beside a row that the database refuses is stored, also when the connection ends meanwhile."""
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

    async def test_under_load(self, writers: Writers, stored: Stored, admin: Any) -> None:
        """With many writers and a server that ends connections at any moment, what was acknowledged is there once."""
        writer = await writers()
        stored.cuts = [random.choice(["before", "inside", "after", None, None]) for _ in range(12)]

        async def work(start: int) -> None:
            for number in range(8):
                await writer.put([start + number])

        with structlog.testing.capture_logs():
            await asyncio.gather(*(work(100 * worker) for worker in range(10)))

        assert sorted(await stored.values()) == [100 * worker + number for worker in range(10) for number in range(8)]

    async def test_it_comes_back(self, writers: Writers, stored: Stored, opened: Any, proxy: Proxy) -> None:
        """While nobody answers the caller waits; once the server answers the rows are stored."""
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


class TestTimeIsUp:
    """A database that does not come back in time."""

    async def test_it_refuses(self, writers: Writers, stored: Stored, opened: Any, proxy: Proxy) -> None:
        """The caller is told to try again, and its rows are not stored later either."""
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

    async def test_also_those_who_came_later(self, writers: Writers, stored: Stored, opened: Any, proxy: Proxy) -> None:
        """Each caller waits for its own time only, however many wait before it."""
        writer = await writers(await opened(proxy.url, patience=0.2), max_batch=2)
        proxy.cut()

        with structlog.testing.capture_logs():
            results = await asyncio.gather(*(writer.put([number]) for number in range(20)), return_exceptions=True)

        assert {type(result) for result in results} == {Unavailable}
        assert writer.stats.refused == 20

    async def test_close_does_not_wait_for_ever(
        self, writers: Writers, stored: Stored, opened: Any, proxy: Proxy
    ) -> None:
        """What waits for a database that is away is refused, and the writer ends."""
        writer = await writers(await opened(proxy.url, patience=0.2))
        proxy.cut()
        put = asyncio.create_task(writer.put([1]))
        await asyncio.sleep(0)

        with structlog.testing.capture_logs():
            await writer.close()

        with pytest.raises(Unavailable):
            await put

    async def test_a_server_that_hangs(self, writers: Writers, stored: Stored, opened: Any, admin: Any) -> None:
        """An answer that does not come counts like a server that is away."""
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

    async def test_a_cable_that_is_pulled(self, writers: Writers, stored: Stored, opened: Any, proxy: Proxy) -> None:
        """A connection over which nothing comes any more, not even its end, is given up in time."""
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

    async def test_no_server_at_the_start(self, writers: Writers, stored: Stored, opened: Any, proxy: Proxy) -> None:
        """The first rows are stored as soon as it is there, and refused when that takes too long."""
        database = await opened(proxy.url, patience=0.3)
        proxy.cut()
        writer = await writers(database)
        with pytest.raises(Unavailable):
            await writer.put([1])

        proxy.up = True
        database.patience = 20.0
        await writer.put([2])
        assert await stored.values() == [2]


async def test_a_refusal_says_what_is_known(writers: Writers, stored: Stored, opened: Any, proxy: Proxy) -> None:
    """Rows of an attempt whose answer never came may be stored; those that were never sent are not."""
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


async def test_a_writer_that_fails_goes_on(writers: Writers, stored: Stored) -> None:
    """The loop that dies of a bug is started again, its callers are told, and later rows are stored."""
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
