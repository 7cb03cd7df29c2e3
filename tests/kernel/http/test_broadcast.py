"""Showing the newest value to many."""

from __future__ import annotations

import asyncio

from smartmob.kernel.http.broadcast import Broadcast
from tests.waiting import until


async def test_everybody_gets_what_is_shown() -> None:
    """Beginning with what was there when one came, until the end."""
    audience = Broadcast[int]()
    seen: list[list[int]] = [[], []]

    async def watch(index: int) -> None:
        async for value in audience.subscribe(0 if index else None):
            seen[index].append(value)

    watching = asyncio.gather(watch(0), watch(1))
    await until(lambda: len(audience) == 2 and seen[1] == [0])
    audience.publish(1)
    await until(lambda: seen == [[1], [0, 1]])
    audience.publish(2)
    audience.close()
    await watching
    assert seen == [[1, 2], [0, 1, 2]]
    assert not audience


async def test_who_is_slow_gets_the_newest() -> None:
    """What was shown while it was busy is not kept."""
    audience = Broadcast[int]()
    watching = audience.subscribe(0)
    assert await anext(watching) == 0
    for value in range(1, 1_000):
        audience.publish(value)
    assert await anext(watching) == 999
    await watching.aclose()
    assert not audience


async def test_nothing_follows_the_end() -> None:
    """Whoever has not yet left by then."""
    audience = Broadcast[int]()
    watching = audience.subscribe(1)
    assert await anext(watching) == 1
    audience.close()
    audience.publish(2)
    assert [value async for value in watching] == []


async def test_the_last_value_of_all_is_never_lost() -> None:
    """It is shown and then the doors are closed, before anybody had the time to look."""
    audience = Broadcast[str]()
    watching = audience.subscribe("first")
    assert await anext(watching) == "first"
    audience.publish("before")
    audience.publish("last")
    audience.close()
    audience.publish("more")
    assert [value async for value in watching] == ["last"]
