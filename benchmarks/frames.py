"""Load for a WebSocket: connections that each send a message, wait for its answer, and send the next.

`python -m benchmarks.frames PORT CONNECTIONS SECONDS` runs in a process of its own and prints a JSON object. The frames
are made beforehand and answers are only counted, so that the load costs a fraction of what it measures.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from typing import Any

import orjson
import uvloop

CLIENT_ID = base64.b64encode(b"bench:123").decode()
_START = 50


def frame(text: bytes) -> bytes:
    """Return a masked text frame (RFC 6455) of at most 65,535 bytes; the mask is zero, so nothing is changed."""
    size = len(text)
    head = bytes([0x81, 0x80 | size]) if size < 126 else bytes([0x81, 0xFE]) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + text


def sample(time_: float, number: int) -> bytes:
    """Return a sample as the existing clients send it."""
    data = {"cpu_load": 18.5, "mem": 8513, "storage": 81720, "time": int(time_) - number % 3600}
    return orjson.dumps({"type": "CLIENT_DATA", "data": data, "interval": 1, "client_id": CLIENT_ID})


class Connection(asyncio.Protocol):
    """One client. `answered` counts, `taken` holds the seconds of each answer."""

    def __init__(self, messages: list[bytes], ready: asyncio.Event, opened: list[int]) -> None:
        self.messages = messages
        self.answered = 0
        self.taken: list[float] = []
        self.errors = 0
        self._ready = ready
        self._opened = opened
        self._held = bytearray()
        self._upgraded = False
        self._greeted = False
        self._sent = 0.0
        self._going = False
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Ask for the WebSocket."""
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Count answers, and send the next message for each."""
        self._held += data
        if not self._upgraded:
            end = self._held.find(b"\r\n\r\n")
            if end < 0:
                return
            self._upgraded = True
            del self._held[: end + 4]
            self._transport.write(frame(b'{"type": "HELLO"}'))
        while (text := self._frame()) is not None:
            if not self._greeted:
                self._greeted = True
                self._opened[0] += 1
                self._ready.set()
            elif self._going:
                self.errors += b'"ERROR"' in text[:20]
                self.taken.append(time.perf_counter() - self._sent)
                self.answered += 1
                self._send()

    def go(self) -> None:
        """Begin."""
        self._going = True
        self._send()

    def stop(self) -> None:
        """End."""
        self._going = False
        self._transport.abort()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self.messages[self.answered % len(self.messages)])

    def _frame(self) -> bytes | None:
        held = self._held
        if len(held) < 2:
            return None
        size, start = held[1] & 0x7F, 2
        if size == 126:
            if len(held) < 4:
                return None
            size, start = int.from_bytes(held[2:4], "big"), 4
        if len(held) < start + size:
            return None
        text = bytes(held[start : start + size])
        del held[: start + size]
        return text


async def measure(port: int, connections: int, seconds: float) -> dict[str, Any]:
    """Return what came of it; latencies in ms."""
    loop = asyncio.get_running_loop()
    messages = [frame(sample(time.time(), number)) for number in range(200)]
    ready, opened = asyncio.Event(), [0]
    clients: list[Connection] = []
    for start in range(0, connections, _START):
        batch = min(_START, connections - start)
        made = await asyncio.gather(
            *(
                loop.create_connection(lambda: Connection(messages, ready, opened), "127.0.0.1", port)
                for _ in range(batch)
            )
        )
        clients += [protocol for _, protocol in made]
    while opened[0] < connections:
        ready.clear()
        await ready.wait()
    started = time.perf_counter()
    for client in clients:
        client.go()
    await asyncio.sleep(seconds)
    for client in clients:
        client.stop()
    taken = time.perf_counter() - started
    times = sorted(value for client in clients for value in client.taken)
    return {
        "messages": len(times),
        "seconds": taken,
        "rate": len(times) / taken,
        "p50": 1e3 * times[len(times) // 2],
        "p99": 1e3 * times[int(len(times) * 0.99)],
        "errors": sum(client.errors for client in clients),
    }


if __name__ == "__main__":
    port, connections, seconds = (float(word) for word in sys.argv[1:4])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.write(orjson.dumps(runner.run(measure(int(port), int(connections), seconds))).decode() + "\n")
