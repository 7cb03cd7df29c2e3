"""Fixtures of the feature: its reader, its writer and its service on a database of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from smartmob.feature_settings import HostsSettings
from smartmob.hosts.service import HostsService
from smartmob.hosts.store.reader import HostsReader
from smartmob.hosts.store.writer import HostsWriter
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.settings import Settings


@pytest.fixture(name="reader")
def _reader(database: Database) -> HostsReader:
    """Return the reader."""
    return HostsReader(database)


@pytest.fixture(name="writer")
def _writer(database: Database) -> HostsWriter:
    """Return the writer."""
    return HostsWriter(database)


@pytest.fixture(name="feature")
async def _feature(
    database: Database, reader: HostsReader, writer: HostsWriter
) -> AsyncIterator[Callable[..., HostsService]]:
    """Return the maker of the feature's service by its settings."""
    tasks = TaskRegistry()
    live = GroupCommitWriter("hosts", database, writer.commit)
    await live.start(tasks)

    def make(bus: EventBus | None = None, **changes: Any) -> HostsService:
        settings = replace(HostsSettings(), **changes)
        return HostsService(
            reader,
            writer,
            live,
            bus or EventBus(),
            ServiceRegistry(database, Settings(service_name="here")),
            settings=settings,
        )

    yield make
    await tasks.close()
    await live.close()
