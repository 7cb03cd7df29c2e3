"""The use cases of nodes: join, list, change and remove them, hold their links, and reach their servers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from typing import Protocol

import msgspec

from smartmob.errors import Conflict, NotAuthenticated, NotFound, Unavailable
from smartmob.kernel.auth.node_access import service_secret
from smartmob.kernel.auth.reservation_guard import ReservationGuard
from smartmob.kernel.http.relay import StreamConnector
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.services.service_registry import OtherService, ServiceRegistry
from smartmob.nodes.call_recorder import CallRecorder
from smartmob.nodes.limited_requests import LimitedRequests
from smartmob.nodes.links import Link, NodeLinks
from smartmob.nodes.model import (
    SERVICE_PREFIX,
    Holder,
    Joined,
    JoinRequest,
    Node,
    NodeActivity,
    NodeUpdate,
    StoredNode,
    digest,
    has,
    make_key,
    matches,
)
from smartmob.nodes.proxy import NodeProxy, service_connector
from smartmob.nodes.record_intake import RecordIntake
from smartmob.nodes.record_store import RecordStore
from smartmob.nodes.store import NodeStore

log = get_logger()

_REFRESH_SECONDS = 10.0
"""The interval at which connected nodes are recorded, and changes by other services are read."""
REMOVED = 4003
"""Close code of the link of a node that was removed: its key is not valid any more."""


class Hosts(Protocol):
    """The feature `hosts`, with the methods that nodes need."""

    async def admit_node(self, node: str, password: str) -> str:
        """Let a node report its load with this password; return the name of its machine. Raises Conflict."""


class NodesService:
    """Keeps the nodes, their links and their records. A node is connected to one service at a time."""

    def __init__(
        self,
        store: NodeStore,
        services: ServiceRegistry,
        records: RecordStore,
        hosts: Hosts,
        intake: RecordIntake,
        *,
        bus: EventBus,
        token: str | None = None,
        guard: ReservationGuard | None = None,
    ) -> None:
        """`token` is that of this service; the other services on the database have the same token."""
        self.guard = guard or ReservationGuard()
        self.call_recorder = CallRecorder(self.guard, bus)
        self.links = NodeLinks()
        self.limited_requests = LimitedRequests()
        self._token = token
        self.records = records
        self._hosts = hosts
        self.intake = intake
        self._store = store
        self._services = services
        self._proxies: dict[str, tuple[Link, NodeProxy]] = {}
        self._service_proxies: dict[str, tuple[str, NodeProxy]] = {}

    async def join(self, request: JoinRequest) -> Joined:
        """Make a node with a key of its own; raises Conflict if a node with another key has the name."""
        key = request.key or make_key()
        if request.key is not None and (known := await self._store.name_of(digest(key))) is not None:
            if known != request.name:
                raise Conflict(f"this is the key of the node {known}")
            return Joined(name=known, key=key)
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

        The link knows the key of its node, so a stream needs no query of the database.
        """
        name = self.links.node_of(digest(key))
        return await self.authenticate(key) if name is None else name

    async def nodes(self) -> list[Node]:
        """Return all nodes in the order of their names."""
        running = await self._running()
        return [self._shown(stored, running) for stored in await self._store.nodes()]

    async def with_activity(self) -> list[tuple[Node, NodeActivity]]:
        """Return all nodes with their programs and running jobs, in the order of their names."""
        running, links = await self._running(), self.links
        return [
            (self._shown(each, running), each.activity if (link := links.find(each.name)) is None else link.activity)
            for each in await self._store.nodes()
        ]

    async def services_with_activity(self) -> list[tuple[OtherService, NodeActivity]]:
        """Return the other services on the database with their programs and running jobs, in the order of their ids."""
        found = await self._services.activities()
        others = sorted(await self._services.others(), key=lambda other: other.id) if found else []
        return [
            (other, msgspec.json.decode(found[other.id], type=NodeActivity)) for other in others if other.id in found
        ]

    async def holders(self, program: str | None, job: int | None, only: Mapping[str, str | None]) -> list[Holder]:
        """Return the nodes and other services that have this program, application or job, in the order of their names.

        With labels `only`, only nodes that have these labels.
        """
        recorded = set() if job is None else await self.records.nodes_of_job(job)
        found = [
            Holder(node.name, node.connected)
            for node, activity in await self.with_activity()
            if matches(node.labels, only) and (node.name in recorded or has(activity, program, job))
        ]
        services = [] if only else await self.services_with_activity()
        return found + [
            Holder(SERVICE_PREFIX + other.id, other.runs) for other, activity in services if has(activity, program, job)
        ]

    async def other_service(self, name: str) -> OtherService:
        """Return the other service of a name that begins with SERVICE_PREFIX; raises NotFound."""
        for other in await self._services.others():
            if SERVICE_PREFIX + other.id == name:
                return other
        raise NotFound(f"there is no other service {name.removeprefix(SERVICE_PREFIX)} on this database")

    async def keep_activity(self, link: Link, activity: NodeActivity) -> None:
        """Record the programs and jobs that a node has reported. Raises Unavailable."""
        link.activity = activity
        await self._store.set_activity(link.node, activity)

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
        self.limited_requests.cut_unmatched({node.name: node.labels for node in await self._store.nodes()})
        return await self.node(name)

    async def remove(self, name: str) -> None:
        """Remove a node: its key is not valid any more, and its link is closed. Raises NotFound."""
        if not await self._store.delete(name):
            raise _not_found(name)
        await self.records.delete(name)
        log.info("node.removed", node=name)
        await self.links.close(name, REMOVED, "the node was removed")

    async def admit_host(self, link: Link, password: str) -> str:
        """Let a node report its load; return the name of its machine. Raises Conflict and Unavailable."""
        return await self._hosts.admit_node(link.node, password)

    async def connected(self, link: Link) -> None:
        """Use a new link, and close the previous one of the node."""
        await self.links.add(link)
        await self._store.connected(link.node, link.facts, clock.now())
        log.info("node.connected", node=link.node, version=link.facts.version)

    async def disconnected(self, link: Link) -> None:
        """Forget a link that has ended."""
        await self._close_proxy(link)
        if self.links.remove(link):
            log.info("node.disconnected", node=link.node)
            await self._store.disconnected(link.node, clock.now())

    async def holder(self, name: str) -> OtherService | None:
        """Return the other service that holds the link of a node, or None if this one does.

        Raises NotFound, and Unavailable when the node is not connected.
        """
        if name in self.links:
            return None
        stored = await self._store.node(name)
        if stored is None:
            raise _not_found(name)
        for other in await self._services.others():
            if other.id == stored.service and other.runs:
                return other
        seen = f", last seen {stored.seen_at:%Y-%m-%d %H:%M:%S} UTC" if stored.seen_at else ""
        raise Unavailable(f"the node {name} is not connected{seen}")

    def service_proxy(self, other: OtherService) -> NodeProxy:
        """Return the HTTP client of another service on the database; raises Unavailable if it has no address."""
        if other.address is None:
            raise Unavailable(
                f"the node is connected to the service {other.id} on {other.machine}, which has no address for other "
                "services; start it with --service-url"
            )
        found = self._service_proxies.get(other.id)
        if found is None or found[0] != other.address:
            secret = service_secret(self._token or "", other.id)
            name = f"the service {other.id} on {other.machine}"
            found = other.address, NodeProxy(service_connector(), secret, other.address.rstrip("/"), name)
            self._service_proxies[other.id] = found
        return found[1]

    def proxy(self, name: str) -> NodeProxy:
        """Return the HTTP client of a node that is connected to this service; raises Unavailable."""
        link = self.links.find(name)
        if link is None:
            raise Unavailable(f"the connection to the node {name} was lost")
        found = self._proxies.get(name)
        if found is None or found[0] is not link:
            made = NodeProxy(StreamConnector(lambda: self.links.open_stream(name)), link.secret)
            self._proxies[name] = (link, made)
            return made
        return found[1]

    async def run_refresh(self) -> None:
        """Background task: record which nodes are connected, and apply removals and changes by other services."""
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                await self._store.touch(self.links.names(), clock.now())
                stored = {node.name: node.labels for node in await self._store.nodes()}
            except Unavailable as error:
                log.warning("node.not_recorded", reason=str(error))
                continue
            self.limited_requests.cut_unmatched(stored)
            for name in set(self.links.names()) - set(stored):
                await self.links.close(name, REMOVED, "the node was removed")

    async def stop(self) -> None:
        """Close all links; the nodes connect again, to this service or to another one."""
        await self.links.close_all()
        for link, _ in list(self._proxies.values()):
            await self._close_proxy(link)
        for _, proxy in self._service_proxies.values():
            await proxy.close()

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
