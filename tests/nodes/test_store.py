"""The table of nodes."""

from __future__ import annotations

from datetime import UTC, datetime

from smartmob.kernel.db.database import Database
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.nodes.model import NodeFacts
from smartmob.nodes.store import NodeStore
from smartmob.settings import Settings

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def _store(database: Database, service: str = "here") -> NodeStore:
    return NodeStore(database, ServiceRegistry(database, Settings(service_name=service)))


async def test_a_node_is_read_as_it_was_written(database: Database) -> None:
    """A name is stored once; labels and facts are kept."""
    store = _store(database)
    assert await store.insert("rack7", b"digest", {"gpu": "", "rack": "7"}, NOW)
    assert not await store.insert("rack7", b"other", {}, NOW)
    await store.connected("rack7", NodeFacts(version="1", cpus=4), NOW)
    [node] = await store.nodes()
    assert (node.digest, node.labels, node.service) == (b"digest", {"gpu": "", "rack": "7"}, "here")
    assert node.facts.cpus == 4
    assert await store.update("rack7", None, True)
    assert await store.update("rack7", {"a": "b"}, None)
    [node] = await store.nodes()
    assert (node.labels, node.drained) == ({"a": "b"}, True)
    assert await store.delete("rack7")
    assert not await store.delete("rack7")
    assert not await store.update("rack7", {}, None)


async def test_a_node_that_has_moved_to_another_service_is_left_alone(database: Database) -> None:
    """The end of its old connection does not hide the new one."""
    here, there = _store(database), _store(database, "there")
    await here.insert("rack7", b"digest", {}, NOW)
    await here.connected("rack7", NodeFacts(), NOW)
    await there.connected("rack7", NodeFacts(), NOW)
    await here.disconnected("rack7", NOW)
    await here.touch(["rack7"], datetime(2027, 1, 1, tzinfo=UTC))
    [node] = await there.nodes()
    assert (node.service, node.seen_at) == ("there", NOW)
