"""Nodes that lie, and a service that lies to its nodes: each costs only itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from smartmob.client.node_key import Membership, NodeKey, write_key
from smartmob.client.node_link import LocalServer, NodeLink
from smartmob.kernel.auth.node_access import make_secret
from smartmob.kernel.runtime import clock
from smartmob.nodes import links, protocol
from smartmob.nodes.model import NodeFacts
from tests.nodes import conftest as nodes
from tests.nodes.conftest import AUTHORIZED, Lab
from tests.waiting import SECONDS, until

_lab = nodes._lab
"""The fixture `lab`."""

LINK = "/api/v1/nodes/link"
FACTS = protocol.write(protocol.Facts(NodeFacts(), "a-secret-of-the-link"))


async def _key(lab: Lab, name: str) -> dict[str, str]:
    async with lab.client.post("/api/v1/nodes/join", headers=AUTHORIZED, json={"name": name}) as answer:
        return {"Authorization": f"Bearer {(await answer.json())['key']}"}


async def _closed(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """Return the close code when the service has closed the link."""
    async with asyncio.timeout(SECONDS):
        while (await socket.receive()).type not in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
            pass
    return socket.close_code


RUBBISH: tuple[tuple[str | bytes, ...], ...] = (
    ("",), ("{",), ("null",), ('{"type": "clock", "sent": 1}',), (b"\0\1",), ("[" * 100_000,),
    ('{"type": "facts", "facts": {"cpus": -1}, "secret": "a-secret-of-the-link"}',),
    (FACTS, "{"), (FACTS, b"x"), (FACTS, '{"type": "clock", "sent": "now"}'), (FACTS, '{"type": "records"}'),
    (FACTS, '{"type": "account", "password": "short"}'),
    (FACTS, "x" * (protocol.MAX_MESSAGE_BYTES + 1)),
)  # fmt: skip
"""The messages of hostile nodes; the last one of each is rubbish or too long."""


async def test_a_node_that_sends_rubbish_loses_its_link_alone(lab: Lab) -> None:
    """It is told why, the link of another node stays, and nothing of it is stored."""
    hostile, good = await _key(lab, "hostile"), await _key(lab, "good")
    async with lab.client.ws_connect(LINK, headers=good) as other:
        await other.send_str(FACTS)
        for messages in RUBBISH:
            async with lab.client.ws_connect(LINK, headers=hostile) as socket:
                for message in messages:
                    await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
                assert await _closed(socket) in (aiohttp.WSCloseCode.INVALID_TEXT, 1009), messages[-1][:50]
        await other.send_str(protocol.write(protocol.Clock(1.0)))
        answers = [protocol.read_from_service((await other.receive()).data) for _ in range(2)]
        assert isinstance(answers[1], protocol.ClockAnswer)
        assert (await lab.node("good"))["connected"]
    assert (await lab.get("/api/v1/nodes/hostile/process-events"))["events"] == []


async def test_records_that_are_not_valid_do_not_stop_those_behind_them(lab: Lab) -> None:
    """A node stores events for itself only, whatever it writes into them."""
    record = {"slug": "a", "at": "2026-11-23T09:00:00Z", "kind": "started", "node": "another"}
    good = msgspec.json.encode({"id": "00000000-0000-0000-0000-000000000001", "event": record})
    values = (b"{}", b'{"id": 1}', good, b"[]")
    records = [protocol.Record(n, "process_event", msgspec.Raw(value)) for n, value in enumerate(values, start=1)]
    async with lab.client.ws_connect(LINK, headers=await _key(lab, "hostile")) as socket:
        await socket.send_str(FACTS)
        await socket.receive()
        await socket.send_str(protocol.write(protocol.Records("j", records)))
        assert protocol.read_from_service((await socket.receive()).data) == protocol.Stored(4)
    [event] = (await lab.get("/api/v1/nodes/hostile/process-events"))["events"]
    assert (event["node"], event["slug"]) == ("hostile", "a")


async def test_a_node_that_does_not_dial_back_costs_its_own_requests(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request ends with 503; another node cannot dial its stream, and neither can a client with the token."""
    monkeypatch.setattr(links, "_DIAL_SECONDS", 0.5)
    other = await _key(lab, "other")
    async with lab.client.ws_connect(LINK, headers=await _key(lab, "silent")) as socket:
        await socket.send_str(FACTS)
        await socket.receive()
        asking = asyncio.ensure_future(lab.client.get("/api/v1/nodes/silent/service/ready", headers=AUTHORIZED))
        opened = protocol.read_from_service((await socket.receive()).data)
        assert isinstance(opened, protocol.Open)
        path = f"/api/v1/nodes/streams/{opened.stream}"
        for headers, status in ((other, 404), (AUTHORIZED, 401), ({}, 401)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await lab.client.ws_connect(path, headers=headers)
            assert refused.value.status == status
        async with await asking as answer:
            assert answer.status == 503
            assert "has not opened a stream" in (await answer.json())["detail"]


async def test_requests_for_one_node_are_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the bound they are refused at once, and nothing is asked of the node."""
    monkeypatch.setattr(links, "_MOST_STREAMS", 1)
    async with lab.client.ws_connect(LINK, headers=await _key(lab, "busy")) as socket:
        await socket.send_str(FACTS)
        await socket.receive()
        first = asyncio.ensure_future(lab.client.get("/api/v1/nodes/busy/service/ready", headers=AUTHORIZED))
        await socket.receive()
        async with lab.client.get("/api/v1/nodes/busy/service/ready", headers=AUTHORIZED) as answer:
            assert answer.status == 503
            assert "use the node busy already" in (await answer.json())["detail"]
        await socket.close()
        async with await first as answer:
            assert answer.status == 503


async def test_two_machines_with_one_key_replace_each_other(lab: Lab) -> None:
    """The first is told by a code of its own, and the second is used."""
    key = await _key(lab, "copied")
    async with lab.client.ws_connect(LINK, headers=key) as first, lab.client.ws_connect(LINK, headers=key) as second:
        await first.send_str(FACTS)
        await first.receive()
        await second.send_str(FACTS)
        assert await _closed(first) == links.REPLACED
        assert (await lab.node("copied"))["connected"]


class HostileLab:
    """A service that accepts every link, and says what it wants."""

    def __init__(self, *messages: str) -> None:
        self._messages = messages
        self.links = 0
        self.dialled = 0

    async def link(self, request: web.Request) -> web.WebSocketResponse:
        """Send the messages, and wait until the node closes."""
        self.links += 1
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        for message in self._messages:
            await websocket.send_str(message)
        async for _ in websocket:
            pass
        return websocket

    async def stream(self, _: web.Request) -> web.Response:
        """Count the streams that are dialled, and refuse them."""
        self.dialled += 1
        return web.Response(status=404)

    def server(self) -> TestServer:
        """Return the server."""
        app = web.Application()
        app.add_routes([web.get(LINK, self.link), web.get("/api/v1/nodes/streams/{id}", self.stream)])
        return TestServer(app)


@pytest.mark.parametrize(
    "message", ["{", '{"type": "open"}', '{"type": "stored", "number": "all"}', "[" * 100_000, "x" * 2**21]
)
async def test_a_node_survives_a_service_that_sends_rubbish(tmp_path: Path, message: str) -> None:
    """It closes the link, and dials again later."""
    lab = HostileLab(message)
    async with lab.server() as server:
        node, said = _node(str(server.make_url("")).rstrip("/"), tmp_path)
        running = asyncio.ensure_future(node.run())
        await until(lambda: lab.links == 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert said


async def test_a_node_dials_only_streams_of_its_own_service(tmp_path: Path) -> None:
    """The id of a stream does not lead to another path, and the streams are bounded."""
    outside = protocol.write(protocol.Open("../../../elsewhere?x=1#"))
    lab = HostileLab(outside, *(protocol.write(protocol.Open(f"s{n}")) for n in range(3_000)))
    async with lab.server() as server:
        node, _ = _node(str(server.make_url("")).rstrip("/"), tmp_path)
        running = asyncio.ensure_future(node.run())
        await until(lambda: lab.dialled >= 500)
        assert len(node._streams) <= 1_000
        assert lab.links == 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _node(url: str, folder: Path) -> tuple[NodeLink, list[str]]:
    write_key(folder / "node.json", NodeKey(url, "rack7", "smn_key"))
    said: list[str] = []

    def start(_: str, work: Any) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work)

    async def accept(_: Any) -> None:
        raise AssertionError("no stream is opened")

    server = LocalServer(start, accept, lambda _: None, make_secret)
    return NodeLink(Membership(url, "rack7", folder / "node.json"), server, clock.epoch, said.append), said
