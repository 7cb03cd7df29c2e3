"""Keeping what happens: nobody waits, and a database that is away for a while loses nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import structlog

from smartmob.errors import Unavailable
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes.model import ProcessEvent
from smartmob.processes.recorder import Recorder
from smartmob.processes.store import Change
from tests.waiting import until


class Writer:
    """Stands where the group-commit writer stands, and is away for as long as the test wants."""

    def __init__(self) -> None:
        self.away = False
        self.refused = asyncio.Event()
        self.refused_number: int | None = None
        self.stored: list[Any] = []

    async def put(self, rows: Any) -> None:
        if self.away:
            self.refused.set()
            raise Unavailable
        if self.refused_number in [row.event.detail["n"] for row in rows]:
            raise ValueError("refused for its content")
        self.stored += [row.event.detail["n"] for row in rows]


def _event(number: int) -> ProcessEvent:
    return ProcessEvent(slug="app.web.0", at=datetime.now(UTC), kind="started", detail={"n": number})


def _recorder(writer: Writer, tasks: TaskRegistry) -> Recorder:
    """Return a recorder that writes to `writer`."""
    return Recorder(cast("GroupCommitWriter[Change]", writer), tasks)


async def test_everything_is_written_in_order() -> None:
    """Also what came while the database was away, and what waits at the end."""
    tasks, writer = TaskRegistry(), Writer()
    recorder = _recorder(writer, tasks)
    recorder.start()
    recorder.add(_event(0))
    await until(lambda: writer.stored == [0])
    writer.away = True
    for number in range(1, 3000):
        recorder.add(_event(number))
    await writer.refused.wait()
    writer.away = False
    await until(lambda: len(writer.stored) == 3000)
    recorder.add(_event(3000))
    await recorder.close()
    assert writer.stored == list(range(3001))
    await tasks.close()


async def test_a_stop_does_not_wait_for_a_database_that_is_away() -> None:
    """What could not be written is named in the log, and the service ends."""
    tasks, writer = TaskRegistry(), Writer()
    writer.away = True
    recorder = _recorder(writer, tasks)
    recorder.start()
    recorder.add(_event(0))
    await writer.refused.wait()
    await recorder.close()
    assert writer.stored == []
    await tasks.close()


async def test_a_refused_event_is_left_out_alone() -> None:
    """What the database refuses for its content costs none of the events that are written with it."""
    tasks, writer = TaskRegistry(), Writer()
    writer.refused_number = 3
    recorder = _recorder(writer, tasks)
    for number in range(8):
        recorder.add(_event(number))
    with structlog.testing.capture_logs() as lines:
        recorder.start()
        await until(lambda: len(writer.stored) == 7)
        await recorder.close()
    assert writer.stored == [0, 1, 2, 4, 5, 6, 7]
    assert [line["event"] for line in lines] == ["process.event_refused"]
