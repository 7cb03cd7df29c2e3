"""`smartmob bench`: measures the throughput of a service on this machine, and that of the disk for comparison."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import click
import msgspec
import orjson
import psutil

from smartmob import authorities
from smartmob.cli import printing
from smartmob.cli.number_options import Number
from smartmob.cli.server_options import as_json
from smartmob.cli.temporary_service import trial
from smartmob.embedded_service import check_installed
from smartmob.errors import RemoteError
from smartmob.kernel.runtime import clock

_POSTERS, _MACHINES, _JOBS = 16, 20, 4  # clients at a time
_BULK_ROWS_PER_SECOND = 10_000
_PAGE_BYTES = 8_192  # the block size of PostgreSQL
_LOAD_SECONDS = 1.0
_BUSY_PERCENT = 20.0
"""The load of the processors by other programs above which a warning is printed."""


class Measurement(msgspec.Struct, frozen=True):
    """A measurement: operations per second, and the percentiles of their durations in milliseconds where known."""

    what: str
    per_second: float
    p50_ms: float | None = None
    p99_ms: float | None = None


@click.command("bench")
@click.option("--seconds", type=Number(0.1, 600), default=5.0, help="Seconds of each measurement.")
@as_json
def command(seconds: float, as_json: bool) -> None:
    """Measure the throughput of a temporary service with its own database on this machine, in half a minute.

    One client in this process makes the load, so a machine with few processors serves more if clients are on other
    machines. A service acknowledges data after the commit, so the disk limits all results; the first result is that of
    the disk alone.
    """
    check_installed(embedded=True)
    busy = psutil.cpu_percent(_LOAD_SECONDS)
    with trial("bench") as service:
        found = [_disk(service.folder, min(seconds, 2.0)), *asyncio.run(_measure(service.url, seconds))]
    if as_json:
        printing.print_json({"busy_before": busy, "measured": msgspec.to_builtins(found)})
    else:
        rows = ((one.what, f"{one.per_second:,.0f}", _ms(one.p50_ms), _ms(one.p99_ms)) for one in found)
        printing.print_table("", ("What", ">A second", ">p50", ">p99"), rows)
    if busy > _BUSY_PERCENT:
        printing.say(f"{busy:.0f}% of the processors were busy with other work. Measure again on a quiet machine.")


def _ms(milliseconds: float | None) -> str:
    return printing.NOTHING if milliseconds is None else f"{milliseconds:.2f} ms"


def _disk(folder: Path, seconds: float) -> Measurement:
    """Measure appending a page and waiting for fsync, repeatedly."""
    took = []
    file = os.open(folder / "page", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        deadline = clock.steady() + seconds
        while (began := clock.steady()) < deadline:
            os.write(file, bytes(_PAGE_BYTES))
            os.fsync(file)
            took.append(clock.steady() - began)
    finally:
        os.close(file)
    return _measurement("disk: pages written with fsync, one after the other", took, seconds)


def _measurement(what: str, took: Sequence[float], seconds: float) -> Measurement:
    if not took:
        raise RemoteError(f"no request was answered within {seconds:g} s: {what}")
    ordered = sorted(took)
    indices = (len(ordered) // 2, min(len(ordered) - 1, len(ordered) * 99 // 100))
    p50, p99 = (1e3 * ordered[index] for index in indices)
    return Measurement(what, len(took) / seconds, p50, p99)


async def _measure(url: str, seconds: float) -> list[Measurement]:
    timeout = aiohttp.ClientTimeout(total=60 + seconds)
    connector = aiohttp.TCPConnector(ssl=authorities.verification(), limit=0)
    async with aiohttp.ClientSession(url, timeout=timeout, connector=connector) as client:
        await _ask(client, "POST", "/contexts/", _CONTEXT)
        await _ask(client, "POST", "/sessions/", _SESSION)
        return [
            await _repeat("requests without work (GET /health), one after the other", seconds, [_health(client)]),
            await _repeat(
                f"metrics of tests, one by one, {_POSTERS} at a time",
                seconds,
                [_post(client, number) for number in range(_POSTERS)],
            ),
            await _bulk(client, seconds),
            await _samples(client, seconds),
            await _repeat(f"commands run to their end, {_JOBS} at a time", seconds, [_run(client)] * _JOBS),
        ]


async def _ask(client: aiohttp.ClientSession, method: str, path: str, document: Any = None) -> Any:
    async with client.request(method, path, json=document) as answer:
        body = await answer.read()
        if answer.status >= 300:
            raise RemoteError(f"{path} was answered {answer.status}: {body[:200]!r}")
    return body


Work = Callable[[], Awaitable[object]]


async def _repeat(what: str, seconds: float, workers: Sequence[Work]) -> Measurement:
    """Repeat all workers at the same time, and return the measurement of all their rounds."""
    took: list[float] = []
    deadline = clock.steady() + seconds

    async def again(work: Work) -> None:
        while (began := clock.steady()) < deadline:
            await work()
            took.append(clock.steady() - began)

    async with asyncio.TaskGroup() as group:
        for work in workers:
            group.create_task(again(work))
    return _measurement(what, took, seconds)


def _health(client: aiohttp.ClientSession) -> Work:
    return lambda: _ask(client, "GET", "/health")


def _post(client: aiohttp.ClientSession, poster: int) -> Work:
    rows = _rows(poster)
    return lambda: _ask(client, "POST", "/metrics/", next(rows))


def _run(client: aiohttp.ClientSession) -> Work:
    return lambda: _ask(client, "POST", "/commands/exec", {"cmd": ["true"]})


async def _bulk(client: aiohttp.ClientSession, seconds: float) -> Measurement:
    rows, count = _rows(0), int(_BULK_ROWS_PER_SECOND * seconds)
    body = b"\n".join(orjson.dumps(next(rows)) for _ in range(count))
    began = clock.steady()
    async with client.post("/metrics/", data=body, headers={"Content-Type": "application/x-ndjson"}) as answer:
        said = await answer.read()
        if answer.status >= 300:
            raise RemoteError(f"the bulk of metrics was answered {answer.status}: {said[:200]!r}")
    return Measurement("metrics of tests, as NDJSON in one request", count / (clock.steady() - began))


async def _samples(client: aiohttp.ClientSession, seconds: float) -> Measurement:
    """Measure machines that each send the next sample when the previous one was answered."""
    sockets, workers = [], []
    for number in range(_MACHINES):
        body = await _ask(client, "POST", "/client", {"username": f"bench{number}", "password": "bench"})
        socket = await client.ws_connect("/echo")
        await socket.send_json({"type": "HELLO"})
        await socket.receive_json()
        sockets.append(socket)
        workers.append(_sample(socket, orjson.loads(body)["client_id"]))
    found = await _repeat(f"samples over WebSockets, {_MACHINES} machines at a time", seconds, workers)
    for socket in sockets:
        await socket.close()
    return found


def _sample(socket: aiohttp.ClientWebSocketResponse, ident: str) -> Work:
    async def work() -> None:
        data = {"cpu_load": 12.5, "mem": 4_096, "storage": 1_000, "time": clock.epoch()}
        await socket.send_json({"type": "CLIENT_DATA", "data": data, "interval": 1, "client_id": ident})
        answered = await socket.receive_json()
        if answered["type"] != "DATA_RETURN":
            raise RemoteError(f"a sample was refused: {answered}")

    return work


_CONTEXT = {
    "h": "bench", "cpu_count": 1, "cpu_frequency": 0, "cpu_type": "", "cpu_vendor": "", "ram_total": 0,
    "machine_node": "bench", "machine_type": "", "machine_arch": "", "system_info": "", "python_info": "",
}  # fmt: skip
_SESSION = {"session_h": "bench", "run_date": "2026-01-01T00:00:00", "scm_ref": "bench", "description": {}}


def _rows(first: int) -> Iterator[dict[str, Any]]:
    """Yield metrics of a thousand tests, repeatedly."""
    number = first
    while True:
        name = f"test_{number % 1000}"
        yield {
            "session_h": "bench", "context_h": "bench", "item_start_time": "2026-01-01T00:00:00", "item_path": "bench",
            "item": name, "item_variant": name, "item_fs_loc": "bench.py", "kind": "function", "component": "",
            "total_time": 0.5, "user_time": 0.4, "kernel_time": 0.1, "cpu_usage": 1.0, "mem_usage": 1.0,
        }  # fmt: skip
        number += _POSTERS
