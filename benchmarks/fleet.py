"""Measures many nodes on one service: the time in which they join, and of a command on all of them.

    python -m benchmarks.fleet --nodes 50,100,200

The nodes are links of the real client, many in one process, and each reports the load of this machine once a second;
behind each is a small HTTP server that answers the command `exec` without running a program. So the figures are those
of the service and of `smartmob exec --on all`. The nodes of a process share what they read of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from aiohttp import web

from benchmarks import stopping
from benchmarks.candidates import say
from smartmob.client import reporter
from smartmob.client.node_link import LocalServer, Membership, NodeLink
from smartmob.client.node_samples import NodeSamples
from smartmob.client.reporter import Clocks
from smartmob.hosts.fields import Snapshot
from smartmob.hosts.sampler.snapshot import SnapshotReader
from smartmob.kernel.auth.node_access import make_secret

_TOKEN = "a-long-secret-of-the-benchmark"
_BY_PROCESS = 50  # nodes of a process
_ROUNDS = 3
_IDLE_SECONDS = 10.0
_SAMPLE_SECONDS = 1.0
_LIMIT_SECONDS = 300.0
_POLL_SECONDS = 0.2
_SMARTMOB = str(Path(sys.executable).with_name("smartmob"))


class _SharedReader(SnapshotReader):
    """Reads the machine once a second for all nodes of the process."""

    _shared: tuple[float, Snapshot] | None = None

    def read(self, *arguments: Any) -> Snapshot:
        now = time.monotonic()
        last = _SharedReader._shared
        if last is None or now - last[0] > _SAMPLE_SECONDS / 2:
            last = _SharedReader._shared = now, super().read(*arguments)
        return last[1]


async def _commands(request: web.Request) -> web.WebSocketResponse:
    """Answer calls like a service whose commands end at once."""
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for received in websocket:
        message = json.loads(received.data) if received.type is aiohttp.WSMsgType.TEXT else {}
        if message.get("type") == "hello":
            await websocket.send_json({"type": "welcome", "version": 1, "server": "fleet", "commands": []})
        elif message.get("type") == "call":
            call = message["id"]
            await websocket.send_json({"type": "started", "id": call, "number": call, "job": True})
            await websocket.send_json({"type": "done", "id": call, "exit_code": 0, "state": "exited", "end": 0})
        elif message.get("type") == "ping":
            await websocket.send_json({"type": "pong", "n": message.get("n", 0)})
    return websocket


async def _nodes(url: str, first: int, count: int, folder: Path) -> None:
    """Keep the links of nodes until this process is ended."""
    app = web.Application()
    app.router.add_get("/commands", _commands)
    reporter.SnapshotReader = _SharedReader  # type: ignore[attr-defined]  # 50 nodes would read the machine 50 times a second
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    loop = asyncio.get_running_loop()
    http = runner.server
    if http is None:
        raise RuntimeError("the runner has no server")

    async def accept(sock: socket.socket) -> None:
        await loop.connect_accepted_socket(http, sock)

    async def one(number: int) -> None:
        name = f"node{number:04}"
        member = Membership(url, name, folder / f"{name}.json", {"rack": str(number % 10)}, _TOKEN)
        samples = NodeSamples(folder / name, None, Clocks(time.time, time.monotonic), lambda _: None)
        sending = loop.create_task(samples.run(_SAMPLE_SECONDS))
        server = LocalServer(lambda _, work: loop.create_task(work), accept, lambda _: None, make_secret)
        link = NodeLink(member, server, time.time, lambda _: None, on_host=samples.use)
        await link.run()
        sending.cancel()

    await asyncio.gather(*(one(number) for number in range(first, first + count)))


def _connected(url: str) -> int:
    """Return the number of connected nodes."""
    request = urllib.request.Request(f"{url}/api/v1/nodes", headers={"Authorization": f"Bearer {_TOKEN}"})
    with urllib.request.urlopen(request, timeout=_LIMIT_SECONDS) as answer:
        return sum(node["connected"] for node in json.load(answer)["nodes"])


def _samples(url: str, count: int) -> int:
    """Return the number of nodes whose newest sample is younger than the time in which none was waited for."""
    with urllib.request.urlopen(
        urllib.request.Request(
            f"{url}/hosts/?limit={min(count, 1_000)}", headers={"Authorization": f"Bearer {_TOKEN}"}
        ),
        timeout=_LIMIT_SECONDS,
    ) as answer:
        hosts = json.load(answer)["hosts"]
    newest = [host["latest"]["time"] for host in hosts if host["latest"] and host["name"].startswith("node")]
    since = datetime.now(UTC) - timedelta(seconds=_IDLE_SECONDS)
    return sum(datetime.fromisoformat(time) > since for time in newest)


def _wait_for(condition: Callable[[], bool], failure: str) -> None:
    """Wait until a condition holds; raises TimeoutError."""
    until = time.perf_counter() + _LIMIT_SECONDS
    while time.perf_counter() < until:
        with suppress(urllib.error.HTTPError):  # 503: the service has more to do than it can answer at the moment
            if condition():
                return
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"{failure} within {_LIMIT_SECONDS:g} seconds")


def _seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the processor seconds that processes have used, those of their ended children included."""
    used = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:4])
    return used


