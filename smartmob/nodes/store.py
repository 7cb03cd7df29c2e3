"""The table of the feature `nodes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Database
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.nodes.model import NodeActivity, NodeFacts, StoredNode

PACKAGE = "smartmob.nodes"


class NodeStore:
    """Reads and writes nodes."""

    def __init__(self, database: Database, services: ServiceRegistry) -> None:
        self._database = database
        self._services = services
        self._sql = queries.load(PACKAGE)

    async def nodes(self) -> list[StoredNode]:
        """Return all nodes, ordered by name."""
        return [_node(dict(row)) for row in await self._database.fetch(self._sql["select_nodes"])]

    async def node(self, name: str) -> StoredNode | None:
        """Return a node, or None."""
        rows = await self._database.fetch(self._sql["select_node"], name)
        return _node(dict(rows[0])) if rows else None

    async def name_of(self, digest: bytes) -> str | None:
        """Return the name of the node whose key has this digest, or None."""
        rows = await self._database.fetch(self._sql["select_node_of_key"], digest)
        return str(rows[0]["name"]) if rows else None

    async def insert(self, name: str, digest: bytes, labels: Mapping[str, str], now: datetime) -> bool:
        """Store a node; return False when the name is taken."""
        return bool(await self._database.fetch(self._sql["insert_node"], name, digest, _json(labels), now))

    async def update(self, name: str, labels: Mapping[str, str] | None, drained: bool | None) -> bool:
        """Change a node; None leaves a field as it is. Return whether the node exists."""
        values = (name, None if labels is None else _json(labels), drained)
        return bool(await self._database.fetch(self._sql["update_node"], *values))

    async def delete(self, name: str) -> bool:
        """Delete a node; return whether it existed."""
        return bool(await self._database.fetch(self._sql["delete_node"], name))

    async def connected(self, name: str, facts: NodeFacts, now: datetime) -> None:
        """Record that this service holds the connection of a node."""
        await self._database.fetch(self._sql["connected"], name, self._services.id, now, _json(facts))

    async def set_activity(self, name: str, activity: NodeActivity) -> None:
        """Record the programs and jobs that a node has reported."""
        await self._database.fetch(self._sql["set_activity"], name, _json(activity))

    async def touch(self, names: Sequence[str], now: datetime) -> None:
        """Record that these nodes are still connected to this service."""
        await self._database.fetch(self._sql["touch"], self._services.id, list(names), now)

    async def disconnected(self, name: str, now: datetime) -> None:
        """Record that a node has disconnected, unless it has connected to another service meanwhile."""
        await self._database.fetch(self._sql["disconnected"], self._services.id, name, now)


def _node(fields: dict[str, Any]) -> StoredNode:
    fields["labels"] = msgspec.json.decode(fields["labels"], type=dict[str, str])
    fields["facts"] = msgspec.json.decode(fields["facts"], type=NodeFacts)
    fields["activity"] = msgspec.json.decode(fields["activity"], type=NodeActivity)
    return StoredNode(**fields)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
