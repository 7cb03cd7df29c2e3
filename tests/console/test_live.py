"""One look and one encoding a second, for everybody who watches."""

from __future__ import annotations

from typing import Any

import orjson

from smartmob.console.live import Live
from smartmob.errors import Unavailable
from smartmob.kernel.runtime.events import EventBus, ServiceStopping
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.metrics.events import SessionDeleted, SessionStored
from tests.waiting import until


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


async def test_news() -> None:
    """Its number is another one after each event, and else the same."""
    tasks, bus = TaskRegistry(), EventBus()
    live = Live(_Looks(), bus)  # type: ignore[arg-type]  # it asks for nothing but `now`
    tasks.start("live", live.show_for_ever())
    watching = live.watch()
    seen = [orjson.loads(await anext(watching))["news"] for _ in range(2)]
    assert seen == [live.news, live.news]
    bus.publish(SessionStored("s", "commit"))
    bus.publish(SessionDeleted("s", 0))
    assert orjson.loads(await anext(watching))["news"] == live.news == seen[0] + 2
    await watching.aclose()
    await tasks.close()


async def test_frames_go_on_when_the_database_comes_back() -> None:
    """A second without it is a second without a frame, and no more."""
    looks, tasks, bus = _Looks(), TaskRegistry(), EventBus()
    live = Live(looks, bus)  # type: ignore[arg-type]  # it asks for nothing but `now`
    tasks.start("live", live.show_for_ever())
    watching = live.watch()
    first = orjson.loads(await anext(watching))
    looks.away = True
    await until(lambda: looks.looks == 2)
    looks.away = False
    second = orjson.loads(await anext(watching))
    assert second == {"looks": 3, "news": first["news"]}
    bus.publish(ServiceStopping())
    assert [frame async for frame in watching] == []
    await tasks.close()
