"""The lab of the pictures: two hours of three machines, a suite that became slower, programs, jobs and notes.

Everything is sent over the routes of a service, as its clients send it.
"""

from __future__ import annotations

import io
import math
import tarfile
from asyncio import TaskGroup, sleep
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from aiohttp import ClientSession

from smartmob.kernel.runtime import clock

SPAN = 7_200
_EVERY = 2
_AT_ONCE = 500
_MACHINES = {"rack7": 18.0, "rack8": 35.0, "db1": 52.0}
"""How busy each is when nothing is tested."""
_RUNS = 10
_BETWEEN = SPAN / _RUNS
_BUSY_RUN = 6
_SLOWER_FROM = 8
_COMMITS = (
    *("4be1d09c77aa", "91f3c2e8b054", "c07d5f1e2a33", "2a9e8846f1dc", "e5b07c913f60"),
    *("7d41fa0b9c28", "0c8e6d27b1f5", "b3f95e10d84a", "58c2a7e6f019", "f61d3b94ce72"),
)
_SUITE = {
    "test_search[many]": ("tests.search.test_search", 0.62),
    "test_search[one]": ("tests.search.test_search", 0.08),
    "test_checkout_total": ("tests.shop.test_checkout", 0.21),
    "test_checkout_refuses_bad_card": ("tests.shop.test_checkout", 0.11),
    "test_basket_merges": ("tests.shop.test_basket", 0.17),
    "test_import_10k_articles": ("tests.shop.test_import", 1.9),
    "test_export_is_stable": ("tests.shop.test_import", 0.9),
    "test_login_locks_after_five": ("tests.users.test_login", 0.34),
    "test_password_reset": ("tests.users.test_login", 0.28),
    "test_feed_renders": ("tests.web.test_feed", 0.47),
}
_SLOWED = "test_search[many]"
_PROCFILE = """\
web: printf '\\033[32mINFO\\033[0m  on port %s\\n\\033[33mWARN\\033[0m  cache is cold\\n' $PORT; exec sleep 900
worker: echo 'waiting for orders'; exec sleep 900
"""
_JOBS = ("uname -sr", "df -h / | tail -1", "exit 3")
_NOTES = ("kernel 6.12.9 on rack7", "index on articles dropped")


@asynccontextmanager
async def lab(client: ClientSession) -> AsyncIterator[None]:
    """Make the lab; its machines report until the end of the block."""
    now = clock.epoch()
    async with TaskGroup() as reporting:
        tasks = [reporting.create_task(_report(client, name, idle, now)) for name, idle in _MACHINES.items()]
        await _fill(client, now)
        yield
        for task in tasks:
            task.cancel()


async def _fill(client: ClientSession, now: float) -> None:
    await _test(client, now)
    await _deploy(client)
    for line in _JOBS:
        async with client.post("/commands/exec", json={"cmd": line}) as answer:
            await answer.read()
    for text, ago in zip(_NOTES, (5_400, 1_500), strict=True):
        at = datetime.fromtimestamp(now - ago, UTC).isoformat()
        await _post(client, "/marks", {"text": text, "author": "ann", "at": at})


async def _post(client: ClientSession, path: str, document: Any = None, data: bytes | None = None) -> Any:
    async with client.post(path, json=document, data=data) as answer:
        if answer.status >= 300:
            raise ValueError(f"{path} answered {answer.status}: {await answer.text()}")
        return await answer.json(content_type=None)


def _began(now: float, run: int) -> float:
    return now - SPAN + run * _BETWEEN + 90


def _sample(number: int, idle: float, busy: float, at: float) -> dict[str, Any]:
    wave = 6 * math.sin(at / 611 + idle) + 3 * math.sin(at / 97 + 2 * idle)
    cpu = min(99.0, max(1.0, idle + wave + busy))
    request_stats = 1e6 * (0.4 + cpu / 60 + 0.3 * math.sin(at / 233 + idle))
    return {
        "id": number,
        "time": round(at, 3),
        "cpu_load": round(cpu, 1),
        "load": round(cpu / 25, 2),
        "storage": 81_720,
        "mem": round(2_000 + 45 * idle + 220 * math.sin(at / 1_900 + idle) + 4 * busy),
        "net_received": round(request_stats),
        "net_sent": round(request_stats / 5),
    }


