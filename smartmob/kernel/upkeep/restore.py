"""Putting a backup back: into an empty database, or in place of what is there, in one transaction."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smartmob.errors import DatabaseError, InvalidInput, StartupError
from smartmob.kernel import migrations
from smartmob.kernel.upkeep import programs
from smartmob.kernel.upkeep.backup import SUM_SUFFIX
from smartmob.kernel.upkeep.place import Place
from smartmob.kernel.upkeep.programs import Programs
from smartmob.kernel.upkeep.tables import Table, tables

_ABOUT = re.compile(r'pg_restore: processing data for table "?(?:[^".]+)"?\."?([^"]+?)"?$')
_COPIED = re.compile(rb"^COPY (\d+)$", re.MULTILINE)
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_OURS = 1  # the one in the pool
_LOCK_TIMEOUT = "30s"

Progress = Callable[[str], None]
"""Is told the name of the table (or partition) that is filled now."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back."""

    tables: int
    rows: int
    replaced: int


async def restore(place: Place, path: Path, *, force: bool, progress: Progress) -> Restored:
    """Put a backup back; with `force` also in place of what is there.

    Raises DatabaseError, InvalidInput and StartupError.
    """
    if place.serving:
        raise StartupError(f"a service runs on {place.name}: stop it first, then restore")
    await asyncio.to_thread(check_sum, path)
    tools = programs.find(place)
    await _check_origin(place, tools, path)
    connection = await place.database.connect()
    try:
        found = await tables(connection, place.migrations)
        if found and not force:
            raise DatabaseError(
                f"{place.name} is not empty: it has {len(found)} tables of smartmob. "
                "Restore into another one, or give --force to have them replaced by the backup."
            )
        others = await connection.fetchval(_OTHERS) - _OURS
        if others and not force:
            raise DatabaseError(
                f"{others} others are connected to {place.name}: stop the services that use it, or give --force"
            )
        rows = await _replace(tools, path, found, progress)
        await connection.execute("ANALYZE")
        return Restored(len(await tables(connection, place.migrations)), rows, len(found))
    finally:
        await connection.close()


def check_sum(path: Path) -> None:
    """Raise InvalidInput when a file is not what the sum beside it says; without one nothing is checked."""
    try:
        with path.open("rb") as file:
            beside = path.with_name(path.name + SUM_SUFFIX)
            if not beside.exists():
                return
            wanted = beside.read_text().split(maxsplit=1)[:1]
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StartupError(f"cannot read {error.filename or path}: {error.strerror}") from None
    if wanted != [digest]:
        raise InvalidInput(f"{path} is damaged: its SHA-256 is {digest}, and not what {beside.name} says")


async def _check_origin(place: Place, tools: Programs, path: Path) -> None:
    """Raise InvalidInput for a file that is no backup of smartmob, DatabaseError for one of a newer smartmob."""
    options = ("--data-only", f"--table={migrations.LEDGER}", "--file=-", str(path))
    try:
        async with tools.run("pg_restore", *options) as process:
            assert process.stdout is not None
            text = (await process.stdout.read()).decode(errors="replace")
    except DatabaseError as error:
        raise InvalidInput(f"{path} is no backup that smartmob db dump has made: {error}") from None
    applied = {}
    inside = False
    for line in text.splitlines():
        if line.startswith("COPY "):
            inside = True
        elif line == "\\.":
            break
        elif inside:
            room, number, _, checksum, *_ = line.split("\t")
            applied[room, int(number)] = checksum
    if not applied:
        raise InvalidInput(f"{path} has no table {migrations.LEDGER}: it is no backup of smartmob")
    migrations.check(place.migrations, applied)


async def _replace(tools: Programs, path: Path, found: list[Table], progress: Progress) -> int:
    """Drop tables and restore, in one transaction; return how many rows were restored."""

    def hear(line: str) -> None:
        if match := _ABOUT.match(line):
            progress(match[1])

    first = [f"SET lock_timeout = '{_LOCK_TIMEOUT}'"]
    if found:
        first.append(f"DROP TABLE {', '.join(table.quoted for table in found)} CASCADE")
    commands = [word for statement in first for word in ("--command", statement)]
    options = ("--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1")
    arguments = ("--no-owner", "--no-privileges", "--verbose", "--file=-", str(path))
    reading, writing = os.pipe()
    try:
        async with tools.run("psql", *options, *commands, "--file=-", "--dbname", tools.address, stdin=reading) as psql:
            assert psql.stdout is not None
            ended, said = asyncio.gather(psql.wait()), asyncio.gather(psql.stdout.read())
            async with tools.run("pg_restore", *arguments, hear=hear, stdout=writing) as source:
                os.close(reading)
                reading = -1
                whole = asyncio.gather(source.wait())
                await asyncio.wait((ended, whole), return_when=asyncio.FIRST_COMPLETED)
                if not whole.done():
                    raise DatabaseError("psql ended too soon")
            # Only now, and not when pg_restore has failed, does psql see the end and commit.
            os.close(writing)
            writing = -1
            return sum(map(int, _COPIED.findall((await said)[0])))
    finally:
        for descriptor in (reading, writing):
            if descriptor != -1:
                os.close(descriptor)
