"""The use cases of nodes: names, keys, removal."""

from __future__ import annotations

import pytest

from smartmob.errors import Conflict, NotAuthenticated, NotFound, Unavailable
from smartmob.kernel.db.database import Database
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.nodes.model import JoinRequest, NodeUpdate
from smartmob.nodes.record_intake import RecordIntake, Retention
from smartmob.nodes.record_store import RecordStore
from smartmob.nodes.service import NodesService
from smartmob.nodes.store import NodeStore
from smartmob.settings import Settings


class NoHosts:
    """The feature `hosts` of a service whose nodes report nothing."""

    async def admit_node(self, node: str, password: str) -> str:
        """Return the name of the node."""
        return node


@pytest.fixture(name="service")
def _service(database: Database) -> NodesService:
    services = ServiceRegistry(database, Settings(service_name="here"))
    nodes, records = NodeStore(database, services), RecordStore(database)
    return NodesService(nodes, services, records, NoHosts(), RecordIntake(records, Retention(1.0, 1.0)), bus=EventBus())


async def test_a_key_is_valid_until_its_node_is_removed(service: NodesService) -> None:
    """It names its node, and no other key does."""
    joined = await service.join(JoinRequest(name="rack7", labels={"gpu": ""}))
    assert await service.authenticate(joined.key) == "rack7"
    for wrong in ("", "smn_", joined.key[:-1], "\udc80"):
        with pytest.raises(NotAuthenticated):
            await service.authenticate(wrong)
    await service.remove("rack7")
    with pytest.raises(NotAuthenticated):
        await service.authenticate(joined.key)


async def test_a_taken_name_is_refused_with_what_to_do(service: NodesService) -> None:
    """The first node keeps its key."""
    first = await service.join(JoinRequest(name="rack7"))
    with pytest.raises(Conflict, match="smartmob nodes rm rack7"):
        await service.join(JoinRequest(name="rack7"))
    assert await service.authenticate(first.key) == "rack7"


async def test_a_node_that_is_not_there_is_named(service: NodesService) -> None:
    """Each use case names it, and says whether it is unknown or away."""
    for use in (
        service.node("none"),
        service.update("none", NodeUpdate()),
        service.remove("none"),
        service.holder("none"),
    ):
        with pytest.raises(NotFound, match="there is no node none"):
            await use
    await service.join(JoinRequest(name="rack7"))
    with pytest.raises(Unavailable, match="rack7 is not connected"):
        await service.holder("rack7")
    assert not (await service.node("rack7")).connected


async def test_a_change_leaves_what_it_does_not_name(service: NodesService) -> None:
    """Labels are replaced as a whole, and the drained state is separate."""
    await service.join(JoinRequest(name="rack7", labels={"gpu": ""}))
    assert (await service.update("rack7", NodeUpdate(drained=True))).labels == {"gpu": ""}
    node = await service.update("rack7", NodeUpdate(labels={"rack": "7"}))
    assert (node.labels, node.drained) == ({"rack": "7"}, True)
