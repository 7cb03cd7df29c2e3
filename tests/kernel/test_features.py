"""The start and the stop of a feature."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from smartmob.errors import Unavailable
from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.features import Lifecycle
from smartmob.kernel.http.routing import RouteTable
from smartmob.kernel.runtime.tasks import TaskRegistry


async def _commit(_: Any, __: Sequence[Any]) -> None:
    """Commit nothing."""


async def test_a_feature_is_started_and_closed_in_order(database_url: str) -> None:
    """It is started before its background tasks; at the end they are stopped and its writer refuses rows."""
    tasks = TaskRegistry()
    database = Database(DatabaseSettings(url=database_url), None)
    await database.open()
    done: list[str] = []
    working = asyncio.Event()

    async def prepare() -> None:
        done.append("prepared")

    async def work() -> None:
        done.append("working")
        working.set()
        await asyncio.Event().wait()

    live: GroupCommitWriter[Any] = GroupCommitWriter("feature", database, _commit)
    feature = Lifecycle(RouteTable("feature", ()), live, {"feature-work": work}, prepare)

    life = feature.run(tasks)
    await anext(life)
    await working.wait()

    assert done == ["prepared", "working"]
    assert tasks.names() == ["feature-work", "writer-feature"]
    await live.put([1])
    with pytest.raises(StopAsyncIteration):
        await anext(life)
    assert "writer-feature" not in tasks.names()
    with pytest.raises(Unavailable, match="stopping"):
        await live.put([2])
    await tasks.close()
    assert tasks.names() == []
    await database.close()
