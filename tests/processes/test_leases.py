"""The ends of leases, with a clock that the tests set."""

from __future__ import annotations

import asyncio

from smartmob.errors import NotFound, Unavailable
from smartmob.processes.leases import Leases


def test_a_lease_is_over_unless_it_is_renewed() -> None:
    """Renewing begins it anew; a program without a lease never gets one by that."""
    now = [100.0]
    leases = Leases(lambda: now[0])
    leases.begin("kept", 10)
    leases.begin("left", 10)
    leases.begin("without", None)
    now[0] = 109.0
    leases.renew("kept")
    leases.renew("without")
    assert leases.over() == []
    now[0] = 110.0
    assert leases.over() == ["left"]
    leases.end("left")
    now[0] = 119.0
    assert leases.over() == ["kept"]


async def test_a_program_is_deleted_when_its_lease_is_over() -> None:
    """A delete that cannot be stored is tried again, and a program that has gone already is forgotten."""
    loop = asyncio.get_running_loop()
    skipped = [0.0]
    leases = Leases(lambda: loop.time() + skipped[0])
    asked: list[tuple[str, str]] = []
    tried, done = asyncio.Event(), asyncio.Event()

    async def delete(slug: str, reason: str) -> None:
        asked.append((slug, reason))
        if slug == "gone":
            raise NotFound("there is no program gone")
        if not tried.is_set():
            tried.set()
            raise Unavailable("the database is away")
        leases.end(slug)
        done.set()

    running = asyncio.ensure_future(leases.run(delete))
    leases.begin("gone", 0.001)
    leases.begin("left", 0.001)
    await tried.wait()
    skipped[0] = 60.0
    leases.begin("other", 600)  # the task looks again, by a clock that has gone on
    await done.wait()
    running.cancel()
    assert sorted(asked) == [("gone", "not renewed for 0.001 s"), *[("left", "not renewed for 0.001 s")] * 2]
    assert leases.over() == []
