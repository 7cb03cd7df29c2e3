"""A worker of `smartmob serve --workers 2` is killed in the middle of a request: only that request breaks."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil
import pytest

from tests import free_ports
from tests.acceptance.commands import RunningCommand, serving
from tests.metrics.samples import context, metric, session
from tests.processes.archives import make_archive
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

SESSION = "5" * 32
ROWS = 40_000


@pytest.fixture(name="service")
async def _service(reachable_path: Path) -> AsyncIterator[RunningCommand]:
    options = ("--workers", "2", "--processes-base-port", str(free_ports.base_port()))
    async with serving(reachable_path / "data", *options) as service:
        await service.event("worker.started", worker=1)
        await service.event("worker.started", worker=2)
        yield service


@pytest.fixture(name="client")
async def _client(service: RunningCommand) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(service.url, timeout=aiohttp.ClientTimeout(None)) as client:
        yield client


def _worker_of(service: RunningCommand, connection: aiohttp.Connection | None) -> psutil.Process:
    """Return the worker that has the other end of a connection."""
    assert connection is not None and connection.transport is not None
    ours = connection.transport.get_extra_info("sockname")[1]
    for process in psutil.Process(service.pid).children(recursive=True):
        ends = (end.raddr for end in process.net_connections("tcp") if end.raddr)
        if process.name().startswith("smartmob-work") and any(end.port == ours for end in ends):
            return process
    raise AssertionError("no worker has the connection")


async def _kill(service: RunningCommand, worker: psutil.Process) -> None:
    """Kill a worker, and wait for its successor."""
    seen = len(service.events)
    os.kill(worker.pid, signal.SIGKILL)
    await service.event("worker.started", seen)


class _HalfBody:
    """A body of which a half is sent; then it waits until it is cut."""

    def __init__(self, half: bytes) -> None:
        self._half = half
        self.sent = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._half), 65_536):
            yield self._half[start : start + 65_536]
        self.sent.set()
        await asyncio.Event().wait()


async def _break(service: RunningCommand, client: aiohttp.ClientSession, path: str, half: bytes, **more: Any) -> None:
    """Send the half of a body, kill the worker that receives it, and check that the connection breaks."""
    body = _HalfBody(half)
    connected = asyncio.get_running_loop().create_future()

    class Watched(aiohttp.ClientRequest):
        """A request that says which connection it is sent on."""

        async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
            connected.set_result(conn)
            return await super().send(conn)

    async with aiohttp.ClientSession(request_class=Watched, timeout=aiohttp.ClientTimeout(None)) as own:
        posted = asyncio.ensure_future(own.post(f"{service.url}{path}", data=body, **more))
        await body.sent.wait()
        await _kill(service, _worker_of(service, await connected))
        with pytest.raises(aiohttp.ClientError):
            await posted


def _files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


async def test_an_upload_leaves_no_half_file(
    service: RunningCommand, client: aiohttp.ClientSession, reachable_path: Path
) -> None:
    """The next upload of the same archive is stored, and can be downloaded."""
    archive = make_archive("zip", {"Procfile": "web: exec sleep 600\n", "noise": os.urandom(600_000)})
    folder = reachable_path / "data"
    store = [path for path in folder.iterdir() if path.name not in ("postgres", "logs")]
    before = set[Path]().union(*(_files(path) for path in store if path.is_dir()))

    await _break(service, client, "/upload-archive", archive[:300_000])

    async def clean() -> bool:
        now = set[Path]().union(*(_files(path) for path in store if path.is_dir()))
        return {path for path in now - before if path.suffix != ".log"} == set()

    await until(clean)
    async with client.post("/upload-archive", data=archive) as answer:
        assert answer.status == 201, await answer.text()
        url = (await answer.json())["source_url"]
    async with client.get(url) as answer:
        assert await answer.read() == archive


@pytest.mark.parametrize("rows", [500, ROWS])
async def test_a_bulk_load_stores_all_or_nothing(
    service: RunningCommand, client: aiohttp.ClientSession, rows: int
) -> None:
    """A few rows wait in memory, many are copied into the database as they come."""
    for path, document in (("/contexts/", context()), ("/sessions/", session())):
        async with client.post(path, json=document) as answer:
            assert answer.status == 201
    lines = b"".join(orjson.dumps(metric(item_variant=f"test_sum[{n % 100}]")) + b"\n" for n in range(rows))
    kind = {"Content-Type": "application/x-ndjson"}

    await _break(service, client, "/metrics/", lines, headers=kind)

    async with client.get(f"/sessions/{SESSION}/metrics/count") as answer:
        assert await answer.json() == {"count": 0}
    async with client.post("/metrics/", data=io.BytesIO(lines), headers=kind) as answer:
        assert (answer.status, await answer.json()) == (201, {"count": rows})
    async with client.get(f"/sessions/{SESSION}/metrics/count") as answer:
        assert await answer.json() == {"count": rows}


async def test_a_reader_gets_a_broken_connection_and_no_short_page(
    service: RunningCommand, client: aiohttp.ClientSession
) -> None:
    """An answer that is cut must not look like one that has ended."""
    for path, document in (("/contexts/", context()), ("/sessions/", session())):
        async with client.post(path, json=document) as answer:
            assert answer.status == 201
    lines = b"".join(orjson.dumps(metric(item_variant=f"test_sum[{n % 100}]")) + b"\n" for n in range(ROWS))
    async with client.post(
        "/metrics/", data=io.BytesIO(lines), headers={"Content-Type": "application/x-ndjson"}
    ) as answer:
        assert answer.status == 201

    accept = {"Accept": "application/x-ndjson"}
    async with client.get(f"/sessions/{SESSION}/metrics", headers=accept) as answer:
        assert answer.status == 200
        await answer.content.readany()
        await _kill(service, _worker_of(service, answer.connection))
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
    async with client.get(f"/sessions/{SESSION}/metrics", headers=accept) as answer:
        assert len((await answer.read()).splitlines()) == ROWS


async def test_an_attached_console_ends_and_its_program_runs_on(
    service: RunningCommand, client: aiohttp.ClientSession
) -> None:
    """The program runs in the owner: a new console continues where it is."""
    archive = make_archive("zip", {"Procfile": "web: echo ready; exec sleep 600\n"})
    async with client.post("/upload-archive", data=archive) as answer:
        url = (await answer.json())["source_url"]
    wanted = {"app": "app", "node": "web.0", "process_type": "web", "source_url": url}
    async with client.post("/create-process", json=wanted) as answer:
        assert answer.status == 201
    console = await client.ws_connect("/attach-console/app.web.0?tail=1")
    assert await console.receive_str() == "ready"
    assert console._response is not None
    connection = console._response.connection
    await _kill(service, _worker_of(service, connection))
    assert (await console.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    assert console.close_code in (None, aiohttp.WSCloseCode.ABNORMAL_CLOSURE)
    await console.close()

    async with client.get("/api/v1/processes") as answer:
        states = {process["node"]: process["state"] for process in (await answer.json())["processes"]}
    assert states == {"web.0": "running"}
    async with client.ws_connect("/attach-console/app.web.0?tail=1") as again:
        assert await again.receive_str() == "ready"


async def test_signals_of_a_terminal_for_a_worker_do_not_end_it(
    service: RunningCommand, client: aiohttp.ClientSession
) -> None:
    """CTRL-C, and a reload that is sent by name, reach all processes; the owner alone decides what they do."""
    workers = [
        each for each in psutil.Process(service.pid).children(recursive=True) if each.name().startswith("smartmob-work")
    ]
    async with client.get("/sessions/count") as answer:
        assert answer.status == 200
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        for worker in workers:
            worker.send_signal(number)
    for _ in range(20):
        async with aiohttp.ClientSession(service.url) as other, other.get("/sessions/count") as answer:
            assert answer.status == 200

    assert [worker.status() for worker in workers if worker.status() == psutil.STATUS_ZOMBIE] == []
    assert b"worker.ended" not in service.errors
    assert len(workers) == 2
