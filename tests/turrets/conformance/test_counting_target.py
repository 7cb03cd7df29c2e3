"""The target of a check."""

from __future__ import annotations

import asyncio

from smartmob.turrets.conformance.awaited_changes import AwaitedChanges
from smartmob.turrets.conformance.counting_target import CountingTarget


async def ask(target: CountingTarget, *requests: bytes) -> bytes:
    """Send requests over one connection, and return what comes until its end."""
    port = int(target.url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(requests))
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_it_counts_and_fails_on_demand() -> None:
    """Requests are counted with their paths, several over one connection; while it drops, none is answered."""
    target = CountingTarget(AwaitedChanges(), delay=0.01)
    await target.open()
    try:
        target.watch(2)
        first, last = (
            b"GET /a HTTP/1.1\r\n\r\n",
            b"POST /b HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        )
        answers = await asyncio.gather(ask(target, first, last), ask(target, last))
        assert [one.count(b"200 OK") for one in answers] == [2, 1]
        assert (target.hits, target.under_way, sorted(target.paths)) == (3, 0, ["/a", "/b", "/b"])
        assert (target.peak, target.all_at is not None) == (2, True)
        target.drops = True
        assert await ask(target, first) == b""
        assert target.hits == 4
        target.drops = False
        assert await ask(target, b"not HTTP at all\r\nConnection: close\r\n\r\n") != b""
    finally:
        await target.close()