def _samples(name: str, idle: float, now: float) -> Iterator[dict[str, Any]]:
    for number in range(SPAN // _EVERY):
        at = now - SPAN + number * _EVERY
        in_run = (at - _began(now, 0)) % _BETWEEN
        run = int((at - _began(now, 0)) // _BETWEEN)
        tested = name == "rack7" and 0 <= in_run < 60
        disturbed = name == "rack7" and run == _BUSY_RUN and in_run < 240
        yield _sample(number, idle, 76.0 if disturbed else 24.0 if tested else 0.0, at)


async def _report(client: ClientSession, name: str, idle: float, now: float) -> None:
    ident = (await _post(client, "/client", {"username": name, "password": "p"}))["client_id"]
    samples = list(_samples(name, idle, now))
    async with client.ws_connect("/echo") as socket:
        await socket.send_json({"type": "HELLO"})
        await socket.receive_json()
        for first in range(0, len(samples), _AT_ONCE):
            part = samples[first : first + _AT_ONCE]
            await socket.send_json({"type": "BACKFILL", "samples": part, "client_id": ident})
            answered = await socket.receive_json()
            if answered["type"] != "BACKFILLED":
                raise ValueError(f"the samples were refused: {answered}")
        while True:
            data = _sample(0, idle, 0.0, clock.epoch())
            await socket.send_json({"type": "CLIENT_DATA", "data": data, "interval": 1, "client_id": ident})
            await socket.receive_json()
            await sleep(1)


async def _test(client: ClientSession, now: float) -> None:
    context = {
        "h": "c" * 32,
        "cpu_count": 8,
        "cpu_frequency": 2_596,
        "cpu_type": "x86_64",
        "cpu_vendor": "",
        "ram_total": 16_000,
        "machine_node": "rack7",
        "machine_type": "x86_64",
        "machine_arch": "64bit",
        "system_info": "Linux - 6.12",
        "python_info": "3.13.1",
    }
    await _post(client, "/contexts/", context)
    for run, commit in enumerate(_COMMITS):
        at = _began(now, run)
        began = datetime.fromtimestamp(at, UTC).isoformat()
        session = (3 * commit)[:32]
        await _post(
            client, "/sessions/", {"session_h": session, "run_date": began, "scm_ref": commit, "description": {}}
        )
        rows = []
        for place, (name, (path, cost)) in enumerate(_SUITE.items()):
            taken = cost * (1 + 0.012 * math.sin(7 * run + 3 * place)) * (1.45 if run == _BUSY_RUN else 1.0)
            taken *= 1.38 if name == _SLOWED and run >= _SLOWER_FROM else 1.0
            rows.append(
                {
                    "session_h": session,
                    "context_h": context["h"],
                    "item": name.partition("[")[0],
                    "item_variant": name,
                    "item_start_time": datetime.fromtimestamp(at, UTC).isoformat(),
                    "item_path": path,
                    "kind": "function",
                    "item_fs_loc": path.replace(".", "/") + ".py",
                    "component": "",
                    "total_time": taken,
                    "user_time": 0.9 * taken,
                    "kernel_time": 0.05 * taken,
                    "cpu_usage": 0.95,
                    "mem_usage": 40 + place,
                }
            )
            at += taken + 0.2
        await _post(client, "/metrics/", rows)


async def _deploy(client: ClientSession) -> None:
    from tests.waiting import until

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("Procfile")
        member.size = len(_PROCFILE)
        archive.addfile(member, io.BytesIO(_PROCFILE.encode()))
    source = (await _post(client, "/upload-archive", data=packed.getvalue()))["source_url"]
    for node in ("web.0", "web.1", "worker.0"):
        kind = node.partition(".")[0]
        await _post(
            client, "/create-process", {"app": "shop", "node": node, "process_type": kind, "source_url": source}
        )
    await until(partial(_measured, client))


async def _measured(client: ClientSession) -> bool:
    async with client.get("/api/v1/processes") as answer:
        return all(process["memory"] for process in (await answer.json())["processes"])
