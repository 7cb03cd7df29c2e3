"""The placement of a table in a distributed database: on the coordinator, on each node, or in shards by a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

import msgspec


class Whole(Enum):
    """The placements of a table without shards."""

    LOCAL = "local"
    """On the coordinator alone: small, or with row locks and unique indexes that shards cannot have."""
    REFERENCE = "reference"
    """A copy on each node, so that it can be joined with all shards."""


class Sharded(msgspec.Struct, frozen=True):
    """In shards by the hash of a column. Tables of the same group have the same shards, so they can be joined by it."""

    group: str
    column: str


Placement = Whole | Sharded

LOCAL, REFERENCE = Whole.LOCAL, Whole.REFERENCE


def groups(placements: Mapping[str, Placement]) -> dict[str, list[str]]:
    """Return the names of the sharded tables of each group, in their order."""
    found: dict[str, list[str]] = {}
    for table, placement in placements.items():
        if isinstance(placement, Sharded):
            found.setdefault(placement.group, []).append(table)
    return found


def distributed(placements: Mapping[str, Placement]) -> Iterator[str]:
    """Yield the tables that are not local: first the reference tables, because the others are joined with them."""
    yield from (table for table, placement in placements.items() if placement is REFERENCE)
    for tables in groups(placements).values():
        yield from tables
