"""`smartmob db`: maintains the database, with or without a running service."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from smartmob.cli import db_cluster, printing
from smartmob.cli.command_group import CommandGroup
from smartmob.cli.db_options import has_database, run
from smartmob.cli.server_options import as_json
from smartmob.counts import counted
from smartmob.errors import SettingsError
from smartmob.kernel.runtime import clock

if TYPE_CHECKING:
    from smartmob.kernel.maintenance.restore import Restored

_SECOND_CHECK_SECONDS = 1.1  # after a look at a replica: by then the position of the first one has been replayed


@click.group("db", cls=CommandGroup)
def command() -> None:
    """Maintain the database.

    Works on the database that `smartmob serve` uses with the same options, variables and file: the embedded one of
    --data-dir, whether a service runs on it or not, or the one of --database-url-file.
    """


command.add_command(db_cluster.distribute_command)
command.add_command(db_cluster.rebalance_command)


@command.command("status")
@has_database
@as_json
def status_command(as_json: bool, config: Path | None, **flags: Any) -> int:
    """Show version, migrations, tables, the last backup, and the nodes and shards of a distributed database.

    Ends with 1 when migrations are missing, or when the database is not one that this smartmob can use.
    """
    from smartmob.distribution import PLACEMENTS
    from smartmob.kernel.db.cluster_status import cluster_status
    from smartmob.kernel.maintenance import tables

    async def use(target: Any) -> int:
        connection = await target.database.connect()
        try:
            status = await tables.status(connection, target.migrations)
            cluster = await cluster_status(connection, PLACEMENTS)
        finally:
            await connection.close()
        replica = await _replica(target.database)
        good = not status.missing and status.wrong is None
        if as_json:
            known = {"database": target.name, "serving": target.serving, **msgspec.to_builtins(status)}
            printing.print_json({**known, "replica": replica, "cluster": msgspec.to_builtins(cluster)})
        else:
            _print_status(target, status, {} if cluster is None else cluster.table_bytes, replica)
            if cluster is not None:
                db_cluster.print_cluster(cluster)
        return 0 if good else 1

    return run(config, flags, use)


async def _replica(database: Any) -> dict[str, Any] | None:
    """Return the state of the replica, or None without one; the delay is known only after two checks."""
    if database.replica is None:
        return None
    state = await database.replica.check()
    if state.behind is None:
        await asyncio.sleep(_SECOND_CHECK_SECONDS)
        state = await database.replica.check()
    return {"problem": state.problem, "behind_seconds": state.behind}


def _of_replica(replica: Mapping[str, Any]) -> str:
    return str(replica["problem"] or f"{replica['behind_seconds']:.1f} s behind")


def _print_status(target: Any, status: Any, distributed: Mapping[str, int], replica: Mapping[str, Any] | None) -> None:
    """Print the state of a database; `distributed` are the bytes of tables of which the database itself has no rows."""
    backup, embedded = status.backup, " with a service running on it" if target.serving else ""
    missing = f", missing: {', '.join(status.missing)} (smartmob db migrate)" if status.missing else ""
    last = "none that was made by smartmob db dump"
    if backup is not None:
        when = printing.local_time(backup.at.isoformat())
        last = f"{when}, {printing.size(backup.bytes)}, {backup.path}"
    printing.print_table(
        "",
        ("", ""),
        (
            ("database", f"{target.name}{embedded}"),
            ("PostgreSQL", status.server),
            ("size", printing.size(status.bytes)),
            ("migrations", f"{status.applied} applied{missing}"),
            *((("not usable", status.wrong),) if status.wrong else ()),
            ("last backup", last),
            *((("replica", _of_replica(replica)),) if replica is not None else ()),
        ),
    )
    rows = (
        (
            table.name,
            f"{table.rows:,}" if table.name not in distributed else None,
            printing.size(distributed.get(table.name, table.bytes)),
            table.partitions or "",
        )
        for table in status.tables
    )
    printing.print_table("\nTables", ("Table", ">Rows, about", ">Size", ">Partitions"), rows)


@command.command("migrate")
@has_database
@as_json
def migrate_command(as_json: bool, config: Path | None, **flags: Any) -> int:
    """Migrate the tables to this version, as a service does at its start.

    Ends with 0 when the tables are up to date, even if no migration was missing. Concurrent commands wait for each
    other.
    """
    from smartmob.distribution import DISTRIBUTOR
    from smartmob.kernel.db import database_refusals, migrations

    async def use(target: Any) -> None:
        connection = await target.database.connect()
        try:
            with database_refusals.in_one_line():
                done = await migrations.apply(connection, target.migrations, DISTRIBUTOR)
        finally:
            await connection.close()
        if as_json:
            printing.print_json({"applied": done, "migrations": len(target.migrations)})
        else:
            said = f"{counted(done, 'migration')} applied" if done else "nothing to do"
            printing.say(f"{said}: all {len(target.migrations)} are in {target.name}")

    return run(config, flags, use, make=True)


@command.command("dump")
@click.argument("file", required=False, metavar="[FILE|-]")
@has_database
@as_json
def dump_command(file: str | None, as_json: bool, config: Path | None, **flags: Any) -> int:
    """Make a backup of the database, also while the service runs.

    The backup has all tables of smartmob as of one moment, in pg_dump's custom format. FILE.sha256 is written beside
    it. Without FILE the name is made from the time; with - the backup goes to standard output. The backup does not
    contain the folders of the data directory.
    """
    from smartmob.kernel.maintenance import backup, tables

    if file == "-" and (as_json or sys.stdout.isatty()):
        raise SettingsError("a backup on standard output needs a pipe or a file, and cannot be combined with --json")
    path = None if file == "-" else Path(file or f"smartmob-{clock.local(clock.now()):%Y%m%d-%H%M%S}.dump")

    async def use(target: Any) -> None:
        with printing.progress() as bar:
            task = bar.add_task("looking", total=None)
            sizes, total = await _sizes(target, tables)
            bar.update(task, total=total)
            seen: set[str] = set()

            def show(table: str, written: int) -> None:
                seen.add(table)
                done = sum(sizes.get(name, 0) for name in seen if name != table)
                bar.update(task, completed=done, description=f"{table or 'structure'} ({printing.size(written)})")

            made = await backup.dump(target, path, sys.stdout.buffer, show)
            bar.update(task, completed=total, description="done")
        if as_json:
            printing.print_json(msgspec.to_builtins(made))
        else:
            printing.say(f"{made.path}: {printing.size(made.bytes)}, SHA-256 {made.sha256}")

    return run(config, flags, use)


async def _sizes(target: Any, tables: Any) -> tuple[dict[str, int], int]:
    """Return the bytes of each table and partition, and their sum, for the progress."""
    connection = await target.database.connect()
    try:
        sizes = await tables.sizes(connection, target.migrations)
    finally:
        await connection.close()
    return sizes, sum(sizes.values())


@command.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace existing tables, even while other clients are connected.")
@has_database
@as_json
def restore_command(file: Path, force: bool, as_json: bool, config: Path | None, **flags: Any) -> int:
    """Restore a backup, into a new data directory or an empty database.

    Only rows are read from the file and the tables are recreated, so the file cannot run code. The restore is one
    transaction: after a failure the database is unchanged. A FILE.sha256 beside FILE is checked first. The service that
    uses the database must be stopped.
    """
    from smartmob.distribution import DISTRIBUTOR
    from smartmob.kernel.maintenance import restore
    from smartmob.kernel.maintenance.backup import SUM_SUFFIX
    from smartmob.stored_features import PARTITIONS

    async def use(target: Any) -> None:
        with printing.progress() as bar:
            task = bar.add_task("checking", total=None)
            done = await restore.restore(
                target,
                file,
                PARTITIONS,
                force=force,
                distributor=DISTRIBUTOR,
                progress=lambda table: bar.update(task, advance=1, description=table),
            )
            bar.update(task, total=1, completed=1, description="done")
        if as_json:
            printing.print_json(msgspec.structs.asdict(done))
        else:
            printing.say(f"{_restored(done)} into {target.name}" + _replaced(done))
            if not done.checked:
                printing.say(f"its checksum was not checked: there is no {file.name}{SUM_SUFFIX} beside it")

    return run(config, flags, use, make=True)


@command.command("vacuum")
@has_database
@as_json
def vacuum_command(as_json: bool, config: Path | None, **flags: Any) -> int:
    """Free the space of removed rows, and update the statistics of PostgreSQL (VACUUM ANALYZE).

    It blocks no other client. PostgreSQL does this by itself; the command is useful after a large import or removal.
    """
    from smartmob.kernel.maintenance import tables

    async def use(target: Any) -> None:
        connection = await target.database.connect()
        try:
            before = await tables.tables(connection, target.migrations)
            with printing.progress() as bar:
                task = bar.add_task("", total=len(before))
                for table in before:
                    bar.update(task, description=table.name)
                    await connection.execute(f"VACUUM (ANALYZE) {table.quoted}")
                    bar.advance(task)
            after = {table.name: table for table in await tables.tables(connection, target.migrations)}
        finally:
            await connection.close()
        _print_vacuumed(before, after, as_json)

    return run(config, flags, use)


def _print_vacuumed(before: Sequence[Any], after: dict[str, Any], as_json: bool) -> None:
    pairs = [(table, after[table.name]) for table in before if table.name in after]
    if as_json:
        printing.print_json(
            [{"table": a.name, "rows": b.rows, "bytes_before": a.bytes, "bytes": b.bytes} for a, b in pairs]
        )
        return
    rows = ((a.name, f"{b.rows:,}", printing.size(a.bytes), printing.size(b.bytes)) for a, b in pairs)
    printing.print_table("Vacuumed", ("Table", ">Rows, about", ">Size before", ">Size"), rows)


def _restored(done: Restored) -> str:
    return f"restored {counted(done.rows, 'row')} of {counted(done.tables, 'table')}"


def _replaced(done: Restored) -> str:
    return f", replacing {counted(done.replaced, 'table')}" if done.replaced else ""
