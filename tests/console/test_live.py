"""One look and one encoding a second, for everybody who watches."""

from __future__ import annotations

from typing import Any

import orjson

from smartmob.console.live import Live
from smartmob.errors import Unavailable
from smartmob.kernel.events import EventBus, ServiceStopping
from smartmob.kernel.tasks import TaskRegistry
from smartmob.marks.events import MarkRemoved
from smartmob.metrics.events import SessionStored


class _Looks:
    """Counts how often the lab is looked at, and fails when it shall."""

    def __init__(self) -> None:
        self.looks = 0
        self.away = False

    async def now(self, news: int) -> Any:
        self.looks += 1
        if self.away:
            raise Unavailable("the database is away")
        return {"looks": self.looks, "news": news}


async def test_nobody_watches() -> None:
    """Then nobody looks."""
    looks, tasks = _Looks(), TaskRegistry()
    live = Live(looks, EventBus())  # type: ignore[arg-type]  # it asks for nothing but `now`
    tasks.start("live", live.show_for_ever())
    watching = live.watch()
    assert orjson.loads(await anext(watching))["looks"] == 1
    await watching.aclose()
    again = live.watch()
    assert orjson.loads(await anext(again))["looks"] == 2
    await again.aclose()
    await tasks.close()


async def test_frames_go_on_when_the_database_comes_back() -> None:
    """A second without it is a second without a frame, and no more."""
    looks, tasks, bus = _Looks(), TaskRegistry(), EventBus()
    live = Live(looks, bus)  # type: ignore[arg-type]  # it asks for nothing but `now`
    tasks.start("live", live.show_for_ever())
    watching = live.watch()
    await anext(watching)
    looks.away = True
    bus.publish(SessionStored("s", "commit"))
    bus.publish(MarkRemoved)
    looks.away = False
    frame = orjson.loads(await anext(watching))
    assert frame["news"] == 1
    bus.publish(ServiceStopping())
    assert [frame async for frame in watching] == []
    await tasks.close()
