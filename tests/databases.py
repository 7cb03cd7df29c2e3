"""The databases of the tests of one process: a test gets an empty one, which is used again if its tables stay the same.

To create and to drop a database takes 0.04 s of processor time, and more than a thousand tests want one; to delete the
rows of a test takes a tenth of that, over a connection of the administrator that stays.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import asyncpg

from smartmob.kernel.embedded.roles import ADMIN, ROLE

TEMPLATE = "smartmob_template"
"""The database of which the others are copies: it has all tables, and the partitions of the next days."""

T = TypeVar("T")

_LARGEST = 4 * 2**20
"""The bytes of the filled tables up to which a database is used again: deleted rows keep their place."""

_CATALOGS = {
    "oid": ("class", "attrdef", "constraint", "proc", "trigger", "namespace", "type"),
    "attrelid": ("attribute",),
    "indexrelid": ("index",),
    "inhrelid": ("inherits",),
}
_FIRST_OID = 16_384
"""The first number of an object that is not PostgreSQL's own (`FirstNormalObjectId` in access/transam.h)."""
_SCHEMA = ", ".join(
    f"(SELECT (count(*), max(xmin::text::bigint)) FROM pg_{name} WHERE {key} >= {_FIRST_OID})::text"
    for key, names in _CATALOGS.items()
    for name in names
)
STATE = f"""
SELECT {_SCHEMA}, (SELECT count(*) FROM pg_largeobject_metadata),
    (SELECT md5(string_agg(m::text, ' ' ORDER BY m::text)) FROM schema_migrations AS m),
    (SELECT (datacl, datconnlimit, datallowconn)::text FROM pg_database WHERE datname = current_database()),
    (SELECT string_agg(s::text, ' ') FROM pg_db_role_setting AS s JOIN pg_database AS d ON s.setdatabase = d.oid
     WHERE d.datname = current_database())
"""
"""Changes with all that a test can change except for the rows of tables: definitions, large objects, migrations and
settings.
"""

_FILLED = """
SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND relname <> 'schema_migrations' AND pg_relation_size(oid) > 0
"""
_CLEAR = f"""
DO $do$
DECLARE
    filled text;
    size bigint = 0;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR filled IN {_FILLED} LOOP
        size = size + pg_relation_size(filled::regclass);
        IF size > {_LARGEST} THEN
            RAISE 'too large';
        END IF;
        EXECUTE 'DELETE FROM ONLY ' || filled;
    END LOOP;
%s
END $do$
"""
_DISCONNECT = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = $1 AND pid <> $2"


class Databases:
    """Gives databases to tests. It works in a thread, so that tests with event loops of their own share it.

    `url` is that of the server with a placeholder for the name of a database. After use you must `close`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._admin: asyncpg.Connection[asyncpg.Record] | None = None
        self._empty: list[str] = []
        self._kept: dict[str, asyncpg.Connection[asyncpg.Record]] = {}
        self._as_made: object = None
        self._clear_rows = ""
        self._numbers = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    async def take(self) -> str:
        """Return the name of a database with all tables and no rows."""
        return await self._do(self._take())

    async def give_back(self, name: str) -> None:
        """End all connections to a database, and delete its rows or the database."""
        await self._do(self._give_back(name))

    async def create(self, prefix: str, options: str = "") -> str:
        """Create a database of its own name and return the name."""
        name = f"{prefix}_{os.getpid()}_{next(self._numbers)}"
        await self._do(self._execute(f"CREATE DATABASE {name} OWNER {ROLE} {options}"))
        return name

    async def drop(self, name: str) -> None:
        """End all connections to a database, and delete it."""
        await self._do(self._execute(f"DROP DATABASE {name} WITH (FORCE)"))

    def close(self) -> None:
        """End the thread; the databases end with the server."""

        async def disconnect() -> None:
            for connection in (self._admin, *self._kept.values()):
                if connection is not None:
                    await connection.close()

        asyncio.run_coroutine_threadsafe(disconnect(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _execute(self, statement: str, *arguments: object) -> None:
        if self._admin is None:
            self._admin = await self._connect("postgres")
        await self._admin.execute(statement, *arguments)

    async def _connect(self, name: str) -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(as_admin(self._url.format(name)))

    async def _take(self) -> str:
        if self._empty:
            return self._empty.pop()
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        await self._execute(f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {TEMPLATE} STRATEGY file_copy")
        if self._as_made is None:
            connection = await self._connect(name)
            self._as_made = await connection.fetchrow(STATE)
            self._clear_rows = _CLEAR % "".join(
                [await _insertion(connection, row[0]) for row in await connection.fetch(_FILLED)]
            )
            await connection.close()
        return name

    async def _give_back(self, name: str) -> None:
        kept = self._kept.get(name)
        await self._execute(_DISCONNECT, name, 0 if kept is None or kept.is_closed() else kept.get_server_pid())
        if await self._clear(name):
            self._empty.append(name)
        else:
            if name in self._kept:
                self._kept.pop(name).terminate()
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _clear(self, name: str) -> bool:
        """Delete the rows of a database; return False for one that has changed or is large."""
        try:
            if name not in self._kept:
                self._kept[name] = await self._connect(name)
            if await self._kept[name].fetchrow(STATE) != self._as_made:
                return False
            await self._kept[name].execute(self._clear_rows)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return False  # a test may have removed what is asked for here, or ended the connection
        return True


async def _insertion(connection: asyncpg.Connection[asyncpg.Record], table: str) -> str:
    """Return the statement that inserts the rows that a table has."""
    rows = await connection.fetchval(f"SELECT json_agg(t)::text FROM {table} AS t")
    return f"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, $rows${rows}$rows$);\n"


def as_admin(url: str) -> str:
    """Return the URL with the administrator instead of the role of the service."""
    return url.replace(f"//{ROLE}@", f"//{ADMIN}@", 1)
