"""Round trips to the echo, by aiohttp's client on uvloop."""

from __future__ import annotations

import json
import sys
import time

import aiohttp
import orjson
import uvloop


async def main(port: str, what: str, count: str) -> dict[str, object]:
    """Return the seconds of each round trip; `raw` asks the service instead, with the same client."""
    path, message = ("commands", {"type": "call", "id": 1, "name": "cwd"}) if what == "raw" else ("", {"id": 1})
    times = []
    url = f"http://127.0.0.1:{port}/{path}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, compress=0) as socket:
        for _ in range(int(count)):
            started = time.perf_counter()
            await socket.send_str(orjson.dumps(message).decode())
            orjson.loads(await socket.receive_str())
            times.append(time.perf_counter() - started)
    return {"p50": sorted(times)[len(times) // 2], "p99": sorted(times)[len(times) * 99 // 100]}


print(json.dumps(uvloop.run(main(*sys.argv[1:]))))
