"""A service with nodes: further services that have joined it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from smartmob import node_membership
from smartmob.app import build
from smartmob.feature_settings import JoinSettings
from smartmob.kernel.http import server
from smartmob.settings import Settings
from tests import free_ports
from tests.conftest import running
from tests.databases import Databases
from tests.serving import ServiceServer
from tests.waiting import until

TOKEN = "the token of the service"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


class Lab:
    """A service that nodes join, and its client."""

    def __init__(self, client: TestClient[web.Request, web.Application]) -> None:
        self.client = client
        self.url = str(client.make_url("/")).rstrip("/")

    async def get(self, path: str) -> Any:
        """Return the document at a path."""
        async with self.client.get(path, headers=AUTHORIZED) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def node(self, name: str) -> Any:
        """Return a node."""
        return await self.get(f"/api/v1/nodes/{name}")

    async def connected(self, name: str) -> Any:
        """Wait until a node is connected and its clock is known, and return it."""

        async def there() -> Any:
            async with self.client.get(f"/api/v1/nodes/{name}", headers=AUTHORIZED) as answer:
                node = await answer.json()
                return node if answer.status == 200 and node["connected"] and node["facts"]["clock_delay"] else None

        return await until(there)


@pytest.fixture(name="lab")
async def _lab(settings: Settings) -> AsyncIterator[Lab]:
    port = free_ports.single_port()
    service = build(replace(settings, token=TOKEN, service_url=f"http://127.0.0.1:{port}/"))
    async with TestClient(ServiceServer(service.app, service.gate, port=port)) as client:
        yield Lab(client)


@pytest.fixture(name="second_lab")
async def _second_lab(lab: Lab, settings: Settings, tmp_path: Path) -> AsyncIterator[Lab]:
    """Return another service on the database of the first one."""
    async with running(build(replace(settings, token=TOKEN, data_dir=tmp_path / "second"))) as client:
        yield Lab(client)


AddNode = Callable[[str], Awaitable[str]]


@pytest.fixture(name="add_node")
async def _add_node(
    lab: Lab, settings: Settings, postgres_url: str, databases: Databases, tmp_path: Path
) -> AsyncIterator[AddNode]:
    """Return a function that starts a service as a node of this name and, when it is connected, returns its address."""
    token_file = tmp_path / "token"
    await asyncio.to_thread(token_file.write_text, TOKEN)
    async with AsyncExitStack() as stack:

        async def add(name: str) -> str:
            database = await databases.take()
            stack.push_async_callback(databases.give_back, database)
            url = postgres_url.format(database)
            join = JoinSettings(url=lab.url, name=name, token_file=token_file, labels=("gpu", "rack=7"))
            own = replace(
                settings, data_dir=tmp_path / name, join=join, token="of the node",
                database=replace(settings.database, url=url),
            )  # fmt: skip
            service, member = build(own), node_membership.membership(own)
            assert member is not None
            host, port = await stack.enter_async_context(
                server.listening(
                    service.app, service.gate, own, drain=service.drain,
                    on_serving=lambda accept: node_membership.start(service, member, accept),
                )
            )  # fmt: skip
            await lab.connected(name)
            return f"http://{host}:{port}"

        yield add
