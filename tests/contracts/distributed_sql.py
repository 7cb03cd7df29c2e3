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

from smartmob.kernel.db.placement import LOCAL, REFERENCE, Placement, Sharded
from tests.contracts import distributed_changes
from tests.contracts.distributed_changes import bound, placement_of

SCOPES = (exp.Select, exp.Update, exp.Delete)
"""The statements and queries that have tables of their own."""


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
    yield from distributed_changes.faults_of(tree)
    yield from _whole(tree)
    for scope in tree.find_all(*SCOPES):
        yield from _joins(scope)
        yield from _subqueries(scope)
        yield from _locks(scope)


def _unknown_tables(tree: exp.Expression) -> Iterator[str]:
    ctes = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        name = table.name
        known = not name or name in ctes or name.startswith(("pg_", "citus_")) or placement_of(name) is not None
        if not known and isinstance(table.this, exp.Identifier):
            yield f"the table {name} has no placement in smartmob/distribution.py"


def _whole(tree: exp.Expression) -> Iterator[str]:
    """Yield the faults of a whole statement over shards."""
    if not any(isinstance(placement, Sharded) for placement in _placements(tree)):
        return
    if any(each.args.get("recursive") for each in tree.find_all(exp.With)):
        yield "a recursive query over shards"
    if tree.find(exp.GroupingSets, exp.Rollup, exp.Cube) is not None:
        yield "grouping sets over shards: ask for each grouping"
    if any(column.name in ("ctid", "xmin", "tableoid") for column in tree.find_all(exp.Column)):
        yield "a column of the system differs between shards: name rows by their keys"


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
        if isinstance(join and join.this, exp.Lateral) and source.groups and not seen:
            yield f"{source.name} is a lateral subquery over shards beside tables without"
        elif sharded and source.nested and REFERENCE in source.placements and not source.groups:
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
        for equal in _required(condition):
            sides = [side for side in (equal.left, equal.right) if isinstance(side, exp.Column)]
            if len(sides) == 2:
                together.append({(side.table or source, side.name) for side in sides})
    return _merged(together)


def _required(condition: exp.Expression | None) -> Iterator[exp.EQ]:
    """Yield the comparisons that hold for each row, so not those of an OR or NOT."""
    if isinstance(condition, exp.Where | exp.Paren | exp.And):
        for part in condition.iter_expressions():
            yield from _required(part)
    elif isinstance(condition, exp.EQ):
        yield condition


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
        text = inner.sql("postgres")[:60]
        sharded = any(isinstance(placement, Sharded) for placement in _placements(inner))
        over_shards = any(source.groups for source in outer.values())
        if over_shards and sharded and not correlated and _unnamed(inner):
            yield f"a subquery compares columns without the names of their tables: {text}"
        elif correlated and over_shards and LOCAL in _placements(inner):
            yield f"a correlated subquery over a local table in a query over shards: {text}"
        if not correlated or not sharded:
            continue
        if not over_shards:
            yield f"a correlated subquery over shards in a query without shards: {text}"
        elif not _bound_to(inner, outer):
            yield f"a correlated subquery that is not bound to its shard: {text}"


def _unnamed(query: exp.Select) -> bool:
    """Return whether a query compares two columns, each of which may be of the query around it."""
    return any(
        isinstance(side, exp.Column) and isinstance(other, exp.Column) and not side.table and not other.table
        for equal in query.find_all(exp.EQ)
        for side, other in ((equal.left, equal.right),)
    )


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
            if source.groups and not any(bound(scope, key) for key in source.keys):
                yield f"row locks on {source.name} without the key of its shard"
