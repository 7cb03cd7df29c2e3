"""Applies the migrations of the features: numbered SQL files, each applied once, by one service at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import msgspec

from smartmob.counts import counted
from smartmob.errors import DatabaseError, Unavailable
from smartmob.kernel.db import database_refusals, pooler
from smartmob.kernel.db.database import READ_COMMITTED, Connection, Database
from smartmob.kernel.observability.event_logger import get_logger

log = get_logger()

_NAME = re.compile(r"(\d{4})_\w+\.sql")
_COMMENT = re.compile("--.*")
_TABLE = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)
MIGRATIONS_TABLE = "schema_migrations"
_LOCK = 7_330_461_120  # the key of the advisory lock: any number that other programs are unlikely to use
_WAIT_FOR_OTHERS = "SELECT pg_advisory_xact_lock($1)"
_WITHOUT_LIMITS = """
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL transaction_isolation = 'read committed'
"""
"""Removes the time limits of a transaction and lets it see the commits of others, whatever the role's defaults are."""
_CREATE_MIGRATIONS_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    room text NOT NULL,
    number integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room, number)
)
"""


class Migration(msgspec.Struct, frozen=True):
    """One step of a feature's schema."""

    feature: str
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the file, which shows whether it was changed after it had been applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """Return the statements of the file without comments; no string in it has two hyphens or a semicolon."""
        statements = _COMMENT.sub("", self.sql).split(";")
        return [statement.strip() for statement in statements if statement.strip()]


def tables(migrations: Iterable[Migration]) -> list[str]:
    """Return the name of the table of migrations and the names of the tables that migrations make."""
    return [MIGRATIONS_TABLE, *(name for migration in migrations for name in _TABLE.findall(migration.sql))]


def collect(packages: Mapping[str, str]) -> list[Migration]:
    """Return all migrations in the order to apply them. `packages` maps each feature to its Python package."""
    found = [migration for feature, package in packages.items() for migration in _collect(feature, package)]
    return sorted(found, key=lambda migration: (migration.feature, migration.number))


@cache
def _collect(feature: str, package: str) -> tuple[Migration, ...]:
    spec = find_spec(package)
    assert spec is not None  # it has been imported
    assert spec.origin is not None  # a package with code is no namespace
    return tuple(
        Migration(feature, int(match[1]), file.name, file.read_text(encoding="utf-8"))
        for file in Path(spec.origin).with_name("migrations").iterdir()
        if (match := _NAME.fullmatch(file.name))
    )


class TableDistributor(Protocol):
    """Distributes the tables that a migration makes, in the migration's transaction."""

    async def begin(self, connection: Connection) -> bool:
        """Prepare the transaction; return whether each statement must be sent alone, as Citus demands."""

    async def distribute_new(self, connection: Connection) -> None:
        """Distribute the new tables, if others are distributed."""


async def bring_up_to_date(
    database: Database, packages: Mapping[str, str], distributor: TableDistributor | None = None
) -> Callable[[], Awaitable[None]]:
    """Apply the missing migrations of the features; return the readiness check that all are applied."""
    wanted = collect(packages)
    database.warn_of_limits()
    async with database.acquire() as connection:
        if await pooler.is_between(connection):
            await pooler.check_statements(database)
        database_refusals.check_server(
            connection.get_settings(), await connection.fetchval("SELECT current_database()")
        )
        with database_refusals.in_one_line():
            await apply(connection, wanted, distributor, pooled=database.pooled)

    async def check() -> None:
        applied = await database.fetchval("SELECT count(*) FROM schema_migrations")
        if applied < len(wanted):
            raise Unavailable(f"{counted(len(wanted) - applied, 'migration')} missing; restart the service")

    return check


async def apply(
    connection: Connection,
    migrations: Sequence[Migration],
    distributor: TableDistributor | None = None,
    *,
    pooled: bool = False,
) -> int:
    """Apply the missing migrations, each in its own transaction; return their number.

    When services start together, one of them applies all. With `pooled` (each transaction may be in another session of
    the server) they share the work. Raises DatabaseError when an applied migration was edited, or the database is newer
    than this program.
    """
    # Most services start on a database that is up to date, and no lock is needed to find that out.
    known = await applied(connection)
    if known and not _missing(migrations, known):
        check(migrations, known)
        return 0
    if not pooled:
        async with connection.transaction():
            await connection.execute(_WITHOUT_LIMITS)
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        async with connection.transaction(isolation=READ_COMMITTED):
            await connection.execute(_WITHOUT_LIMITS)
            await connection.execute(_WAIT_FOR_OTHERS, _LOCK)
            await connection.execute(_CREATE_MIGRATIONS_TABLE)
        known = await applied(connection)
        check(migrations, known)
        return sum([await _apply(connection, migration, distributor) for migration in _missing(migrations, known)])
    finally:
        if not pooled:
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _apply(connection: Connection, migration: Migration, distributor: TableDistributor | None) -> bool:
    """Apply a migration in a transaction; return False if another service has done so meanwhile."""
    async with connection.transaction(isolation=READ_COMMITTED):
        await connection.execute(_WITHOUT_LIMITS)
        await connection.execute(_WAIT_FOR_OTHERS, _LOCK)
        if (migration.feature, migration.number) in await applied(connection):
            return False
        apart = distributor is not None and await distributor.begin(connection)
        for statement in migration.statements if apart else (migration.sql,):
            await connection.execute(statement)
        if distributor is not None:
            await distributor.distribute_new(connection)
        await connection.execute(
            "INSERT INTO schema_migrations (room, number, name, checksum) VALUES ($1, $2, $3, $4)",
            migration.feature,
            migration.number,
            migration.name,
            migration.checksum,
        )
    log.info("database.migrated", room=migration.feature, migration=migration.name)
    return True


def _missing(migrations: Sequence[Migration], done: Mapping[tuple[str, int], str]) -> list[Migration]:
    return [migration for migration in migrations if (migration.feature, migration.number) not in done]


async def applied(connection: Connection) -> dict[tuple[str, int], str]:
    """Return the checksums of the applied migrations, by feature and number."""
    if await connection.fetchval(f"SELECT to_regclass('{MIGRATIONS_TABLE}')") is None:
        return {}
    rows = await connection.fetch("SELECT room, number, checksum FROM schema_migrations")
    return {(row["room"], row["number"]): row["checksum"] for row in rows}


def check(migrations: Sequence[Migration], applied: Mapping[tuple[str, int], str]) -> None:
    """Raise DatabaseError when an applied migration is unknown to this program, or has another checksum."""
    known = {(migration.feature, migration.number): migration for migration in migrations}
    features = {migration.feature for migration in migrations}
    for (feature, number), checksum in applied.items():
        if feature not in features:
            continue
        if (feature, number) not in known:
            raise DatabaseError(
                f"the database was migrated by a newer smartmob (migration {number:04d} of {feature}). "
                "Start that version, or restore the backup made before the upgrade."
            )
        if known[feature, number].checksum != checksum:
            raise DatabaseError(
                f"{known[feature, number].name} of {feature} was changed after it had been applied. "
                "Migrations are never edited: put the change into a new one."
            )
