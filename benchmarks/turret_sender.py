"""Sends results as turrets of OCT do, as fast as they go: `python -m benchmarks.turret_sender RC COUNT [PUBLISH]`.

With the port of orders it answers as a turret and begins when it gets the order; without, it begins at once. It prints
the time (seconds since 1970) before the first result and after the last.
"""

from __future__ import annotations

import json
import random
import sys
import time

import zmq

_DIFFERENT = 20_000


def halves() -> list[list[bytes]]:
    """Return different results around the place of their time: a tenth with a timer, one in a hundred with an error."""
    random.seed(1)
    made = [
        json.dumps(
            {
                "elapsed": 0.5,
                "epoch": -1.0,
                "scriptrun_time": random.lognormvariate(-4, 0.5),
                "error": "503 Service Unavailable" if number % 100 == 0 else "",
                "custom_timers": {"page": random.lognormvariate(-5, 0.5)} if number % 10 == 0 else {},
            }
        ).encode()
        for number in range(_DIFFERENT)
    ]
    return [frame.split(b"-1.0") for frame in made]


def main() -> None:
    """Send."""
    rc, count = int(sys.argv[1]), int(sys.argv[2])
    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    push.connect(f"tcp://127.0.0.1:{rc}")
    orders = context.socket(zmq.SUB)
    if len(sys.argv) > 3:
        orders.connect(f"tcp://127.0.0.1:{sys.argv[3]}")
        orders.subscribe("")
        _until(orders, push, b'"start"', "ready")
    made = halves()
    began = time.time()
    for start in range(0, count, _DIFFERENT):
        now = f"{int(time.time())}.0".encode()
        for before, after in made[: count - start]:
            push.send(before + now + after)
        if len(sys.argv) > 3 and orders.poll(0):
            orders.recv()
            _say(push, "Running")
    print(f"sent {began} {time.time()}", flush=True)
    if len(sys.argv) > 3:
        _until(orders, push, b'"stop"', "Running")
        _say(push, "ready")
    context.destroy(linger=60_000)


def _say(push: zmq.Socket[bytes], status: str) -> None:
    push.send_json({"turret": "bench", "status": status, "uuid": "b", "rampup": 0, "script": "v.py", "cannons": 1})


def _until(orders: zmq.Socket[bytes], push: zmq.Socket[bytes], word: bytes, status: str) -> None:
    while True:
        _say(push, status)
        if orders.poll(500) and word in orders.recv():
            return


if __name__ == "__main__":
    main()
