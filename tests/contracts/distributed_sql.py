"""The rules that SQL must keep to run on Citus, read from its syntax tree.

They follow what Citus 13 refuses (its messages stand in `multi_router_planner.c`, `query_pushdown_planning.c` and
`recursive_planning.c` of its sources), and are stricter where that keeps them simple.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import sqlglot
from sqlglot import exp

from smartmob.distribution import PLACEMENTS
from smartmob.kernel.db.placement import LOCAL, REFERENCE, Placement, Sharded

IMMUTABLE = (exp.Any, exp.Anonymous, exp.Array, exp.Case, exp.Coalesce, exp.Connector, exp.Greatest, exp.If, exp.Least)
"""The functions, and what sqlglot takes for one, that an upsert may use. Others, such as now(), may be volatile."""

SCOPES = (exp.Select, exp.Update, exp.Delete)
"""The statements and queries that have tables of their own."""

_IMMUTABLE_NAMES = frozenset({"greatest", "least", "concat_ws"})


@dataclass(slots=True)
class Source:
    """One entry of a FROM clause.

    `placements` are those of the tables in it, and `keys` its columns that are the key of a shard. Only a subquery is
    `nested`.
    """

    name: str
    placements: set[Placement] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    nested: bool = False

    @property
    def groups(self) -> set[str]:
        """Return the groups of its sharded tables."""
        return {placement.group for placement in self.placements if isinstance(placement, Sharded)}


def faults(sql: str) -> list[str]:
    """Return what Citus would refuse in some statements, each in one line."""
    # A text that ends with two quotes is not read to its end without the line break.
    found = [
        fault for tree in sqlglot.parse(sql + "\n", dialect="postgres") if tree is not None for fault in _all(tree)
    ]
    return list(dict.fromkeys(found))


def _all(tree: exp.Expression) -> Iterator[str]:
    yield from _unknown_tables(tree)
    yield from _upserts(tree)
    yield from _changes(tree)
    for scope in tree.find_all(*SCOPES):
        yield from _joins(scope)
        yield from _subqueries(scope)
        yield from _locks(scope)


def placement_of(table: str) -> Placement | None:
    """Return the placement of a table or partition, or None for a name that is no table of the service."""
    for name in (table, table.rpartition("_")[0]):
        if name in PLACEMENTS:
            return PLACEMENTS[name]
    return None


def _unknown_tables(tree: exp.Expression) -> Iterator[str]:
    ctes = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        name = table.name
        known = not name or name in ctes or name.startswith(("pg_", "citus_")) or placement_of(name) is not None
        if not known and isinstance(table.this, exp.Identifier):
            yield f"the table {name} has no placement in smartmob/distribution.py"


def _upserts(tree: exp.Expression) -> Iterator[str]:
    for conflict in tree.find_all(exp.OnConflict):
        for part in (*conflict.expressions, conflict.args.get("where")):
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
        if len(written) > 1 and not isinstance(change, exp.Insert) and not _bound(change, placement.column):
            yield f"one of several changes in a statement changes {name} without its {placement.column}"
        sums = [each.parent for each in change.find_all(exp.Interval) if isinstance(each.parent, exp.Add | exp.Sub)]
        if not isinstance(change, exp.Insert) and any(each.find(exp.Column) for each in sums):
            yield f"a change of {name} adds an interval to a column: pass the time"
        if isinstance(change, exp.Update) and any(e.this.name == placement.column for e in change.expressions):
            yield f"an update moves rows of {name} to another shard"


def _bound(tree: exp.Expression, column: str) -> bool:
    """Return whether a condition compares a column with a parameter."""
    where = tree.args.get("where")
    return where is not None and any(
        isinstance(side, exp.Column) and side.name == column and isinstance(other, exp.Parameter)
        for equal in where.find_all(exp.EQ)
        for side, other in ((equal.left, equal.right), (equal.right, equal.left))
    )


# -- joins ------------------------------------------------------------------------------------------------------------

_Column = tuple[str, str]  # of a source, and the name


def _sources(scope: exp.Expression) -> list[tuple[Source, exp.Join | None]]:
    """Return the tables and subqueries that a scope reads or writes, each with its join."""
    nodes = [] if isinstance(scope, exp.Select) else [scope.this, *(scope.args.get("using") or ())]
    first = scope.args.get("from_") or scope.args.get("from")
    found: list[tuple[Source, exp.Join | None]] = [(_source(node, scope), None) for node in nodes]
    if first is not None:
        found.append((_source(first.this, scope), None))
        found += [(_source(join.this, scope), join) for join in first.this.args.get("joins") or ()]
    return found + [(_source(join.this, scope), join) for join in scope.args.get("joins") or ()]


def _source(node: exp.Expression, scope: exp.Expression) -> Source:
    if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
        query = _cte(node.name, scope)
        if query is None:
            placement = placement_of(node.name)
            keys = {placement.column} if isinstance(placement, Sharded) else set()
            return Source(node.alias_or_name, set() if placement is None else {placement}, keys)
        return Source(node.alias_or_name, _placements(query), _keys(query), nested=True)
    inner = node.find(exp.Select)
    if inner is None:
        return Source(node.alias_or_name)
    return Source(node.alias_or_name, _placements(inner), _keys(inner), nested=True)


def _cte(name: str, node: exp.Expression | None) -> exp.Expression | None:
    """Return the query of a common table expression that a node sees, or None."""
    while node is not None:
        for cte in (node.args.get("with_") or node.args.get("with") or exp.With()).expressions:
            if cte.alias == name:
                return cte.this
        node = node.parent
    return None


def _placements(query: exp.Expression) -> set[Placement]:
    found: set[Placement] = set()
    for table in query.find_all(exp.Table):
        cte = _cte(table.name, table)
        if cte is not None and cte is not query:
            found |= _placements(cte)
        elif (placement := placement_of(table.name)) is not None:
            found.add(placement)
    return found


def _keys(query: exp.Expression) -> set[str]:
    """Return the columns of a query's result that are the keys of its shards."""
    columns = {placement.column for placement in _placements(query) if isinstance(placement, Sharded)}
    chosen = query.selects if isinstance(query, exp.Query) else []
    if any(isinstance(each, exp.Star) for each in chosen):
        return columns
    return {
        each.alias_or_name
        for each in chosen
        if isinstance(each.unalias(), exp.Column) and each.unalias().name in columns
    }


