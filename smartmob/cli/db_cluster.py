"""`smartmob db distribute` and `smartmob db rebalance`: the database on several machines, by Citus."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import asdict

from smartmob.cli import printing
from smartmob.cli.db_options import has_database, run
from smartmob.cli.server_options import as_json
from smartmob.counts import counted

if TYPE_CHECKING:
    from smartmob.kernel.db.citus import Move

_MOST_SHARDS = 4096
"""Citus itself takes up to 64,000 (`citus.shard_count`); each is a table with indexes in every partition."""
_POLL_SECONDS = 1.0  # between two checks of the moves of the rebalancer


@click.command("distribute")
@click.option(
    "--shards",
    type=click.IntRange(1, _MOST_SHARDS),
    help="Shards of each group of tables, for tables that are not distributed yet. Default 32.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@has_database
@as_json
def distribute_command(shards: int | None, dry_run: bool, as_json: bool, config: Path | None, **flags: Any) -> int:
    """Distribute the tables over the nodes of Citus.

    The database URL must name the coordinator, which must already have the extension and the nodes. Services may run
    meanwhile: if Citus can, it moves a table while clients write to it; otherwise the writers wait until the table is
    moved. Tables that are already distributed stay unchanged, so the command can be repeated.
    """
    from smartmob.distribution import PLACEMENTS
    from smartmob.kernel.db import citus, pooler

    async def use(target: Any) -> None:
        connection = await target.database.connect()
        try:
            await pooler.check_session(target.database, connection)
            await citus.require_ready(connection, target.migrations)
            if not dry_run:
                await citus.wait_for_others(connection)
            steps = await citus.plan(connection, PLACEMENTS)
            if not dry_run:
                with citus.one_line():
                    await citus.set_visibility(connection)
                    await _distribute(connection, steps, shards or citus.DEFAULT_SHARDS)
        finally:
            await connection.close()
        if as_json:
            printing.print_json({"dry_run": dry_run, "tables": [_described(step) for step in steps]})
        elif not steps:
            printing.say(f"nothing to do: all tables are where they belong in {target.name}")
        elif dry_run:
            rows = [tuple(_described(step).values()) for step in steps]
            printing.print_table(
                "", ("Table", "Placement", "Key", ">To move"), [(*r[:3], printing.size(r[3])) for r in rows]
            )
        else:
            printing.say(f"{counted(len(steps), 'table')} distributed over the nodes of {target.name}")

    return run(config, flags, use)


def _described(step: Any) -> dict[str, Any]:
    placement = step.placement
    if hasattr(placement, "column"):
        return {"table": step.table, "placement": "shards", "key": placement.column, "bytes": step.bytes}
    return {"table": step.table, "placement": placement.value, "key": "", "bytes": step.bytes}


async def _distribute(connection: Any, steps: Sequence[Any], shards: int) -> None:
    from smartmob.kernel.db import citus

    with printing.transfer() as bar:
        task = bar.add_task("", total=sum(step.bytes for step in steps))
        for step in steps:
            bar.update(task, description=step.table)
            await citus.distribute(connection, step, shards)
            bar.advance(task, step.bytes)


def print_cluster(cluster: Any) -> None:
    """Print the nodes of a distributed database, and how its shards are spread over them."""
    nodes = [
        (node.name, "coordinator" if node.coordinator else "", node.active, node.shards, printing.size(node.bytes))
        for node in cluster.nodes
    ]
    title = f"\nNodes of Citus {cluster.citus}"
    printing.print_table(title, ("Address", "Role", "Active", ">Shards", ">Size"), nodes)
    groups = [
        (group.name, group.shards, printing.size(group.bytes), f"{group.skew:.2f}", ", ".join(group.tables))
        for group in cluster.groups
    ]
    printing.print_table("\nShards", ("Group", ">Shards", ">Size", ">Largest : mean", "Tables"), groups)
    if cluster.waiting:
        printing.say(f"not distributed yet: {', '.join(cluster.waiting)} (smartmob db distribute)")


@click.command("rebalance")
@click.option("--dry-run", is_flag=True, help="Say which shards would be moved, and move none.")
@click.option("--block-writes", is_flag=True, help="Copy while writers wait, for servers without wal_level = logical.")
@has_database
@as_json
def rebalance_command(dry_run: bool, block_writes: bool, as_json: bool, config: Path | None, **flags: Any) -> int:
    """Move shards to nodes that have fewer, by the rebalancer of Citus.

    Use it after adding a node, or before removing one. Services may run meanwhile. An interrupted command leaves the
    moves running on the server; the next command waits for them.
    """
    from smartmob.kernel.db import citus

    async def use(target: Any) -> None:
        connection = await target.database.connect()
        try:
            await citus.require_ready(connection, target.migrations)
            with citus.one_line():
                moves = await citus.moves(connection)
                if moves and not dry_run:
                    await _rebalance(connection, block_writes, len(moves))
        finally:
            await connection.close()
        if as_json:
            printing.print_json({"dry_run": dry_run, "moves": [asdict(move) for move in moves]})
        elif not moves:
            printing.say(f"nothing to move: the shards of {target.name} are even")
        elif dry_run:
            _print_moves(moves)
        else:
            printing.say(f"{counted(len(moves), 'shard')} moved")

    return run(config, flags, use)


async def _rebalance(connection: Any, block_writes: bool, moves: int) -> None:
    from smartmob.kernel.db import citus

    await citus.start_rebalance(connection, block_writes=block_writes)
    with printing.progress() as bar:
        task = bar.add_task("moving", total=moves)
        while (done := await citus.finished_moves(connection)) is not None:
            bar.update(task, completed=min(done, moves))
            await asyncio.sleep(_POLL_SECONDS)
        bar.update(task, completed=moves)


def _print_moves(moves: Sequence[Move]) -> None:
    rows = [(move.table, move.shard, move.source, move.target, printing.size(move.bytes)) for move in moves]
    printing.print_table("", ("Table", ">Shard", "From", "To", ">Size"), rows)
