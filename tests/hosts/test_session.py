"""Who is told of the load of the machine, and when."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from smartmob.hosts.protocol import Subscription
from smartmob.hosts.sampler.sampler import Sampler
from smartmob.hosts.session import MOST_UNREAD, Subscribers
from tests.hosts.samples import sweep


class _Line:
    """A client that can be told to read nothing, or to leave."""

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
    sampler = Sampler("/")
    sampler.newest = sweep()
    return sampler


def _wants(interval: float, ident: bytes = b"1") -> Subscription:
    return Subscription(ident, ("CPU",), interval)


async def _tell(watchers: Subscribers, after: float) -> None:
    await watchers.tell(sweep(), asyncio.get_running_loop().time() + after)


async def test_at_once_and_each_interval(sampler: Sampler) -> None:
    """The first event comes with the subscription, the others when they are due."""
    watchers, quick, slow = Subscribers(sampler), _Line(), _Line()
    await watchers.add(quick, _wants(1.0))
    await watchers.add(slow, _wants(3.0))
    assert (len(quick.heard), len(slow.heard)) == (1, 1)
    for second in range(1, 7):
        await _tell(watchers, float(second))
    assert (len(quick.heard), len(slow.heard)) == (7, 3)
    assert quick.heard[0] == {"request": 1, "cpu": 12.5, "mem": None, "storage": None}


async def test_what_was_missed_is_not_sent_later(sampler: Sampler) -> None:
    """After a pause of the machine there is one event and not one for each second of it."""
    watchers, line = Subscribers(sampler), _Line()
    await watchers.add(line, _wants(1.0))
    await _tell(watchers, 100.0)
    await _tell(watchers, 100.2)
    assert len(line.heard) == 2


async def test_ends(sampler: Sampler) -> None:
    """A subscription that was ended, and all of a client that has left, are served no more."""
    watchers, one, two = Subscribers(sampler), _Line(), _Line()
    await watchers.add(one, _wants(1.0, b"1"))
    await watchers.add(one, _wants(1.0, b"2"))
    await watchers.add(two, _wants(1.0, b"1"))
    watchers.remove(one, b"1")
    watchers.remove(one, b"1")
    assert len(watchers) == 2
    watchers.remove_all(one)
    assert len(watchers) == 1
    two.gone = True
    await _tell(watchers, 1.0)
    assert len(watchers) == 0


async def test_who_does_not_read_is_dropped(sampler: Sampler) -> None:
    """Nothing is buffered for it for ever, and the others are served as ever."""
    watchers, lazy, good = Subscribers(sampler), _Line(), _Line()
    await watchers.add(lazy, _wants(1.0, b"1"))
    await watchers.add(lazy, _wants(1.0, b"2"))
    await watchers.add(good, _wants(1.0))
    lazy.waiting = MOST_UNREAD + 1
    await _tell(watchers, 1.0)
    assert lazy.dropped
    assert (len(lazy.heard), len(good.heard), len(watchers), watchers.dropped) == (2, 2, 1, 1)


async def test_the_pace(sampler: Sampler) -> None:
    """The sampler looks as often as the most impatient wants, and once a second without any."""
    watchers, line = Subscribers(sampler), _Line()
    for interval, step in ((5.0, 1.0), (2.5, 0.5), (0.1, 0.1)):
        await watchers.add(line, _wants(interval, b"%d" % int(interval * 10)))
        assert sampler._step == pytest.approx(step)
    watchers.remove_all(line)
    assert sampler._step == 1.0


async def test_a_thousand_cost_one_look(sampler: Sampler) -> None:
    """All are told from the same sweep."""
    watchers, lines = Subscribers(sampler), [_Line() for _ in range(1000)]
    for line in lines:
        await watchers.add(line, _wants(1.0))
    same = sweep(cpu=77.0)
    await watchers.tell(same, asyncio.get_running_loop().time() + 1.0)
    assert {line.heard[-1]["cpu"] for line in lines} == {77.0}