def _joins(scope: exp.Expression) -> Iterator[str]:
    sources = _sources(scope)
    sharded = [source for source, _ in sources if source.groups]
    seen = False
    for source, join in sources:
        if sharded and LOCAL in source.placements and not source.groups:
            yield f"{source.name} is local and joined with shards"
        if sharded and source.nested and REFERENCE in source.placements and not source.groups:
            yield f"{source.name} is a subquery over reference tables that is joined with shards"
        if join is not None and join.side == "LEFT" and source.groups and not seen:
            yield f"{source.name} has shards on the right of a LEFT JOIN whose left side has none"
        seen = seen or bool(source.groups)
    together = _equal_columns(scope)
    for one, other in combinations(sharded, 2):
        if one.groups != other.groups:
            yield f"{one.name} and {other.name} are joined and have different shards"
        elif not any(_touches(one, columns) and _touches(other, columns) for columns in together):
            yield f"{one.name} and {other.name} are joined without the keys of their shards"


def _touches(source: Source, columns: set[_Column]) -> bool:
    return any((name, key) in columns for key in source.keys for name in (source.name, ""))


def _equal_columns(scope: exp.Expression) -> list[set[_Column]]:
    """Return the sets of columns that a scope says to be equal; a column of USING has the source ""."""
    joins = scope.args.get("joins") or []
    conditions = [(join.args.get("on"), "") for join in joins] + [(scope.args.get("where"), "")]
    conditions += [
        (join.this.find(exp.Select).args.get("where"), join.this.alias_or_name)
        for join in joins
        if isinstance(join.this, exp.Lateral) and join.this.find(exp.Select) is not None
    ]
    together = [{("", column.name)} for join in joins for column in join.args.get("using") or ()]
    for condition, source in conditions:
        for equal in condition.find_all(exp.EQ) if condition is not None else ():
            sides = [side for side in (equal.left, equal.right) if isinstance(side, exp.Column)]
            if len(sides) == 2:
                together.append({(side.table or source, side.name) for side in sides})
    return _merged(together)


def _merged(together: list[set[_Column]]) -> list[set[_Column]]:
    """Return the same sets, with those that share a column as one."""
    merged: list[set[_Column]] = []
    for columns in together:
        apart = [known for known in merged if not known & columns]
        merged = [*apart, columns.union(*(known for known in merged if known & columns))]
    return merged


# -- subqueries and locks ---------------------------------------------------------------------------------------------


def _subqueries(scope: exp.Expression) -> Iterator[str]:
    outer = {source.name: source for source, _ in _sources(scope)}
    for inner in _inner_queries(scope):
        own = {source.name for each in inner.find_all(exp.Select) for source, _ in _sources(each)}
        correlated = any(column.table in outer and column.table not in own for column in inner.find_all(exp.Column))
        if not correlated or not any(isinstance(placement, Sharded) for placement in _placements(inner)):
            continue
        text = inner.sql("postgres")[:60]
        if not any(source.groups for source in outer.values()):
            yield f"a correlated subquery over shards in a query without shards: {text}"
        elif not _bound_to(inner, outer):
            yield f"a correlated subquery that is not bound to its shard: {text}"


def _inner_queries(scope: exp.Expression) -> Iterator[exp.Select]:
    """Yield the queries in the columns and conditions of a scope."""
    for inner in scope.find_all(exp.Select):
        node = inner.parent if inner is not scope else None
        while node is not None and not isinstance(node, (*SCOPES, exp.From, exp.CTE, exp.Lateral)):
            if isinstance(node.parent, exp.Join) and node.parent.this is node:
                break
            node = node.parent
        if node is scope:
            yield inner


def _bound_to(inner: exp.Select, outer: Mapping[str, Source]) -> bool:
    """Return whether a subquery is about the shard of the row that it is asked for."""
    theirs = {(name, key) for name, source in outer.items() for key in source.keys}
    mine = {(name, key) for source, _ in _sources(inner) for key in source.keys for name in (source.name, "")}
    return any(columns & theirs and columns & mine for columns in _equal_columns(inner))


def _locks(scope: exp.Expression) -> Iterator[str]:
    if scope.args.get("locks"):
        for source, _ in _sources(scope):
            if source.groups and not any(_bound(scope, key) for key in source.keys):
                yield f"row locks on {source.name} without the key of its shard"
