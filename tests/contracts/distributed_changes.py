"""The rules for statements that change rows on Citus: upserts, insertions, updates and deletions."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from smartmob.distribution import PLACEMENTS
from smartmob.kernel.db.placement import LOCAL, REFERENCE, Placement, Sharded

IMMUTABLE = (exp.Any, exp.Anonymous, exp.Array, exp.Case, exp.Coalesce, exp.Connector, exp.Greatest, exp.If, exp.Least)
"""The functions, and what sqlglot takes for one, that an upsert may use. Others, such as now(), may be volatile."""

_IMMUTABLE_NAMES = frozenset({"greatest", "least", "concat_ws"})
_VOLATILE = frozenset({"clock_timestamp", "nextval", "random", "setseed", "timeofday", "gen_random_uuid", "uuidv7"})
"""Functions that Citus refuses in each change of a row, since each copy of it would get another value."""


def placement_of(table: str) -> Placement | None:
    """Return the placement of a table or partition, or None for a name that is no table of the service."""
    for name in (table, table.rpartition("_")[0]):
        if name in PLACEMENTS:
            return PLACEMENTS[name]
    return None


def faults_of(tree: exp.Expression) -> Iterator[str]:
    """Yield what Citus would refuse in the changes of a statement."""
    if isinstance(tree, exp.Merge):
        yield "MERGE needs tables of one group: use an upsert"
        return
    yield from _upserts(tree)
    yield from _changes(tree)
    for change in tree.find_all(exp.Insert, exp.Update, exp.Delete):
        placement = placement_of(change.find(exp.Table).name)
        if placement is None or placement is LOCAL:
            continue
        yield from _calls(change)
        if isinstance(change, exp.Insert):
            yield from _values(change, placement)
        elif placement is REFERENCE:
            yield from _of_reference(change)


def _calls(change: exp.Expression) -> Iterator[str]:
    """Yield the calls of functions in a change of shards or copies whose values would differ."""
    if not isinstance(change, exp.Insert):
        for call in change.find_all(exp.Func):
            if _name(call) in _VOLATILE:
                yield f"a change calls {_name(call)}(): pass the value"
    returning = change.args.get("returning")
    for call in returning.find_all(exp.Func) if returning is not None else ():
        if not isinstance(call, IMMUTABLE):
            yield f"a change returns {call.sql('postgres')}: return the columns"


def _name(call: exp.Func) -> str:
    known = {exp.Rand: "random", exp.Uuid: "gen_random_uuid"}
    return call.name.lower() if isinstance(call, exp.Anonymous) else known.get(type(call), call.sql_name().lower())


def _values(insert: exp.Insert, placement: Placement) -> Iterator[str]:
    """Yield the faults of the new rows: the key of the shard is missing, or a value is a subquery."""
    table = insert.find(exp.Table).name
    columns = [each.name for each in insert.this.expressions] if isinstance(insert.this, exp.Schema) else []
    key = placement.column if isinstance(placement, Sharded) else None
    if columns and key is not None and key not in columns:
        yield f"a row of {table} has no {key}, which tells its shard"
    if not isinstance(insert.expression, exp.Values):
        return
    if insert.expression.find(exp.Select) is not None:
        yield f"a value of a row of {table} is a subquery: pass the value, or INSERT … SELECT"
    if key in columns:
        place = columns.index(key)
        if any(isinstance(row.expressions[place], exp.Null) for row in insert.expression.expressions):
            yield f"the {key} of a row of {table} is NULL, which tells no shard"


def _of_reference(change: exp.Expression) -> Iterator[str]:
    """Yield the tables of shards or of the coordinator with which a change of a reference table is joined."""
    using = [change.args.get("from_") or change.args.get("from"), *(change.args.get("using") or ())]
    for node in using:
        for table in node.find_all(exp.Table) if node is not None else ():
            if placement_of(table.name) not in (None, REFERENCE):
                yield f"a change of a reference table is joined with {table.name}"


def _upserts(tree: exp.Expression) -> Iterator[str]:
    for conflict in tree.find_all(exp.OnConflict):
        for part in (*conflict.expressions, conflict.args.get("where")):
            if part is not None and part.find(exp.Select) is not None:
                yield "an upsert asks a subquery: pass the value"
                continue
            for call in part.find_all(exp.Func) if part is not None else ():
                name = call.name.lower() if isinstance(call, exp.Anonymous) else ""
                given = isinstance(call, exp.Cast) and isinstance(call.this, exp.Parameter)
                if not given and (not isinstance(call, IMMUTABLE) or (name and name not in _IMMUTABLE_NAMES)):
                    yield f"an upsert calls {call.sql('postgres')}: pass the value"
        for interval in conflict.find_all(exp.Interval):
            if isinstance(interval.parent, exp.Add | exp.Sub):
                yield "an upsert adds an interval to a time, which depends on the time zone: compare a difference"


def _changes(tree: exp.Expression) -> Iterator[str]:
    changes = list(tree.find_all(exp.Insert, exp.Update, exp.Delete))
    written = {change.find(exp.Table).name: change for change in changes}
    placements = {placement_of(name) for name in written}
    kinds = {placement.group if isinstance(placement, Sharded) else placement for placement in placements}
    if len(kinds) > 1:
        yield f"one statement writes tables of several placements: {', '.join(sorted(written))}"
    for name, change in written.items():
        placement = placement_of(name)
        if not isinstance(placement, Sharded):
            continue
        if len(written) > 1 and not isinstance(change, exp.Insert) and not bound(change, placement.column):
            yield f"one of several changes in a statement changes {name} without its {placement.column}"
        sums = [each.parent for each in change.find_all(exp.Interval) if isinstance(each.parent, exp.Add | exp.Sub)]
        if not isinstance(change, exp.Insert) and any(each.find(exp.Column) for each in sums):
            yield f"a change of {name} adds an interval to a column: pass the time"
        if isinstance(change, exp.Update) and any(e.this.name == placement.column for e in change.expressions):
            yield f"an update moves rows of {name} to another shard"


def bound(tree: exp.Expression, column: str) -> bool:
    """Return whether a condition compares a column with a parameter."""
    where = tree.args.get("where")
    return where is not None and any(
        isinstance(side, exp.Column) and side.name == column and isinstance(other, exp.Parameter)
        for equal in where.find_all(exp.EQ)
        for side, other in ((equal.left, equal.right), (equal.right, equal.left))
    )
