"""The SQL of the features runs on a distributed database: Citus would refuse none of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

import pytest

from smartmob.distribution import PLACEMENTS
from smartmob.hosts.fields import query_parts
from smartmob.kernel.db import migrations, queries
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.placement import LOCAL, Sharded
from smartmob.stored_features import MIGRATED_FEATURES
from tests.contracts import sources
from tests.contracts.distributed_sql import faults

ROOT = Path(__file__).parents[2]
_STATEMENT = re.compile(r"\s*(SELECT|INSERT INTO|WITH|UPDATE|DELETE FROM)\s", re.ASCII)
_SUBQUERY = re.compile(r"IN \((SELECT .*)\)\s*$", re.DOTALL)


def _named() -> Iterator[tuple[str, str]]:
    """Yield all queries of all features, each with its place."""
    parts = {**query_parts(), "measure": "total_time"}
    for package in MIGRATED_FEATURES.values():
        if not resources.files(package).joinpath("queries.sql").is_file():
            continue
        for name, text in queries.load(package).items():
            # Statements about partitions are made of names that are not known yet.
            if "{{" not in text:
                yield f"{package}: {name}", _filled(text, parts)


def _filled(text: str, parts: Mapping[str, str]) -> str:
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    return text


def _in_code() -> Iterator[tuple[str, str]]:
    """Yield the SQL in the code of the features, each with its place."""
    for path in sorted((ROOT / "smartmob").rglob("*.py")):
        # The kernel knows no tables of features: what it asks are catalogs of the server, and tables of its own.
        if {"kernel", "cli"} & set(path.parts) or "smartmob.kernel.db" not in sources.text(path):
            continue
        for node in ast.walk(sources.tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value.replace("{}", "$1")
                if (within := _SUBQUERY.search(text)) is not None:
                    yield f"{path.name}:{node.lineno}", within[1]
                elif _STATEMENT.match(text):
                    yield f"{path.name}:{node.lineno}", text


def test_each_query_can_run_on_citus() -> None:
    """No query of a `queries.sql` has what Citus refuses."""
    found = dict(_named())

    assert len(found) > 200
    assert [f"{place}: {fault}" for place, text in found.items() for fault in faults(text)] == []


def test_sql_in_code_can_run_on_citus() -> None:
    """The same holds for statements and conditions that a store has in its code."""
    found = list(_in_code())

    assert len(found) > 5
    assert [f"{place}: {fault}" for place, text in found for fault in faults(text)] == []


def test_each_table_has_a_placement() -> None:
    """A migration that makes a table comes with an entry in smartmob/distribution.py; no entry is left over."""
    made = migrations.tables(migrations.collect(MIGRATED_FEATURES))

    assert {name for name in made if not name.endswith("_rest")} == set(PLACEMENTS)


async def test_unique_keys_contain_the_key_of_the_shard(database: Database) -> None:
    """PostgreSQL could not keep another one unique over several machines."""
    rows = await database.fetch(
        "SELECT i.indrelid::regclass::text AS name, array_agg(a.attname::text) AS columns FROM pg_index AS i "
        "JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) "
        "WHERE i.indisunique GROUP BY i.indexrelid, i.indrelid"
    )

    sharded = {name: placement.column for name, placement in PLACEMENTS.items() if isinstance(placement, Sharded)}
    found = [(row["name"], sharded[row["name"]] in row["columns"]) for row in rows if row["name"] in sharded]
    assert len(found) > 10
    assert [name for name, contained in found if not contained] == []


async def test_tables_have_nothing_that_shards_cannot_have(database: Database) -> None:
    """Citus refuses triggers, and conditions over rows of other shards."""
    rows = await database.fetch(
        "SELECT tgrelid::regclass::text AS name FROM pg_trigger WHERE NOT tgisinternal "
        "UNION SELECT conrelid::regclass::text FROM pg_constraint WHERE contype IN ('f', 'x')"
    )

    assert [row["name"] for row in rows if PLACEMENTS.get(row["name"]) not in (None, LOCAL)] == []


def test_the_documentation_lists_the_placements() -> None:
    """The table of the how-to guide is that of the module."""
    text = (ROOT / "docs/howto/run-on-citus.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE)

    assert dict(listed) == {
        name: f"by `{placement.column}`" if isinstance(placement, Sharded) else placement.value
        for name, placement in PLACEMENTS.items()
    }


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        (
            "INSERT INTO hosts (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET registered_at = now()",
            "an upsert calls",
        ),
        (
            "INSERT INTO marks (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET text = $2"
            " WHERE marks.at < clock_timestamp()",
            "an upsert calls",
        ),
        (
            "INSERT INTO services (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET boot = gen_random_uuid()",
            "an upsert calls",
        ),
        (
            "INSERT INTO nodes (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at"
            " WHERE nodes.seen_at < $2 - interval '1 hour'",
            "an upsert adds an interval",
        ),
        ("SELECT FROM test_metrics AS m JOIN host_samples AS s ON s.host = m.session_h", "have different shards"),
        ("SELECT FROM test_metrics AS m JOIN test_sessions AS s ON s.scm_ref = m.context_h", "without the keys"),
        ("SELECT FROM test_metrics AS m, test_sessions AS s WHERE m.block = $1", "without the keys"),
        ("SELECT FROM test_metrics AS m JOIN marks AS k ON k.text = m.session_h", "is local and joined"),
        (
            "SELECT FROM hosts AS h JOIN LATERAL (SELECT * FROM host_samples ORDER BY at LIMIT 1) AS s ON true",
            "without the keys",
        ),
        (
            "SELECT FROM test_metrics AS m JOIN (SELECT * FROM test_items LIMIT 5) AS i USING (item_id)",
            "a subquery over reference tables",
        ),
        (
            "WITH i AS (SELECT * FROM test_items LIMIT 5) SELECT FROM test_metrics AS m JOIN i USING (item_id)",
            "a subquery over reference tables",
        ),
        ("SELECT FROM test_items AS i LEFT JOIN test_metrics AS m USING (item_id)", "on the right of a LEFT JOIN"),
        (
            "SELECT (SELECT count(*) FROM test_metrics AS m WHERE m.item_id = i.item_id) FROM test_items AS i",
            "a correlated subquery over shards in a query without shards",
        ),
        (
            "DELETE FROM test_items AS i WHERE NOT EXISTS (SELECT FROM test_metrics AS m WHERE m.item_id = i.item_id)",
            "a correlated subquery over shards in a query without shards",
        ),
        (
            "SELECT FROM test_sessions AS s WHERE EXISTS (SELECT FROM test_metrics AS m WHERE m.block = s.started_at)",
            "is not bound to its shard",
        ),
        (
            "WITH gone AS (DELETE FROM test_metrics WHERE session_h = $1)"
            " DELETE FROM test_metric_blocks WHERE block = $2",
            "one statement writes tables of several placements",
        ),
        (
            "WITH gone AS (DELETE FROM test_metrics WHERE block = $1) DELETE FROM test_sessions WHERE session_h = $2",
            "changes test_metrics without its session_h",
        ),
        ("UPDATE test_sessions SET started_at = started_at - interval '1 day'", "adds an interval to a column"),
        ("UPDATE test_sessions SET session_h = $2 WHERE session_h = $1", "to another shard"),
        ("SELECT FROM test_sessions AS s WHERE s.scm_ref = $1 FOR UPDATE", "row locks on s without the key"),
        ("SELECT FROM new_table", "the table new_table has no placement"),
        (
            "INSERT INTO hosts (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET own = (SELECT true)",
            "an upsert asks a subquery",
        ),
        (
            "SELECT FROM test_metrics AS m JOIN test_sessions AS s ON s.session_h = m.session_h OR m.block = $1",
            "without the keys",
        ),
        (
            "SELECT FROM test_metrics AS m JOIN test_sessions AS s ON NOT (s.session_h = m.session_h)",
            "without the keys",
        ),
        (
            "SELECT FROM test_sessions WHERE EXISTS (SELECT FROM hosts WHERE name = host)",
            "compares columns without the names of their tables",
        ),
        (
            "SELECT FROM test_metrics AS m WHERE EXISTS (SELECT FROM test_metric_blocks AS b WHERE b.block = m.block)",
            "a correlated subquery over a local table",
        ),
        (
            "SELECT FROM test_items AS i, LATERAL (SELECT FROM test_metrics AS m WHERE m.item_id = i.item_id) AS m",
            "m is a lateral subquery over shards beside tables without",
        ),
        ("UPDATE test_sessions SET host = random()::text WHERE session_h = $1", "a change calls random()"),
        ("UPDATE test_items SET item_id = gen_random_uuid()", "a change calls gen_random_uuid()"),
        ("UPDATE test_sessions SET host = $1 RETURNING session_h, now()", "a change returns CURRENT_TIMESTAMP"),
        (
            "UPDATE test_items AS i SET item = $1 FROM test_metrics AS m WHERE m.item_id = i.item_id",
            "a change of a reference table is joined with test_metrics",
        ),
        ("INSERT INTO test_session_contexts (context_h) VALUES ($1)", "has no session_h"),
        ("INSERT INTO test_session_contexts (context_h, session_h) VALUES ($1, NULL)", "is NULL"),
        ("INSERT INTO hosts (name) VALUES ((SELECT min(id) FROM services))", "is a subquery: pass the value"),
        ("MERGE INTO hosts AS h USING nodes AS n ON h.name = n.name WHEN MATCHED THEN DELETE", "use an upsert"),
        (
            "WITH RECURSIVE r AS (SELECT session_h FROM test_sessions UNION SELECT r.session_h FROM r) SELECT FROM r",
            "a recursive query over shards",
        ),
        ("SELECT FROM test_metrics GROUP BY GROUPING SETS ((session_h), (context_h))", "ask for each grouping"),
        ("DELETE FROM test_metrics WHERE ctid IN (SELECT ctid FROM test_metrics LIMIT 9)", "a column of the system"),
    ],
)
def test_a_query_that_citus_refuses_is_found(sql: str, fault: str) -> None:
    """Each rule finds a query that breaks it, and only one fault is said of it."""
    found = faults(sql)

    assert len(found) == 1, found
    assert fault in found[0]


def test_what_citus_runs_is_allowed() -> None:
    """Joins and subqueries within one shard, with reference tables, and of lists that are made first."""
    for sql in (
        "SELECT FROM test_metrics AS m JOIN test_items AS i USING (item_id) LEFT JOIN test_sessions AS s"
        " ON s.session_h = m.session_h WHERE i.item = $1",
        "SELECT FROM hosts AS h LEFT JOIN LATERAL"
        " (SELECT * FROM host_samples WHERE host = h.name ORDER BY at DESC LIMIT 1) AS s ON true",
        "SELECT FROM test_sessions AS s"
        " WHERE NOT EXISTS (SELECT FROM test_metrics AS m WHERE m.session_h = s.session_h)",
        "SELECT FROM test_metrics AS m WHERE m.session_h IN (SELECT session_h FROM test_sessions WHERE scm_ref = $1)",
        "INSERT INTO hosts (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET own = coalesce(excluded.own, $2)",
        "UPDATE test_sessions SET stated_at = now() WHERE session_h = $1 RETURNING session_h",
        "SELECT FROM test_sessions WHERE host IN (SELECT name FROM hosts)",
    ):
        assert faults(sql) == [], sql
