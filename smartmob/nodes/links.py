"""The links of the nodes that are connected to this service, and the streams that are opened over them."""

from __future__ import annotations

import asyncio
import secrets
import socket as sockets
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from aiohttp import WSCloseCode, web

from smartmob.errors import NotFound, Unavailable
from smartmob.nodes import protocol
from smartmob.nodes.model import NodeActivity, NodeFacts
from smartmob.nodes.pipe import pipe

_DIAL_SECONDS = 15.0
"""Seconds within which a node must dial a stream back."""
_MOST_STREAMS = 1_000
"""Streams of one node at the same time; each is a separate connection at both ends."""
REPLACED = 4001
"""Close code of a link whose node has connected again."""


@dataclass(slots=True)
class Link:
    """The link of one connected node."""

    node: str
    websocket: web.WebSocketResponse
    connected_at: datetime
    facts: NodeFacts = field(default_factory=NodeFacts)
    activity: NodeActivity = field(default_factory=NodeActivity)
    secret: str = ""
    digest: bytes = field(default=b"", repr=False)
    """The SHA-256 of the key by which the link was opened."""
    streams: int = 0


class _Stream(msgspec.Struct, frozen=True):
    """A stream that its node has not dialled back yet."""

    link: Link
    dialled: asyncio.Future[sockets.socket]


class NodeLinks:
    """The links by the names of their nodes."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}
        self._by_digest: dict[bytes, Link] = {}
        self._waiting: dict[str, _Stream] = {}
        self._streams: set[web.WebSocketResponse] = set()

    def __contains__(self, node: str) -> bool:
        return node in self._links

    def names(self) -> list[str]:
        """Return the names of the connected nodes."""
        return list(self._links)

    def find(self, node: str) -> Link | None:
        """Return the link of a node, or None."""
        return self._links.get(node)

    def node_of(self, digest: bytes) -> str | None:
        """Return the connected node whose key has this digest, or None."""
        link = self._by_digest.get(digest)
        return None if link is None else link.node

    async def add(self, link: Link) -> None:
        """Add the link of a node; an older one of the same node is closed."""
        old, self._links[link.node] = self._links.get(link.node), link
        if link.digest:
            self._by_digest[link.digest] = link
        if old is not None:
            await old.websocket.close(code=REPLACED, message=b"the node has connected again")

    def remove(self, link: Link) -> bool:
        """Remove a link; return False if another one of the node has replaced it."""
        if self._by_digest.get(link.digest) is link:
            del self._by_digest[link.digest]
        if self._links.get(link.node) is not link:
            return False
        del self._links[link.node]
        for stream in [stream for stream in self._waiting.values() if stream.link is link]:
            if not stream.dialled.done():
                stream.dialled.set_exception(_lost(link.node))
        return True

    async def close(self, node: str, code: int = WSCloseCode.GOING_AWAY, reason: str = "") -> None:
        """Close the link of a node, if it is connected."""
        link = self._links.get(node)
        if link is not None:
            await link.websocket.close(code=code, message=reason.encode())

    async def close_all(self) -> None:
        """Close all links and streams."""
        await asyncio.gather(*(self.close(node, reason="the service is stopping") for node in self.names()))
        await asyncio.gather(*(websocket.close() for websocket in tuple(self._streams)))

    async def open_stream(self, node: str) -> sockets.socket:
        """Return a socket that is connected with the HTTP server of a node; raises Unavailable."""
        link = self._links.get(node)
        if link is None:
            raise Unavailable(f"the node {node} is not connected")
        if link.streams >= _MOST_STREAMS:
            raise Unavailable(f"{_MOST_STREAMS} requests use the node {node} already; try again in a moment")
        link.streams += 1
        try:
            return await self._open(link)
        except BaseException:
            link.streams -= 1
            raise

    async def _open(self, link: Link) -> sockets.socket:
        node = link.node
        ident = secrets.token_urlsafe(24)
        stream = _Stream(link, asyncio.get_running_loop().create_future())
        self._waiting[ident] = stream
        try:
            await link.websocket.send_str(protocol.write(protocol.Open(ident)))
            async with asyncio.timeout(_DIAL_SECONDS):
                return await stream.dialled
        except TimeoutError:
            raise Unavailable(f"the node {node} has not opened a stream within {_DIAL_SECONDS:g} seconds") from None
        except ConnectionError:
            raise _lost(node) from None
        finally:
            del self._waiting[ident]

    def check_stream(self, ident: str, node: str) -> None:
        """Raise NotFound unless the stream waits for this node."""
        stream = self._waiting.get(ident)
        if stream is None or stream.link.node != node or stream.dialled.done():
            raise NotFound("there is no such stream")

    async def serve_stream(self, ident: str, websocket: web.WebSocketResponse) -> None:
        """Use the WebSocket that a node has dialled back, and return when its stream has ended."""
        stream = self._waiting.get(ident)
        if stream is None or stream.dialled.done():
            return  # the request has been given up meanwhile
        ours, theirs = sockets.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        stream.dialled.set_result(ours)
        self._streams.add(websocket)
        try:
            await pipe(websocket, theirs)
        finally:
            stream.link.streams -= 1
            self._streams.discard(websocket)


def _lost(node: str) -> Unavailable:
    return Unavailable(f"the connection to the node {node} was lost")
