"""Live frames: the state of the lab is read once a second for all viewers, and only while there are any."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from smartmob.console.live import Live
from smartmob.errors import Unavailable
from smartmob.kernel.runtime.events import EventBus, ServiceStopping
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.metrics.events import SessionDeleted, SessionStored
from tests.waiting import until


class _State(msgspec.Struct):
    reads: int
    change_number: int = msgspec.field(name="news")
    nodes: list[Any] = []
    services: list[Any] = []
    node_records: str = ""


class _StateReader:
    """A console service that counts its calls, and fails while `away` is true."""

    def __init__(self) -> None:
        self.reads = 0
        self.away = False
        self.node_records = ""

    async def now(self, change_number: int) -> Any:
        self.reads += 1
        if self.away:
            raise Unavailable("the database is away")
        return _State(self.reads, change_number, node_records=self.node_records)


async def test_the_lab_is_not_read_without_viewers() -> None:
    """Only the first frame of each viewer is read while there is no other viewer."""
    reader, tasks = _StateReader(), TaskRegistry()
    live = Live(reader, EventBus())  # type: ignore[arg-type]  # it calls nothing but `now`
    tasks.start("live", live.run())
    watching = live.watch()
    assert orjson.loads(await anext(watching))["reads"] == 1
    await watching.aclose()
    again = live.watch()
    assert orjson.loads(await anext(again))["reads"] == 2
    await again.aclose()
    await tasks.close()


async def test_the_number_of_news_changes_with_each_event() -> None:
    """Frames between two events have the same number."""
    tasks, bus = TaskRegistry(), EventBus()
    live = Live(_StateReader(), bus)  # type: ignore[arg-type]  # it calls nothing but `now`
    tasks.start("live", live.run())
    watching = live.watch()
    seen = [orjson.loads(await anext(watching))["news"] for _ in range(2)]
    assert seen == [live.change_number, live.change_number]
    bus.publish(SessionStored("s", "commit"))
    bus.publish(SessionDeleted("s", 0))
    assert orjson.loads(await anext(watching))["news"] == live.change_number == seen[0] + 2
    await watching.aclose()
    await tasks.close()


async def test_what_nodes_tell_another_service_is_news_here() -> None:
    """The first frame with the change has the new number, and later ones the same."""
    tasks, reader = TaskRegistry(), _StateReader()
    live = Live(reader, EventBus())  # type: ignore[arg-type]  # it calls nothing but `now`
    tasks.start("live", live.run())
    watching = live.watch()
    first = orjson.loads(await anext(watching))["news"]
    reader.node_records = "7"
    seen = [orjson.loads(await anext(watching))["news"] for _ in range(2)]
    assert seen == [first + 1, first + 1]
    await watching.aclose()
    await tasks.close()


async def test_frames_continue_when_the_database_comes_back() -> None:
    """While the database is away there are no frames, and viewers stay connected."""
    reader, tasks, bus = _StateReader(), TaskRegistry(), EventBus()
    live = Live(reader, bus)  # type: ignore[arg-type]  # it calls nothing but `now`
    tasks.start("live", live.run())
    watching = live.watch()
    first = orjson.loads(await anext(watching))
    reader.away = True
    await until(lambda: reader.reads == 2)
    reader.away = False
    second = orjson.loads(await anext(watching))
    assert (second["reads"], second["news"]) == (3, first["news"])
    bus.publish(ServiceStopping())
    assert [frame async for frame in watching] == []
    await tasks.close()
