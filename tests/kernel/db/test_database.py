"""The database: queries, lost connections, and errors that are not retried."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import asyncpg
import pytest
import structlog

from smartmob.errors import DatabaseError, Unavailable
from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db import database as db
from smartmob.kernel.db.database import Connection, Database
from tests.kernel.proxy import Proxy
from tests.waiting import until

# Far more than what is waited for needs, and less than what the network would take to notice by itself.
_SOON = 3.0


class TestReading:
    """Queries on a server without faults."""

    async def test_queries_return_rows_or_values(self, opened: Any) -> None:
        """There is a method for all rows, the first row and the first value."""
        database = await opened()

        rows = await database.fetch("SELECT n FROM generate_series(1, $1::integer) AS n", 3)

        assert [row["n"] for row in rows] == [1, 2, 3]
        assert (await database.fetchrow("SELECT 1 AS a, 2 AS b"))["b"] == 2
        assert await database.fetchrow("SELECT 1 WHERE false") is None
        assert await database.fetchval("SELECT $1::text", "ü") == "ü"
        assert await database.fetchval("SELECT 1 WHERE false") is None
        await database.ping()

    async def test_more_callers_than_connections_all_get_an_answer(self, opened: Any) -> None:
        """They wait for each other."""
        database = await opened(pool_size=2)

        found = await asyncio.gather(*(database.fetchval("SELECT $1::integer", number) for number in range(20)))

        assert found == list(range(20))

    async def test_a_query_costs_one_round_trip(self, opened: Any, admin: Any) -> None:
        """A connection that is given back is not reset by further queries."""
        database = await opened(pool_size=1)

        pid = await database.fetchval("SELECT pg_backend_pid()")

        last = await admin.fetchval("SELECT query FROM pg_stat_activity WHERE pid = $1", pid)
        assert last == "SELECT pg_backend_pid()"

    async def test_a_transaction_that_is_left_open_ends_with_the_use_of_the_connection(self, opened: Any) -> None:
        """The next user of the connection sees nothing of it."""
        database = await opened(pool_size=1)
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # asyncpg tells of the mistake

        async with database.acquire() as lent:
            await lent.execute("BEGIN; CREATE TABLE left_open (n integer)")

        assert await database.fetchval("SELECT to_regclass('left_open')") is None

    async def test_a_connection_of_the_caller_is_not_in_the_pool(self, opened: Any) -> None:
        """It does not reduce the size of the pool."""
        database = await opened(pool_size=1)
        own = await database.connect()

        async with database.acquire() as lent:
            assert await own.fetchval("SELECT 1") == await lent.fetchval("SELECT 1")

        await own.close()


async def _terminate(admin: Any, connection: Connection) -> None:
    await admin.fetchval("SELECT pg_terminate_backend($1, 5000)", connection.get_server_pid())


class TestLostConnections:
    """A server that closes connections, or is not available."""

    async def test_a_query_succeeds_after_all_idle_connections_were_closed(self, opened: Any, admin: Any) -> None:
        """The caller does not notice."""
        database = await opened(pool_size=3)
        async with database.acquire() as first, database.acquire() as second, database.acquire() as third:
            lent = [first, second, third]
            pids = [connection.get_server_pid() for connection in lent]
        for pid in pids:
            await admin.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)

        found = await asyncio.gather(*(database.fetchval("SELECT $1::integer", number) for number in range(12)))

        assert found == list(range(12))

    async def test_an_operation_is_repeated_when_its_connection_is_closed(self, opened: Any, admin: Any) -> None:
        """It is called with another connection until it succeeds."""
        database = await opened()
        used = []

        async def operation(connection: Connection) -> Any:
            used.append(connection.get_server_pid())
            if len(used) < 3:
                await _terminate(admin, connection)
            return await connection.fetchval("SELECT 'done'")

        assert await database.run(operation) == "done"
        assert len(set(used)) == 3

    async def test_a_transaction_is_repeated_when_its_connection_is_closed(self, opened: Any, admin: Any) -> None:
        """The changes of the first attempt are rolled back."""
        database = await opened()
        await admin.execute("CREATE TABLE t (n integer)")
        attempts = []

        async def operation(connection: Connection) -> None:
            attempts.append(connection)
            async with connection.transaction():
                await connection.execute("INSERT INTO t VALUES ($1)", len(attempts))
                if len(attempts) == 1:
                    await _terminate(admin, connection)

        await database.run(operation)

        assert [row["n"] for row in await admin.fetch("SELECT n FROM t")] == [2]

    async def test_a_query_waits_until_the_server_is_back(self, opened: Any, proxy: Proxy) -> None:
        """It gets its answer then."""
        database = await opened(proxy.url)
        proxy.cut()
        seen = proxy.seen

        asking = asyncio.create_task(database.fetchval("SELECT 7"))
        await until(lambda: proxy.seen > seen + 2)
        assert not asking.done()
        proxy.up = True

        assert await asking == 7

    async def test_a_query_leaves_a_server_that_became_a_standby(self, opened: Any, empty_url: str) -> None:
        """All connections to it are replaced, and new ones find the primary."""
        name = empty_url.partition("?")[0].rpartition("/")[2]
        before = await asyncpg.connect(empty_url)
        await before.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        database = await opened(empty_url)
        await before.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

        await database.run(lambda connection: connection.execute("CREATE TABLE made (n integer)"))

        assert await before.fetchval("SELECT count(*) FROM made") == 0
        await before.close()

    async def test_a_query_is_refused_after_the_patience(self, opened: Any, proxy: Proxy) -> None:
        """The error says when to retry, and the next query tries again."""
        database = await opened(proxy.url, patience=0.2)
        await proxy.close()

        for _ in range(2):
            with pytest.raises(
                Unavailable, match=r"^the database is not available \(.+\); nothing was stored"
            ) as caught:
                await database.fetchval("SELECT 1")
            assert caught.value.retry_after > 0
        with pytest.raises(Unavailable):
            await database.ping()

    async def test_a_refusal_contains_no_address_of_the_database(self, opened: Any, proxy: Proxy) -> None:
        """Clients do not learn where the database is."""
        database = await opened(proxy.url, patience=0.1)
        await proxy.close()

        with pytest.raises(Unavailable) as caught:
            await database.fetchval("SELECT 1")

        assert "127.0.0.1" not in str(caught.value)

    async def test_a_ping_ends_after_its_time_limit(self, opened: Any, proxy: Proxy) -> None:
        """The server may hang."""
        database = await opened(proxy.url)
        proxy.flowing.clear()

        with pytest.raises(Unavailable, match="no answer in time"):
            async with asyncio.timeout(_SOON) as limit:
                await database.ping(seconds=0.05)
        assert not limit.expired()
        proxy.flowing.set()

        await database.ping()

    async def test_a_query_without_an_answer_is_given_up_after_its_time_limit(self, opened: Any, proxy: Proxy) -> None:
        """Its connection is closed."""
        database = await opened(proxy.url, patience=0.2, query_timeout=0.2)
        proxy.flowing.clear()

        with pytest.raises(Unavailable):
            async with asyncio.timeout(_SOON) as limit:
                await database.fetchval("SELECT 1")
        assert not limit.expired()

        proxy.cut()
        proxy.flowing.set()
        proxy.up = True
        database.patience = 20.0
        assert await database.fetchval("SELECT 7") == 7

    async def test_close_does_not_wait_for_a_server_that_hangs(
        self, opened: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its connections are terminated."""
        database = await opened(proxy.url)
        monkeypatch.setattr(db, "_CONNECT_SECONDS", 0.1)
        asking = asyncio.create_task(database.fetchval("SELECT pg_sleep(3600)"))
        await asyncio.sleep(0)
        proxy.flowing.clear()

        await database.close()

        proxy.cut()
        proxy.flowing.set()
        asking.cancel()
        await asyncio.wait([asking])


