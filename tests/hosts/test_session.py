"""Subscriptions: which events are sent to which client, and when."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from smartmob.hosts.protocol import Subscription
from smartmob.hosts.sampler.sampler import Sampler
from smartmob.hosts.session import MOST_UNREAD_BYTES, Subscribers
from tests.hosts.samples import snapshot


class _Line:
    """A client that can stop reading or leave."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.waiting = 0
        self.gone = False
        self.dropped = False

    async def send(self, text: str) -> None:
        if self.gone:
            raise ConnectionResetError
        self.heard.append(json.loads(text)["payload"])

    def unread(self) -> int:
        return self.waiting

    def drop(self) -> None:
        self.dropped = True


@pytest.fixture(name="sampler")
def _sampler() -> Sampler:
    """Return a sampler that has looked once."""
    sampler = Sampler()
    sampler.newest = snapshot()
    return sampler


def _wants(interval: float, ident: bytes = b"1") -> Subscription:
    return Subscription(ident, ("CPU",), interval)


async def _tell(subscribers: Subscribers, after: float) -> None:
    await subscribers.send_events(snapshot(), asyncio.get_running_loop().time() + after)


async def test_events_come_at_once_and_each_interval(sampler: Sampler) -> None:
    """The first event comes with the subscription, the others when they are due."""
    subscribers, quick, slow = Subscribers(sampler), _Line(), _Line()
    await subscribers.add(quick, _wants(1.0))
    await subscribers.add(slow, _wants(3.0))
    assert (len(quick.heard), len(slow.heard)) == (1, 1)
    for second in range(1, 7):
        await _tell(subscribers, float(second))
    assert (len(quick.heard), len(slow.heard)) == (7, 3)
    assert quick.heard[0] == {"request": 1, "cpu": 12.5, "mem": None, "storage": None}


async def test_missed_events_are_not_sent_later(sampler: Sampler) -> None:
    """After a suspension of the machine there is one event, not one for each second of it."""
    subscribers, line = Subscribers(sampler), _Line()
    await subscribers.add(line, _wants(1.0))
    await _tell(subscribers, 100.0)
    await _tell(subscribers, 100.2)
    assert len(line.heard) == 2


async def test_an_ended_subscription_gets_no_events(sampler: Sampler) -> None:
    """A subscription that was ended, and all of a client that has left, get no more events."""
    subscribers, one, two = Subscribers(sampler), _Line(), _Line()
    await subscribers.add(one, _wants(1.0, b"1"))
    await subscribers.add(one, _wants(1.0, b"2"))
    await subscribers.add(two, _wants(1.0, b"1"))
    subscribers.remove(one, b"1")
    subscribers.remove(one, b"1")
    assert len(subscribers) == 2
    subscribers.remove_all(one)
    assert len(subscribers) == 1
    two.gone = True
    await _tell(subscribers, 1.0)
    assert len(subscribers) == 0


async def test_a_client_that_does_not_read_is_disconnected(sampler: Sampler) -> None:
    """Events for it are not buffered without limit, and other clients get theirs."""
    subscribers, lazy, good = Subscribers(sampler), _Line(), _Line()
    await subscribers.add(lazy, _wants(1.0, b"1"))
    await subscribers.add(lazy, _wants(1.0, b"2"))
    await subscribers.add(good, _wants(1.0))
    lazy.waiting = MOST_UNREAD_BYTES + 1
    await _tell(subscribers, 1.0)
    assert lazy.dropped
    assert (len(lazy.heard), len(good.heard), len(subscribers), subscribers.dropped) == (2, 2, 1, 1)


async def test_the_sampler_follows_the_shortest_interval(sampler: Sampler) -> None:
    """The sampler reads as often as the shortest interval needs, and once a second without subscriptions."""
    subscribers, line = Subscribers(sampler), _Line()
    for interval, step in ((5.0, 1.0), (2.5, 0.5), (0.1, 0.1)):
        await subscribers.add(line, _wants(interval, b"%d" % int(interval * 10)))
        assert sampler._interval == pytest.approx(step)
    subscribers.remove_all(line)
    assert sampler._interval == 1.0


async def test_a_thousand_subscribers_share_one_snapshot(sampler: Sampler) -> None:
    """All events come from the same snapshot."""
    subscribers, lines = Subscribers(sampler), [_Line() for _ in range(1000)]
    for line in lines:
        await subscribers.add(line, _wants(1.0))
    same = snapshot(cpu=77.0)
    await subscribers.send_events(same, asyncio.get_running_loop().time() + 1.0)
    assert {line.heard[-1]["cpu"] for line in lines} == {77.0}
