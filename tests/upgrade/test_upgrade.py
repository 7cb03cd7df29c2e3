"""Every released schema can be brought up to date, and the service shows its data."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from smartmob.app import build
from smartmob.feature_settings import CommandsSettings, DatabaseSettings, HostsSettings, ProcessesSettings
from smartmob.kernel.db import migrations
from smartmob.kernel.maintenance import postgres_tools
from smartmob.kernel.maintenance.database_target import reach
from smartmob.settings import Settings
from smartmob.stored_features import MIGRATED_FEATURES
from tests.conftest import running
from tests.upgrade.make import FOLDER, fetch

RELEASES = sorted(FOLDER.glob("*.sql"))

_SHAPE = """
SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
FROM information_schema.columns WHERE table_schema = 'public' AND table_name !~ '_[0-9]+$'
UNION ALL
SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename !~ '_[0-9]+$'
"""


_NEWER_SETTING = re.compile(r"^SET transaction_timeout = 0;$", re.MULTILINE)
"""A line of dumps of PostgreSQL 17 and later, which earlier servers refuse."""


async def restore(dump: Path, url: str) -> None:
    """Execute a stored dump, on any version of PostgreSQL that the service can use."""
    known = migrations.collect(MIGRATED_FEATURES)
    with tempfile.NamedTemporaryFile("w", suffix=".sql", encoding="utf-8") as script:
        script.write(_NEWER_SETTING.sub("", dump.read_text(encoding="utf-8"), count=1))
        script.flush()
        async with reach(Settings(database=DatabaseSettings(url=url)), known) as target:
            tools = postgres_tools.find(target)
            options = ("-X", "-q", "--set=ON_ERROR_STOP=1", "--single-transaction", f"--file={script.name}")
            async with tools.run("psql", *options, "--dbname", tools.address) as process:
                assert process.stdout is not None
                await process.stdout.read()


async def _shape(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        return {row[0] for row in await connection.fetch(_SHAPE)}
    finally:
        await connection.close()


def _lacks(expected: Any, found: Any) -> str:
    """Return the paths at which `found` differs from `expected`. Additional values are new, and allowed."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return next((f".{key}{said}" for key, value in expected.items() if (said := _lacks(value, found.get(key)))), "")
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return next((f"[{number}]{said}" for number, (old, new) in pairs if (said := _lacks(old, new))), "")
    return "" if expected == found else f": {expected!r} is now {found!r}"


def test_each_stored_database_has_its_answers() -> None:
    """Each release has both files."""
    assert RELEASES
    assert all(dump.with_suffix(".json").exists() for dump in RELEASES)


@pytest.mark.usefixtures("true_hash_cost")
@pytest.mark.parametrize("dump", RELEASES, ids=lambda dump: dump.stem)
async def test_a_released_database_is_migrated_and_answers_the_same(
    dump: Path, empty_url: str, database_url: str, settings: Settings
) -> None:
    """Its tables have the shape of new ones."""
    await restore(dump, empty_url)
    unlimited = {
        "hosts": HostsSettings(keep_days=36_500, keep_minutes_days=36_500),
        "commands": CommandsSettings(keep_days=36_500),
        "processes": ProcessesSettings(keep_events_days=36_500),
    }
    upgraded = replace(settings, database=replace(settings.database, url=empty_url), **unlimited)
    async with running(build(upgraded)) as client:
        found = await fetch(str(client.make_url("")).rstrip("/"))
    assert _lacks(orjson.loads(dump.with_suffix(".json").read_bytes()), found) == ""
    assert await _shape(empty_url) == await _shape(database_url)


def test_lost_and_changed_values_are_reported_with_their_path() -> None:
    """A row, a field or a value may be lost or changed."""
    old = {"a": [{"b": 1}]}
    assert _lacks(old, {"a": [{"b": 1, "c": 2}], "d": 3}) == ""
    assert _lacks(old, {"a": []}).startswith(".a: ")
    assert _lacks(old, {"a": [{}]}) == ".a[0].b: 1 is now None"
    assert _lacks(old, {"a": [{"b": 2}]}) == ".a[0].b: 1 is now 2"