class TestPermanentErrors:
    """Errors that are not retried."""

    @pytest.mark.parametrize(
        ("query", "arguments", "expected"),
        [
            ("SELECT * FROM no_such_table", (), asyncpg.UndefinedTableError),
            ("SELEC", (), asyncpg.PostgresSyntaxError),
            ("SELECT 1 / 0", (), asyncpg.DivisionByZeroError),
            ("SELECT $1::integer", (), asyncpg.InterfaceError),
            ("SELECT $1::integer", ("x",), asyncpg.DataError),
            ("SELECT $1::text", ("a\0b",), asyncpg.CharacterNotInRepertoireError),
        ],
    )
    async def test_other_errors_are_raised_after_one_attempt(
        self, opened: Any, query: str, arguments: tuple[Any, ...], expected: type[Exception]
    ) -> None:
        """They cost no connection."""
        database = await opened()
        attempts = []

        async def operation(connection: Connection) -> Any:
            attempts.append(query)
            return await connection.fetch(query, *arguments)

        with pytest.raises(expected):
            await database.run(operation)

        assert len(attempts) == 1
        assert await database.fetchval("SELECT 1") == 1

    async def test_exceptions_of_an_operation_are_raised_at_once(self, opened: Any) -> None:
        """They are not retried."""
        database = await opened()

        async def operation(_: Connection) -> None:
            raise KeyError("x")

        with pytest.raises(KeyError):
            await database.run(operation)

    @pytest.mark.parametrize(
        ("error", "unavailable"),
        [
            (ConnectionRefusedError(), True),
            (FileNotFoundError(), True),
            (TimeoutError(), True),
            (asyncpg.ConnectionDoesNotExistError("x"), True),
            (asyncpg.AdminShutdownError("x"), True),
            (asyncpg.CrashShutdownError("x"), True),
            (asyncpg.CannotConnectNowError("x"), True),
            (asyncpg.DiskFullError("x"), True),
            (asyncpg.TooManyConnectionsError("x"), True),
            (asyncpg.DeadlockDetectedError("x"), True),
            (asyncpg.SerializationError("x"), True),
            (asyncpg.ReadOnlySQLTransactionError("x"), True),
            (asyncpg.LockNotAvailableError("x"), True),
            (asyncpg.IdleSessionTimeoutError("x"), True),
            (asyncpg.IdleInTransactionSessionTimeoutError("x"), True),
            (asyncpg.TransactionTimeoutError("x"), True),
            (asyncpg.InvalidCachedStatementError("x"), True),
            (asyncpg.InvalidPasswordError("x"), True),
            (asyncpg.InvalidCatalogNameError("x"), True),
            (asyncpg.InterfaceError("connection is closed"), True),
            (asyncpg.InterfaceError("cannot perform operation: pool is closing"), True),
            (asyncpg.InterfaceError("the server expects 1 argument for this query, 0 were passed"), False),
            (asyncpg.InternalServerError("postmaster was shut down, exiting"), True),
            (asyncpg.InternalServerError("failure on connection marked as essential: db1:5432"), True),
            (asyncpg.InternalServerError("could not find a plan"), False),
            (asyncpg.ObjectNotInPrerequisiteStateError("it does not have a replica identity"), True),
            (asyncpg.ObjectNotInPrerequisiteStateError("x"), False),
            (asyncpg.UniqueViolationError("x"), False),
            (asyncpg.UndefinedColumnError("x"), False),
            (ValueError("closed"), False),
            (RuntimeError("connection is closed"), False),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
    )
    def test_lost_connections_are_distinguished_from_other_errors(self, error: Exception, unavailable: bool) -> None:
        """Only they are retried."""
        assert db.is_unavailable(error) is unavailable


async def _refused_at_once(url: str, said: str) -> None:
    database = Database(DatabaseSettings(url=url, wait=20), None)

    with structlog.testing.capture_logs() as lines, pytest.raises(DatabaseError, match=f"^{said}"):
        await database.open()

    assert lines == []
    await database.close()


class TestStart:
    """Opening an external database."""

    async def test_open_waits_for_the_server(self, schema_url: str) -> None:
        """Each attempt is logged."""
        proxy = Proxy(schema_url)
        database = Database(DatabaseSettings(url=proxy.url, wait=60), None)
        with structlog.testing.capture_logs() as lines:
            opening = asyncio.create_task(database.open())
            await until(lambda: len(lines) > 1)
            assert not opening.done()

            await proxy.listen()
            await opening

        assert {line["event"] for line in lines} == {"database.waiting"}
        assert 0 < lines[0]["seconds_left"] <= 60
        assert lines[0]["reason"]
        assert await database.fetchval("SELECT 1") == 1
        await database.close()
        await proxy.close()

    async def test_open_fails_after_its_time_limit(self, schema_url: str) -> None:
        """The error has the time, the reason and what to check."""
        proxy = Proxy(schema_url)
        database = Database(DatabaseSettings(url=proxy.url, wait=0.15), None)

        with structlog.testing.capture_logs(), pytest.raises(DatabaseError) as caught:
            await database.open()

        assert str(caught.value).startswith("the database did not answer for 0.15 s (")
        assert "--database-url (DATABASE_URL)" in str(caught.value)
        await database.close()
        await proxy.close()

    @pytest.mark.parametrize(
        "change",
        [
            ("/smartmob?", "/no_such_database?"),
            ("smartmob@", "no_such_role@"),
        ],
        ids=lambda change: change[1],
    )
    async def test_a_missing_database_or_role_is_reported_at_once(
        self, schema_url: str, change: tuple[str, str]
    ) -> None:
        """Waiting would not help."""
        await _refused_at_once(schema_url.replace(*change), "the database refuses the service")

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1/x",
            "nonsense",
            "postgresql://127.0.0.1:port/x",
            "postgresql://127.0.0.1:70000/x",
            "postgresql://[::1/x",
            "postgresql://127.0.0.1/x?sslmode=nonsense",
            "postgresql://\x00/x",
        ],
    )
    async def test_a_malformed_url_is_reported_at_once(self, url: str) -> None:
        """The error shows the right form."""
        await _refused_at_once(url, "the database")

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://u:hunter2@127.0.0.1:1/x",
            "postgresql://u:hunter2@127.0.0.1:port/x",
            "http://u:hunter2@127.0.0.1/x",
            "postgresql://u:hun/ter2@127.0.0.1/x",
            "hunter2",
        ],
    )
    async def test_errors_and_log_lines_do_not_contain_the_password(self, url: str) -> None:
        """This holds for malformed URLs, too."""
        database = Database(DatabaseSettings(url=url, wait=0.15), None)

        with structlog.testing.capture_logs() as lines, pytest.raises(DatabaseError) as caught:
            await database.open()

        assert "hun" not in str(caught.value)
        assert "hun" not in str(lines)
        await database.close()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "no answer in time"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (OSError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.7', 5432)"), "Connection refused"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('10.0.0.7', 5432)"), "no connection"),
        (asyncpg.AdminShutdownError("terminating connection\nmore"), "terminating connection"),
        (asyncpg.InterfaceError("connection is closed"), "connection lost"),
    ],
)
def test_a_reason_is_one_line_without_an_address(error: Exception, text: str) -> None:
    """Clients get it."""
    assert db.reason(error) == text
    assert text in str(db.unavailable(error))
