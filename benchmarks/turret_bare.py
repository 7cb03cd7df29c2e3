"""The bare pipeline, `python -m benchmarks.turret_bare DSN COUNT`: ZeroMQ's descriptor, orjson, COPY, and nothing else.

It drains the socket 500 messages at a time, makes a tuple of each, copies them in batches of at most 10,000 rows into a
table without an index, and reads no further while 100,000 wait. It prints its port, and at the end the time.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import asyncpg
import orjson
import psutil
import uvloop
import zmq

_COLUMNS = ("elapsed", "epoch", "scriptrun_time", "error", "custom_timers")
_TABLE = """
CREATE TABLE bare_results (
    elapsed float8, epoch float8, scriptrun_time float8, error text, custom_timers text
)
"""


async def main() -> None:
    """Receive and store."""
    loop = asyncio.get_running_loop()
    connection = await asyncpg.connect(sys.argv[1])
    await connection.execute("DROP TABLE IF EXISTS bare_results")
    await connection.execute(_TABLE)
    pull = zmq.Context().socket(zmq.PULL)
    pull.set_hwm(20_000)
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    rows: list[tuple[Any, ...]] = []
    work = asyncio.Event()
    paused = False

    def read() -> None:
        nonlocal paused
        receive, add, loads = pull.recv, rows.append, orjson.loads
        try:
            for _ in range(500):
                found = loads(receive(zmq.NOBLOCK))
                timers = found["custom_timers"]
                add(
                    (
                        *(found["elapsed"], found["epoch"], found["scriptrun_time"], found["error"]),
                        orjson.dumps(timers).decode() if timers else None,
                    )
                )
        except zmq.Again:
            pass
        else:
            if len(rows) < 100_000:
                loop.call_soon(read)
            else:
                paused = True
        if rows:
            work.set()

    loop.add_reader(pull.getsockopt(zmq.FD), read)
    print(f"port={port}", flush=True)
    stored, most = 0, int(sys.argv[2])
    while stored < most:
        await work.wait()
        batch = rows[:10_000]
        del rows[:10_000]
        if not rows:
            work.clear()
        await connection.copy_records_to_table("bare_results", records=batch, columns=_COLUMNS)
        stored += len(batch)
        if paused and len(rows) < 50_000:
            paused = False
            loop.call_soon(read)
    print(f"stored {time.time()} {psutil.Process().memory_info().rss / 1e6}", flush=True)
    await connection.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
