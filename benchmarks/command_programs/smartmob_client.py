"""The client of the project, for asyncio on uvloop and for plain Python."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import psutil
import uvloop

from smartmob import client

PORT, WHAT, SIZE = sys.argv[1], sys.argv[2], int(sys.argv[3])
URL = f"http://127.0.0.1:{PORT}"


async def roundtrip() -> dict[str, object]:
    """Return the seconds of each `cwd`."""
    times = []
    async with client.connect(URL) as lab:
        for _ in range(SIZE):
            started = time.perf_counter()
            await lab.cwd()
            times.append(time.perf_counter() - started)
    return {"p50": sorted(times)[len(times) // 2], "p99": sorted(times)[len(times) * 99 // 100]}


def roundtrip_sync() -> dict[str, object]:
    """Return the seconds of each `cwd` of the client for plain Python."""
    times = []
    with client.add(URL, enter_connect_timeout=10) as connection:
        for _ in range(SIZE):
            started = time.perf_counter()
            connection.cwd()
            times.append(time.perf_counter() - started)
    return {"p50": sorted(times)[len(times) // 2], "p99": sorted(times)[len(times) * 99 // 100]}


async def lines() -> dict[str, object]:
    """Return how many lines of 100 bytes came, and in how many seconds."""
    async with client.connect(URL) as lab:
        started, found = time.perf_counter(), 0
        async for _ in await lab.exec(f"yes {'x' * 99} | head -n {SIZE}"):
            found += 1
        return {"lines": found, "seconds": time.perf_counter() - started}


def lines_sync() -> dict[str, object]:
    """The same by the client for plain Python."""
    with client.add(URL, enter_connect_timeout=10) as connection:
        started, found = time.perf_counter(), 0
        for _ in iter(connection.exec(f"yes {'x' * 99} | head -n {SIZE}", complete=False).next, None):
            found += 1
        return {"lines": found, "seconds": time.perf_counter() - started}


async def transfer() -> dict[str, object]:
    """Return the seconds of a file there and back, both checked, and the processor time of this client for each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "src").write_bytes(bytes(range(256)) * (SIZE // 256))
        async with client.connect(URL) as lab:
            marks = [(time.perf_counter(), time.process_time(), _service_seconds())]
            await lab.transfer(folder / "src", str(folder / "there"))
            marks.append((time.perf_counter(), time.process_time(), _service_seconds()))
            await lab.fetch(str(folder / "there"), folder / "back")
            marks.append((time.perf_counter(), time.process_time(), _service_seconds()))
        there, back = ([after - before for before, after in zip(*pair, strict=True)] for pair in pairwise(marks))
        return {"bytes": SIZE, "seconds": there[0], "back": back[0], "cpu": there[1:], "cpu_back": back[1:]}


def _service_seconds() -> float:
    """Return the processor time of the service, whose process id is the last argument."""
    times = psutil.Process(int(sys.argv[4])).cpu_times()
    return float(times.user + times.system)


async def idle() -> dict[str, object]:
    """Be connected for a while."""
    async with client.connect(URL) as lab:
        await lab.cwd()
        await asyncio.sleep(SIZE)
    return {"seconds": SIZE}


WORK = {"roundtrip": roundtrip, "lines": lines, "transfer": transfer, "idle": idle}
PLAIN = {"roundtrip_sync": roundtrip_sync, "lines_sync": lines_sync}
print(json.dumps(uvloop.run(WORK[WHAT]()) if WHAT in WORK else PLAIN[WHAT]()))
