"""The newest value for all subscribers."""

from __future__ import annotations

import asyncio

from smartmob.kernel.http.broadcast import Broadcast
from tests.waiting import until


async def test_every_subscriber_gets_each_value() -> None:
    """Fast subscribers get the first value and each published one, until the end."""
    broadcast = Broadcast[int]()
    seen: list[list[int]] = [[], []]

    async def watch(index: int) -> None:
        async for value in broadcast.subscribe(0 if index else None):
            seen[index].append(value)

    watching = asyncio.gather(watch(0), watch(1))
    await until(lambda: len(broadcast) == 2 and seen[1] == [0])
    broadcast.publish(1)
    await until(lambda: seen == [[1], [0, 1]])
    broadcast.publish(2)
    broadcast.close()
    await watching
    assert seen == [[1, 2], [0, 1, 2]]
    assert not broadcast


async def test_a_slow_subscriber_gets_only_the_newest_value() -> None:
    """Values that were published while a subscriber was busy are skipped, except the newest."""
    broadcast = Broadcast[int]()
    watching = broadcast.subscribe(0)
    assert await anext(watching) == 0
    for value in range(1, 1_000):
        broadcast.publish(value)
    assert await anext(watching) == 999
    await watching.aclose()
    assert not broadcast


async def test_values_after_close_are_ignored() -> None:
    """A subscriber gets no value that was published after `close`."""
    broadcast = Broadcast[int]()
    watching = broadcast.subscribe(1)
    assert await anext(watching) == 1
    broadcast.close()
    broadcast.publish(2)
    assert [value async for value in watching] == []


async def test_the_last_value_before_close_is_delivered() -> None:
    """A value that was published just before `close` reaches every subscriber."""
    broadcast = Broadcast[str]()
    watching = broadcast.subscribe("first")
    assert await anext(watching) == "first"
    broadcast.publish("before")
    broadcast.publish("last")
    broadcast.close()
    broadcast.publish("more")
    assert [value async for value in watching] == ["last"]
