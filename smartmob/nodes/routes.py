"""The routes of the feature `nodes`: join, list, change, remove, the link, its streams, and the server of a node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from smartmob import __version__
from smartmob.errors import Conflict, InvalidInput, NotAuthenticated, Unavailable
from smartmob.kernel.auth.authenticator import OWNER, PRINCIPAL, TokenAuthenticator
from smartmob.kernel.auth.events import Credential
from smartmob.kernel.auth.model import CONTROL, INGEST, NODE, READ
from smartmob.kernel.http import ws_upgrade
from smartmob.kernel.http.bodies import BodyReader, decode, parameter, query
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import AUDITED, Answer, Route, RouteTable, answer, body
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.times import moment
from smartmob.nodes import protocol
from smartmob.nodes.links import Link
from smartmob.nodes.model import SERVICE_PREFIX, Holder, Joined, JoinRequest, Node, NodeUpdate, digest, matches
from smartmob.nodes.proxy import FORWARDED
from smartmob.nodes.records import NodeEvent, NodeJob
from smartmob.nodes.service import NodesService

log = get_logger()

_MAX_BYTES = 64 * 1024
_COMMANDS = "commands"
"""The path of the WebSocket by which commands are called."""
_CALLS = "/commands/"
"""The beginning of the paths by which single commands are called."""
_FIRST_SECONDS = 30.0
"""Seconds that a node has to describe itself after it has connected."""
_REASON_BYTES = 123
"""The maximum size of the reason in a close frame (RFC 6455, section 5.5)."""
_REASON_CHARACTERS = 500


_NOT_FOUND = Answer("There is no such node.")
_NO_SOCKET = Answer("The request is not a WebSocket handshake.")


class NodeList(msgspec.Struct, frozen=True):
    """Nodes in the order of their names."""

    nodes: list[Node]


class RecordQuery(msgspec.Struct, frozen=True):
    """The span of the records: from `since` until before `until`."""

    since: str = ""
    until: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000

    def span(self) -> tuple[datetime | None, datetime | None]:
        """Return both times; None means no limit. Raises InvalidInput."""
        now = clock.now()
        return (
            moment("since", self.since, now) if self.since else None,
            moment("until", self.until, now) if self.until else None,
        )


class NodeEvents(msgspec.Struct, frozen=True):
    """Process events, oldest first."""

    events: list[NodeEvent]


class NodeJobs(msgspec.Struct, frozen=True):
    """Jobs, newest first."""

    jobs: list[NodeJob]


class HolderQuery(msgspec.Struct, frozen=True):
    """A program or application by its name, or a job by its number."""

    program: Annotated[str, msgspec.Meta(min_length=1, max_length=500)] | None = None
    job: Annotated[int, msgspec.Meta(ge=1, le=2**62)] | None = None


class Holders(msgspec.Struct, frozen=True):
    """Machines in the order of their names: nodes, then other services."""

    machines: list[Holder]


class _Ended(Exception):
    """The link has ended."""


def table(service: NodesService, bodies: BodyReader, tokens: TokenAuthenticator) -> RouteTable:
    """Return the routes of the feature."""
    h = _Handlers(service, bodies, tokens)
    return RouteTable("nodes", (*_membership(h), *_finding(h), *_management(h), *_services(h)), prefixes=("/api/v1",))


def _membership(h: _Handlers) -> tuple[Route, ...]:
    """Return the routes that machines use: to join, and for their links and streams."""
    return (
        Route(
            "POST",
            "/nodes/join",
            h.join,
            "join",
            "Make a machine a node; the answer contains its key.",
            {201: answer(Joined), 409: Answer("The name is taken.")},
            body(JoinRequest, limit=_MAX_BYTES),
            roles=(NODE, CONTROL),
        ),
        Route(
            "GET",
            "/nodes/link",
            h.link,
            "node_link",
            "The link of a node: a WebSocket that the node opens with its key.",
            {101: Answer("The WebSocket is open."), 426: _NO_SOCKET, 401: Answer("The key is not valid.")},
            public=True,
        ),
        Route(
            "GET",
            "/nodes/streams/{stream}",
            h.stream,
            "node_stream",
            "A stream that the service has asked the node for: a WebSocket that the node opens with its key.",
            {101: Answer("The WebSocket is open."), 426: _NO_SOCKET, 404: Answer("There is no such stream.")},
            public=True,
        ),
    )


def _finding(h: _Handlers) -> tuple[Route, ...]:
    """Return the route that finds the machine of a program or job."""
    return (
        Route(
            "GET",
            "/machines",
            h.holders,
            "machines",
            "The nodes, and the other services on the database, that have a program, an application or a job.",
            {200: answer(Holders)},
            query=HolderQuery,
            of_nodes=True,
        ),
    )


def _management(h: _Handlers) -> tuple[Route, ...]:
    """Return the routes that list, show, change and remove nodes."""
    return (
        Route(
            "GET",
            "/nodes",
            h.nodes,
            "nodes",
            "The machines that have joined.",
            {200: answer(NodeList)},
            of_nodes=True,
        ),
        Route(
            "GET",
            "/nodes/{name}",
            h.node,
            "node",
            "A node.",
            {200: answer(Node), 404: _NOT_FOUND},
            of_nodes=True,
        ),
        Route(
            "GET",
            "/nodes/{name}/process-events",
            h.events,
            "node_process_events",
            "The events of the processes of a node, oldest first, also while it is not connected.",
            {200: answer(NodeEvents), 404: _NOT_FOUND},
            query=RecordQuery,
        ),
        Route(
            "GET",
            "/nodes/{name}/jobs",
            h.jobs,
            "node_jobs",
            "The jobs of a node, newest first, also while it is not connected.",
            {200: answer(NodeJobs), 404: _NOT_FOUND},
            query=RecordQuery,
        ),
        Route(
            "PATCH",
            "/nodes/{name}",
            h.update,
            "update_node",
            "Change the labels of a node, or drain it.",
            {200: answer(Node), 404: _NOT_FOUND},
            body(NodeUpdate, limit=_MAX_BYTES),
        ),
        Route(
            "DELETE",
            "/nodes/{name}",
            h.remove,
            "remove_node",
            "Remove a node; its key becomes invalid.",
            {204: Answer("The node was removed."), 404: _NOT_FOUND},
        ),
    )


def _services(h: _Handlers) -> tuple[Route, ...]:
    """Return the routes that pass requests on to the services of nodes."""
    passed_on = {
        200: Answer("The answer of the node."),
        404: _NOT_FOUND,
        503: Answer("The node is not connected."),
    }
    return tuple(
        Route(
            method,
            "/nodes/{name}/service/{rest}",
            h.pass_on,
            f"node_service_{method.lower()}",
            "Use the service of a node, or another one on the database by @ and its id, with the role of the token.",
            passed_on,
            roles=(READ, INGEST, CONTROL),
            rest=True,
            any_query=True,
            of_nodes=True,
        )
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    )


class _Handlers:
    """Handlers of nodes."""

    def __init__(self, service: NodesService, bodies: BodyReader, tokens: TokenAuthenticator) -> None:
        self._service = service
        self._bodies = bodies
        self._tokens = tokens
        self._join = msgspec.json.Decoder(JoinRequest)
        self._update = msgspec.json.Decoder(NodeUpdate)

    async def join(self, request: web.Request) -> web.StreamResponse:
        wanted = decode(self._join, await self._bodies.read(request))
        request[AUDITED] = wanted.name
        joined = await self._service.join(wanted)
        response = json_response(joined, 201)
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        return response

    async def nodes(self, _: web.Request) -> web.StreamResponse:
        only = _only_nodes()
        return json_response(NodeList([node for node in await self._service.nodes() if matches(node.labels, only)]))

    async def node(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.node(parameter(request, "name"), _only_nodes()))

    async def holders(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, HolderQuery)
        if (asked.program is None) is (asked.job is None):
            raise InvalidInput("give one of the query arguments `program` and `job`")
        return json_response(Holders(await self._service.holders(asked.program, asked.job, _only_nodes())))

    async def update(self, request: web.Request) -> web.StreamResponse:
        change = decode(self._update, await self._bodies.read(request))
        return json_response(await self._service.update(parameter(request, "name"), change))

    async def events(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, RecordQuery)
        name = parameter(request, "name")
        await self._service.node(name)
        return json_response(NodeEvents(await self._service.records.events(name, *asked.span(), asked.limit)))

    async def jobs(self, request: web.Request) -> web.StreamResponse:
        asked = query(request, RecordQuery)
        name = parameter(request, "name")
        await self._service.node(name)
        return json_response(NodeJobs(await self._service.records.jobs(name, *asked.span(), asked.limit)))

    async def remove(self, request: web.Request) -> web.StreamResponse:
        await self._service.remove(parameter(request, "name"))
        return web.Response(status=204)

    async def link(self, request: web.Request) -> web.StreamResponse:
        ws_upgrade.require(request)
        node = await self._node_of(request, self._service.authenticate)
        websocket = web.WebSocketResponse(
            heartbeat=protocol.HEARTBEAT_SECONDS,
            receive_timeout=None,
            compress=False,
            max_msg_size=protocol.MAX_MESSAGE_BYTES,
        )
        await ws_upgrade.accept(request, websocket)
        link = Link(node, websocket, clock.now(), digest=digest(_key(request)))
        try:
            first = await self._message(link, _FIRST_SECONDS)
            if not isinstance(first, protocol.Facts):
                raise InvalidInput("the first message of a link is `facts`")
            link.facts, link.secret = first.facts, first.secret
            await websocket.send_str(protocol.write(protocol.Welcome(node, __version__)))
            try:
                await self._service.connected(link)
                while True:
                    await self._handle(link, await self._message(link, None))
            finally:
                await self._service.disconnected(link)
        except _Ended:
            pass
        except InvalidInput as error:
            log.warning("node.malformed", node=node, reason=str(error)[:_REASON_CHARACTERS])
            await websocket.close(code=WSCloseCode.INVALID_TEXT, message=str(error).encode()[:_REASON_BYTES])
        except Unavailable as error:
            await websocket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=str(error).encode()[:_REASON_BYTES])
        except ConnectionError:
            pass  # the node is gone; it connects again
        return websocket

    async def _message(self, link: Link, seconds: float | None) -> protocol.FromNode | None:
        """Return the next message of a link, None for an unknown type; raises _Ended and InvalidInput."""
        try:
            received = await link.websocket.receive(timeout=seconds)
        except TimeoutError:
            raise InvalidInput(f"the node has sent nothing for {seconds:g} seconds") from None
        if received.type is WSMsgType.BINARY:
            raise InvalidInput("messages of a link are texts")
        if received.type is not WSMsgType.TEXT:
            raise _Ended
        try:
            return protocol.read_from_node(received.data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidInput(str(error)) from None

    async def _handle(self, link: Link, message: protocol.FromNode | None) -> None:
        now = clock.epoch()
        answer: protocol.FromService
        match message:
            case protocol.Clock():
                answer = protocol.ClockAnswer(message.sent, now, clock.epoch())
            case protocol.Account():
                try:
                    answer = protocol.ReportedHost(await self._service.admit_host(link, message.password))
                except Conflict as error:
                    log.warning("node.not_measured", node=link.node, reason=str(error))
                    return
            case protocol.Records():
                answer = protocol.Stored(await self._service.intake.store(link, message))
            case protocol.Activity():
                await self._service.keep_activity(link, message.activity)
                return
            case protocol.Facts():
                link.facts = message.facts
                return
            case None:
                return
        await link.websocket.send_str(protocol.write(answer))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        ws_upgrade.require(request)
        ident = parameter(request, "stream")
        self._service.links.check_stream(ident, await self._node_of(request, self._service.authenticate_stream))
        websocket = web.WebSocketResponse(
            heartbeat=protocol.HEARTBEAT_SECONDS, compress=False, max_msg_size=protocol.STREAM_MESSAGE_BYTES
        )
        await ws_upgrade.accept(request, websocket)
        await self._service.links.serve_stream(ident, websocket)
        return websocket

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        name, only = parameter(request, "name"), _only_nodes()
        with self._service.limited_requests.track(request, name, only):
            if only:
                await self._service.node(name, only)
            return await self._pass_on(request, name)

    async def _pass_on(self, request: web.Request, name: str) -> web.StreamResponse:
        prefix = f"/api/v1/nodes/{name}/service"
        _, _, target = request.raw_path.partition("/service/")
        if name.startswith(SERVICE_PREFIX):
            proxy = self._service.service_proxy(await self._service.other_service(name))
            return await proxy.pass_on(request, f"/{target}", prefix, PRINCIPAL.get() or OWNER)
        other = await self._service.holder(name)
        if other is not None:
            if FORWARDED in request.headers:
                raise Unavailable(f"the node {name} has just connected to another service", 1)
            proxy = self._service.service_proxy(other)
            return await proxy.pass_on(request, request.raw_path, "", PRINCIPAL.get() or OWNER)
        path = f"/{target.partition('?')[0]}"
        if self._service.guard.starts_work(request.method, path):
            self._service.guard.check(name)
        if request.method == "POST" and path.startswith(_CALLS):
            self._service.guard.check_call(path.removeprefix(_CALLS), name)
        proxy = self._service.proxy(name)
        message_filter = (
            self._service.call_recorder.of(name, request.remote or "")
            if target.partition("?")[0] == _COMMANDS
            else None
        )
        return await proxy.pass_on(request, f"/{target}", prefix, PRINCIPAL.get() or OWNER, message_filter)

    async def _node_of(self, request: web.Request, authenticate: Callable[[str], Awaitable[str]]) -> str:
        """Return the node whose key the request shows; raises NotAuthenticated and TooManyTries."""
        key = _key(request)
        credential = Credential(request.remote, f"Bearer {key}", "header", request.path)
        return await self._tokens.tries.check(credential, lambda: authenticate(key))


def _only_nodes() -> dict[str, str | None]:
    """Return the labels of the nodes that the client may use; empty if it may use all."""
    principal = PRINCIPAL.get()
    return {} if principal is None else dict(principal.only_nodes)


def _key(request: web.Request) -> str:
    """Return the key that a request shows; raises NotAuthenticated."""
    scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer":
        raise NotAuthenticated
    return key.strip()