def _used(service: psutil.Process, nodes: list[subprocess.Popen[bytes]], folder: Path) -> dict[str, float]:
    """Return the processor seconds that the service, its database and the processes of the nodes have used."""
    postmaster = psutil.Process(int((folder / "data/postgres/cluster/postmaster.pid").read_text().split()[0]))
    return {
        "service": sum(service.cpu_times()[:2]),
        "PostgreSQL": _seconds([postmaster, *postmaster.children()]),
        "nodes": _seconds(psutil.Process(each.pid) for each in nodes),
    }


def _by_node(before: dict[str, float], after: dict[str, float], count: int) -> dict[str, float]:
    """Return the milliseconds of a processor for each node."""
    return {name: round(1000 * (seconds - before.get(name, 0.0)) / count, 1) for name, seconds in after.items()}


def _start_nodes(url: str, count: int, folder: Path) -> list[subprocess.Popen[bytes]]:
    """Start the processes of nodes."""
    ranges = [(first, min(_BY_PROCESS, count - first)) for first in range(0, count, _BY_PROCESS)]
    program = (sys.executable, "-m", "benchmarks.fleet", "--as-nodes", url)
    return [subprocess.Popen((*program, str(first), str(number), str(folder))) for first, number in ranges]


def _measure(url: str, service: psutil.Process, count: int, folder: Path) -> dict[str, Any]:
    """Let nodes join, run a command on all, and return the figures."""
    memory, used, began = service.memory_info().rss, _used(service, [], folder), time.perf_counter()
    children = _start_nodes(url, count, folder)
    try:
        _wait_for(lambda: _connected(url) >= count, f"{count} nodes did not join")
        joined = time.perf_counter() - began
        _wait_for(lambda: _samples(url, count) >= count, f"{count} nodes did not report their load")
        joining = _by_node(used, _used(service, children, folder), count)
        before, started = service.cpu_times(), time.perf_counter()
        time.sleep(_IDLE_SECONDS)
        after = service.cpu_times()
        samples = _samples(url, count)
        idle = (after.user + after.system - before.user - before.system) / (time.perf_counter() - started)
        used, theirs = service.cpu_times(), resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds, failed = zip(*(_exec(url, count) for _ in range(_ROUNDS)), strict=True)
        after, theirs_after = service.cpu_times(), resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = (after.user + after.system - used.user - used.system) / _ROUNDS
        client_cpu = theirs_after.ru_utime + theirs_after.ru_stime - theirs.ru_utime - theirs.ru_stime
        return {
            "nodes": count,
            "join seconds": round(joined, 2),
            "exec seconds": [round(each, 2) for each in seconds],
            "nodes on which it failed": failed,
            "processor seconds of an exec, with the samples meanwhile": {
                "service": round(cpu, 2),
                "client": round(client_cpu / _ROUNDS, 2),
            },
            "percent of a core with samples": round(100 * idle, 2),
            "nodes with samples of the last seconds": samples,
            "the same of a node": round(100 * idle / count, 3),
            "MB of the service": round(service.memory_info().rss / 1e6, 1),
            "kB of the service for a node": round((service.memory_info().rss - memory) / count / 1000),
            "processor milliseconds of a node to join and send the first sample": joining,
        }
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()


def _exec(url: str, count: int) -> tuple[float, int]:
    """Run a command on all nodes; return the seconds, and on how many it failed, as when others load this machine."""
    began = time.perf_counter()
    ended = subprocess.run(
        [_SMARTMOB, "exec", "--on", "all", "--server", url, "--", "true"],
        env={**os.environ, "SMARTMOB_TOKEN": _TOKEN}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = ended.stderr.splitlines()
    if not told or not told[-1].startswith(f"{count} machines: "):
        raise RuntimeError(f"exec ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return time.perf_counter() - began, count - sum(line.endswith("  ok") for line in told)


def _main(counts: list[int]) -> None:
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="smartmob-fleet-") as name:
            folder = Path(name)
            (folder / "token").write_text(_TOKEN)
            options = ("--port", "0", "--data-dir", str(folder / "data"), "--token-file", str(folder / "token"))
            log = folder / "log"
            with (
                log.open("wb") as output,
                subprocess.Popen(
                    (_SMARTMOB, "serve", *options, "--log-format", "json"), stdout=output, stderr=output
                ) as process,
            ):
                try:
                    say(json.dumps(_measure(_address(log), psutil.Process(process.pid), count, folder)))
                finally:
                    process.send_signal(signal.SIGINT)


def _address(log: Path) -> str:
    """Wait until the service listens, and return its address."""
    while True:
        for line in log.read_text().splitlines():
            if '"bind"' in line and '"tcp"' in line:
                return f"http://127.0.0.1:{json.loads(line)['port']}"
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-nodes"]:
        address, start, number, where = sys.argv[2:]
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        asyncio.run(_nodes(address, int(start), int(number), Path(where)))
    else:
        parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
        parser.add_argument("--nodes", default="50,100,200", help="numbers of nodes")
        counts = [int(part) for part in parser.parse_args().nodes.split(",")]
        sys.exit(stopping.run(functools.partial(_main, counts)))
