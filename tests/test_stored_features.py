"""The packages that own tables."""

from __future__ import annotations

import importlib
from pathlib import Path

import smartmob
from smartmob.stored_features import MIGRATED_FEATURES, PARTITIONS


def test_each_package_with_migrations_is_listed() -> None:
    """A new one would have no tables; the order of those that are listed decides nothing."""
    root = Path(smartmob.__file__).parent
    found = {".".join(("smartmob", *path.parent.relative_to(root).parts)) for path in root.rglob("migrations")}
    assert set(MIGRATED_FEATURES.values()) == found
    assert all(importlib.import_module(package) for package in found)


def test_partitioned_tables_are_named_by_time() -> None:
    """Each has a format in which a later time has a greater name."""
    assert sorted(PARTITIONS) and all("%Y" in form for form in PARTITIONS.values())
