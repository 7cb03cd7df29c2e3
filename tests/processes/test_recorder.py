"""Recording events: callers do not wait, and an unavailable database loses none."""

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
    """A replacement of the group-commit writer that is unavailable while `unavailable` is set."""

    def __init__(self) -> None:
        self.unavailable = False
        self.refused = asyncio.Event()
        self.refused_number: int | None = None
        self.stored: list[Any] = []

    async def put(self, rows: Any) -> None:
        if self.unavailable:
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


async def test_events_are_written_in_order_after_the_database_was_unavailable() -> None:
    """Events that are queued when the recorder is closed are written, too."""
    tasks, writer = TaskRegistry(), Writer()
    recorder = _recorder(writer, tasks)
    recorder.start()
    recorder.add(_event(0))
    await until(lambda: writer.stored == [0])
    writer.unavailable = True
    for number in range(1, 3000):
        recorder.add(_event(number))
    await writer.refused.wait()
    writer.unavailable = False
    await until(lambda: len(writer.stored) == 3000)
    recorder.add(_event(3000))
    await recorder.close()
    assert writer.stored == list(range(3001))
    await tasks.close()


async def test_close_does_not_wait_for_an_unavailable_database() -> None:
    """The events that could not be written are counted in the log."""
    tasks, writer = TaskRegistry(), Writer()
    writer.unavailable = True
    recorder = _recorder(writer, tasks)
    recorder.start()
    recorder.add(_event(0))
    await writer.refused.wait()
    await recorder.close()
    assert writer.stored == []
    await tasks.close()


async def test_only_the_event_that_the_database_refuses_is_lost() -> None:
    """The other events of the same batch are written."""
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
