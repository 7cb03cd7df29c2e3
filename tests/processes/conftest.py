"""Fixtures of the feature: a file server, and a service that runs programs from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, web
from aiohttp.test_utils import TestClient

from tests.processes.archives import Entry, make_archive
from tests.processes.file_server import FileServer, running_file_server
from tests.waiting import until

SLEEP = "exec sleep 600"
SECONDS = 800.0
"""Longest wait for output, also of pip on a busy machine."""
FAILURES = ("failure", "no procfile", "unknown process type")


class Agent:
    """A client of a running service."""

    def __init__(self, client: TestClient[web.Request, web.Application], files: FileServer) -> None:
        self.client = client
        self.files = files

    def app(self, procfile: str, more: Mapping[str, Entry] | None = None, path: str = "/app.tar.gz") -> str:
        """Serve a program with this Procfile; return its address."""
        return self.files.file(path, make_archive("tar.gz", {"Procfile": procfile, **(more or {})}))

    async def create(self, source: str, process_type: str = "web", node: str = "", **more: Any) -> dict[str, Any]:
        """Create a process of the application `app`; return its status."""
        node = node or f"{process_type}.0"
        wanted = {"app": "app", "node": node, "process_type": process_type, "source_url": source, **more}
        async with self.client.post("/create-process", json=wanted) as response:
            status: dict[str, Any] = await response.json()
            assert response.status == 201, status
            assert response.headers["Location"] == status["details"]
            return status

    async def run(self, command: str, more: Mapping[str, Entry] | None = None, **request: Any) -> dict[str, Any]:
        """Create the process `app.web.0` with this command; return its status once it runs."""
        await self.create(self.app(f"web: {command}\n", more), **request)
        return await self.become("app.web.0", "running")

    async def status(self, slug: str) -> dict[str, Any]:
        """Return the status of a process."""
        async with self.client.get(f"/process-status/{slug}") as response:
            assert response.status == 200
            status: dict[str, Any] = await response.json()
            return status

    async def become(self, slug: str, *states: str) -> dict[str, Any]:
        """Wait until a process is in one of the states, and return its status; fail for any other failure state."""

        async def there() -> dict[str, Any] | None:
            status = await self.status(slug)
            if status["state"] in states:
                return status
            assert not status["state"].endswith(FAILURES), status
            return None

        found: dict[str, Any] = await until(there)
        return found

    async def post(self, verb: str, slug: str, body: Any = None, status: int = 200) -> dict[str, Any]:
        """Call delete, stop, restart or signal; return the answer."""
        async with self.client.post(f"/{verb}-process/{slug}", json={} if body is None else body) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            assert response.status == status, answer
            return answer

    async def attach(self, slug: str = "app.web.0", **query: Any) -> ClientWebSocketResponse:
        """Attach to the console."""
        return await self.client.ws_connect(f"/attach-console/{slug}", params={k: str(v) for k, v in query.items()})

    async def events(self, slug: str | None = None) -> list[dict[str, Any]]:
        """Return the events of a process, or of all."""
        async with self.client.get("/process-events", params={} if slug is None else {"slug": slug}) as response:
            events: list[dict[str, Any]] = (await response.json())["events"]
            return events


async def lines(socket: ClientWebSocketResponse, count: int) -> list[str]:
    """Return the next lines of a console."""
    return [await socket.receive_str(timeout=SECONDS) for _ in range(count)]


async def until_line(socket: ClientWebSocketResponse, wanted: str) -> list[str]:
    """Return the lines of a console up to one that contains `wanted`."""
    found: list[str] = []
    while not found or wanted not in found[-1]:
        found += await lines(socket, 1)
    return found


async def to_the_end(socket: ClientWebSocketResponse) -> tuple[list[str], int | None]:
    """Return all lines of a console until it is closed, and the close code."""
    found = []
    while (message := await socket.receive(timeout=SECONDS)).type is WSMsgType.TEXT:
        found.append(message.data)
    return found, socket.close_code


@pytest.fixture(name="files")
async def _files() -> AsyncIterator[FileServer]:
    async with running_file_server() as server:
        yield server


@pytest.fixture(name="agent")
async def _agent(client: Any, files: FileServer) -> Agent:
    return Agent(client, files)


@pytest.fixture(name="agent_with")
async def _agent_with(with_settings: Any, files: FileServer) -> Callable[..., Any]:
    async def make(**changes: Any) -> Agent:
        return Agent(await with_settings(**changes), files)

    return make
