"""The use cases of nodes: join, list, change and remove them, hold their links, and reach their servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Set

from smartmob.errors import Conflict, NotAuthenticated, NotFound, Unavailable
from smartmob.kernel.audit import recorded_calls
from smartmob.kernel.audit.events import CommandCalled
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.nodes.links import Link, NodeLinks
from smartmob.nodes.model import Joined, JoinRequest, Node, NodeUpdate, StoredNode, digest, make_key, matches
from smartmob.nodes.proxy import NodeProxy
from smartmob.nodes.store import NodeStore

log = get_logger()

_REFRESH_SECONDS = 10.0
"""The interval at which connected nodes are recorded, and nodes that were removed by another service are cut off."""
REMOVED = 4003
"""Close code of the link of a node that was removed: its key is not valid any more."""


class NodesService:
    """Keeps the nodes and their links. A node is connected to one service at a time."""

    def __init__(self, store: NodeStore, services: ServiceRegistry, bus: EventBus) -> None:
        self._bus = bus
        self.links = NodeLinks()
        self._store = store
        self._services = services
        self._proxies: dict[str, tuple[Link, NodeProxy]] = {}

    async def join(self, request: JoinRequest) -> Joined:
        """Make a node with a key of its own; raises Conflict when the name is taken."""
        key = make_key()
        if not await self._store.insert(request.name, digest(key), request.labels, clock.now()):
            raise Conflict(
                f"there is a node {request.name} already; choose another name with --name, "
                f"or remove that one first: smartmob nodes rm {request.name}"
            )
        log.info("node.joined", node=request.name)
        return Joined(name=request.name, key=key)

    async def authenticate(self, key: str) -> str:
        """Return the name of the node that has this key; raises NotAuthenticated."""
        name = await self._store.name_of(digest(key))
        if name is None:
            raise NotAuthenticated
        return name

    async def authenticate_stream(self, key: str) -> str:
        """Return the name of the connected node that has this key; raises NotAuthenticated.

        The link knows the key of its node, so that a stream costs no query.
        """
        name = self.links.node_of(digest(key))
        return await self.authenticate(key) if name is None else name

    async def nodes(self) -> list[Node]:
        """Return all nodes in the order of their names."""
        running = await self._running()
        return [self._shown(stored, running) for stored in await self._store.nodes()]

    async def _running(self) -> set[str | None]:
        """Return the ids of the other services that run."""
        return {other.id for other in await self._services.others() if other.runs}

    async def node(self, name: str, only: Mapping[str, str | None] | None = None) -> Node:
        """Return a node; raises NotFound, also for one without the labels `only`."""
        stored = await self._store.node(name)
        if stored is None or not matches(stored.labels, only or {}):
            raise _not_found(name)
        return self._shown(stored, await self._running())

    async def update(self, name: str, change: NodeUpdate) -> Node:
        """Change labels or the drained state of a node; raises NotFound."""
        if not await self._store.update(name, change.labels, change.drained):
            raise _not_found(name)
        return await self.node(name)

    async def remove(self, name: str) -> None:
        """Remove a node: its key is not valid any more, and its link is closed. Raises NotFound."""
        if not await self._store.delete(name):
            raise _not_found(name)
        log.info("node.removed", node=name)
        await self.links.close(name, REMOVED, "the node was removed")

    async def connected(self, link: Link) -> None:
        """Use a new link; the one that the node had before is closed."""
        await self.links.add(link)
        await self._store.connected(link.node, link.facts, clock.now())
        log.info("node.connected", node=link.node, version=link.facts.version)

    async def disconnected(self, link: Link) -> None:
        """Forget a link that has ended."""
        await self._close_proxy(link)
        if self.links.remove(link):
            log.info("node.disconnected", node=link.node)
            await self._store.disconnected(link.node, clock.now())

    async def proxy(self, name: str) -> NodeProxy:
        """Return the HTTP client of a connected node; raises NotFound and Unavailable."""
        link = self.links.find(name)
        if link is None:
            node = await self.node(name)
            seen = f", last seen {node.seen_at:%Y-%m-%d %H:%M:%S} UTC" if node.seen_at else ""
            where = "connected to another service of this database" if node.connected else f"not connected{seen}"
            raise Unavailable(f"the node {name} is {where}")
        found = self._proxies.get(name)
        if found is None or found[0] is not link:
            made = NodeProxy(lambda: self.links.open_stream(name), link.secret)
            self._proxies[name] = (link, made)
            return made
        return found[1]

    def tap(self, node: str, client: str) -> Callable[[str], None]:
        """Return the function that publishes the calls among the messages for the commands of a node."""

        def look(text: str) -> None:
            called = recorded_calls.read(text)
            if called is not None:
                self._bus.publish(CommandCalled(called[0], called[1], client, "passed on", node))

        return look

    async def run_refresh(self) -> None:
        """Background task: record which nodes are connected, and cut off those that another service has removed."""
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                await self._store.touch(self.links.names(), clock.now())
                stored = {node.name for node in await self._store.nodes()}
            except Unavailable as error:
                log.warning("node.not_recorded", reason=str(error))
                continue
            for name in set(self.links.names()) - stored:
                await self.links.close(name, REMOVED, "the node was removed")

    async def stop(self) -> None:
        """Close all links; the nodes connect again, to this service or to another one."""
        await self.links.close_all()
        for link, _ in list(self._proxies.values()):
            await self._close_proxy(link)

    async def _close_proxy(self, link: Link) -> None:
        found = self._proxies.get(link.node)
        if found is not None and found[0] is link:
            del self._proxies[link.node]
            await found[1].close()

    def _shown(self, stored: StoredNode, running: Set[str | None]) -> Node:
        here = stored.name in self.links
        link = self.links.find(stored.name)
        return Node(
            name=stored.name,
            labels=stored.labels,
            connected=here or stored.service in running,
            drained=stored.drained,
            joined_at=stored.joined_at,
            seen_at=clock.now() if here else stored.seen_at,
            facts=stored.facts if link is None else link.facts,
        )


def _not_found(name: str) -> NotFound:
    return NotFound(f"there is no node {name}; GET /api/v1/nodes lists them")
