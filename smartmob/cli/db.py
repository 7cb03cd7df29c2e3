"""`smartmob db`: maintains the database, with or without a running service."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from smartmob.cli import printing
from smartmob.cli.command_group import CommandGroup
from smartmob.cli.serve import flag
from smartmob.cli.server_options import as_json
from smartmob.counts import counted
from smartmob.environment import environment
from smartmob.errors import SettingsError
from smartmob.kernel.runtime import clock
from smartmob.settings import OPTIONS, Settings, load

_NAMES = ("data_dir", "database_url", "database_url_file", "database_wait")
_OPTIONS = tuple(option for option in OPTIONS if option.name in _NAMES)

Use = Callable[[Any], Awaitable[int | None]]


def has_database(function: Any) -> Any:
    """Add the options of the database to a command; they are those of `smartmob serve`."""
    for option in reversed(_OPTIONS):
        function = flag(option)(function)
    config = click.option("--config", type=click.Path(path_type=Path), help="File of settings, in TOML.")
    return config(function)


def settings_of(config: Path | None, flags: dict[str, Any]) -> Settings:
    """Return the settings that `smartmob serve` would have with the same options."""
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    return load(given, environment(), config)


def _run(config: Path | None, flags: dict[str, Any], use: Use, *, make: bool = False) -> int:
    """Connect to the database, call `use` with it, and return the exit code."""
    from smartmob.app import MIGRATED_FEATURES
    from smartmob.kernel.db import migrations
    from smartmob.kernel.maintenance.database_target import reach
    from smartmob.kernel.observability import log
    from smartmob.kernel.subprocesses import umask

    umask.make_private()
    settings = settings_of(config, flags)

    async def run() -> int:
        async with reach(settings, migrations.collect(MIGRATED_FEATURES), make=make) as target:
            return await use(target) or 0

    logs = log.configure("kv", settings.utc, "file:///dev/null")
    try:
        return asyncio.run(run())
    finally:
        logs.close()


@click.group("db", cls=CommandGroup)
def command() -> None:
    """Maintain the database.

    Works on the database that `smartmob serve` uses with the same options, variables and file: the embedded one of
    --data-dir, whether a service runs on it or not, or the one of --database-url-file.
    """


@command.command("status")
@has_database
@as_json
def status_command(as_json: bool, config: Path | None, **flags: Any) -> int:
    """Show version, migrations, tables and the last backup.

    Ends with 1 when migrations are missing, or when the database is not one that this smartmob can use.
    """
    from smartmob.kernel.maintenance import tables

    async def use(place: Any) -> int:
        connection = await place.database.connect()
        try:
            status = await tables.status(connection, place.migrations)
        finally:
            await connection.close()
        good = not status.missing and status.wrong is None
        if as_json:
            printing.print_json({"database": place.name, "serving": place.serving, **msgspec.to_builtins(status)})
        else:
            _print_status(place, status)
        return 0 if good else 1

    return _run(config, flags, use)


def _print_status(place: Any, status: Any) -> None:
    backup, embedded = status.backup, " with a service running on it" if place.serving else ""
    missing = f", missing: {', '.join(status.missing)} (smartmob db migrate)" if status.missing else ""
    last = "none that was made by smartmob db dump"
    if backup is not None:
        when = printing.local_time(backup.at.isoformat())
        last = f"{when}, {printing.size(backup.bytes)}, {backup.path}"
    printing.print_table(
        "",
        ("", ""),
        (
            ("database", f"{place.name}{embedded}"),
            ("PostgreSQL", status.server),
            ("size", printing.size(status.bytes)),
            ("migrations", f"{status.applied} applied{missing}"),
            *((("not usable", status.wrong),) if status.wrong else ()),
            ("last backup", last),
        ),
    )
    rows = (
        (table.name, f"{table.rows:,}", printing.size(table.bytes), table.partitions or "") for table in status.tables
    )
    printing.print_table("\nTables", ("Table", ">Rows, about", ">Size", ">Partitions"), rows)


@command.command("migrate")
@has_database
@as_json
def migrate_command(as_json: bool, config: Path | None, **flags: Any) -> int:
    """Migrate the tables to this version, as a service does at its start.

    Ends with 0 when they are up to date, also when nothing was to be done. Several at once wait for each other.
    """
    from smartmob.kernel.db import migrations

    async def use(place: Any) -> None:
        connection = await place.database.connect()
        try:
            done = await migrations.apply(connection, place.migrations)
        finally:
            await connection.close()
        if as_json:
            printing.print_json({"applied": done, "migrations": len(place.migrations)})
        else:
            said = f"{counted(done, 'migration')} applied" if done else "nothing to do"
            printing.say(f"{said}: all {len(place.migrations)} are in {place.name}")

    return _run(config, flags, use, make=True)


@command.command("dump")
@click.argument("file", required=False, metavar="[FILE|-]")
@has_database
@as_json
def dump_command(file: str | None, as_json: bool, config: Path | None, **flags: Any) -> int:
    """Make a backup of the database, also while the service runs.

    All tables of smartmob, as of one moment, in pg_dump's custom format; FILE.sha256 is written beside it. Without FILE
    a name is made of the time; with - it goes to standard output. The folders of the data directory are not in it.
    """
    from smartmob.kernel.maintenance import backup, tables

    if file == "-" and (as_json or sys.stdout.isatty()):
        raise SettingsError("a backup on standard output needs a pipe or a file there, and has no room for --json")
    path = None if file == "-" else Path(file or f"smartmob-{clock.local(clock.now()):%Y%m%d-%H%M%S}.dump")

    async def use(place: Any) -> None:
        with printing.progress() as bar:
            task = bar.add_task("looking", total=None)
            sizes, total = await _sizes(place, tables)
            bar.update(task, total=total)
            seen: set[str] = set()

            def show(table: str, written: int) -> None:
                seen.add(table)
                done = sum(sizes.get(name, 0) for name in seen if name != table)
                bar.update(task, completed=done, description=f"{table or 'structure'} ({printing.size(written)})")

            made = await backup.dump(place, path, sys.stdout.buffer, show)
            bar.update(task, completed=total, description="done")
        if as_json:
            printing.print_json(msgspec.to_builtins(made))
        else:
            printing.say(f"{made.path}: {printing.size(made.bytes)}, SHA-256 {made.sha256}")

    return _run(config, flags, use)


async def _sizes(place: Any, tables: Any) -> tuple[dict[str, int], int]:
    """Return the bytes of each table and partition, and their sum, for the progress."""
    connection = await place.database.connect()
    try:
        sizes = await tables.sizes(connection, place.migrations)
    finally:
        await connection.close()
    return sizes, sum(sizes.values())


@command.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace what is there, and do not mind others who are connected.")
@has_database
@as_json
def restore_command(file: Path, force: bool, as_json: bool, config: Path | None, **flags: Any) -> int:
    """Restore a backup, into a new data directory or an empty database.

    Only rows are taken from the file, the tables are made anew: a file from elsewhere runs nothing. The whole of it is
    one transaction: after a failure the database is as it was. A FILE.sha256 beside it is checked first. The service
    that uses the database must be stopped.
    """
    from smartmob.app import PARTITIONS
    from smartmob.kernel.maintenance import restore

    async def use(place: Any) -> None:
        with printing.progress() as bar:
            task = bar.add_task("checking", total=None)
            done = await restore.restore(
                place,
                file,
                PARTITIONS,
                force=force,
                progress=lambda table: bar.update(task, advance=1, description=table),
            )
            bar.update(task, total=1, completed=1, description="done")
        if as_json:
            printing.print_json(dataclasses.asdict(done))
        else:
            replaced = f", replacing {counted(done.replaced, 'table')}" if done.replaced else ""
            printing.say(
                f"restored {counted(done.rows, 'row')} of {counted(done.tables, 'table')} into {place.name}{replaced}"
            )

    return _run(config, flags, use, make=True)


@command.command("vacuum")
@has_database
@as_json
def vacuum_command(as_json: bool, config: Path | None, **flags: Any) -> int:
    """Free the space of removed rows, and update the statistics of PostgreSQL (VACUUM ANALYZE).

    It locks nothing out. PostgreSQL does it by itself; it is worth while after a large import or removal.
    """
    from smartmob.kernel.maintenance import tables

    async def use(place: Any) -> None:
        connection = await place.database.connect()
        try:
            before = await tables.tables(connection, place.migrations)
            with printing.progress() as bar:
                task = bar.add_task("", total=len(before))
                for table in before:
                    bar.update(task, description=table.name)
                    await connection.execute(f"VACUUM (ANALYZE) {table.quoted}")
                    bar.advance(task)
            after = {table.name: table for table in await tables.tables(connection, place.migrations)}
        finally:
            await connection.close()
        _print_vacuumed(before, after, as_json)

    return _run(config, flags, use)


def _print_vacuumed(before: Sequence[Any], after: dict[str, Any], as_json: bool) -> None:
    pairs = [(table, after[table.name]) for table in before if table.name in after]
    if as_json:
        printing.print_json(
            [{"table": a.name, "rows": b.rows, "bytes_before": a.bytes, "bytes": b.bytes} for a, b in pairs]
        )
        return
    rows = ((a.name, f"{b.rows:,}", printing.size(a.bytes), printing.size(b.bytes)) for a, b in pairs)
    printing.print_table("Vacuumed", ("Table", ">Rows, about", ">Size before", ">Size"), rows)
