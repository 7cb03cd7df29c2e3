"""Fixtures of the feature: its reader and writer on a database of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from smartmob.hosts.store.reader import HostsReader
from smartmob.hosts.store.writer import HostsWriter
from smartmob.kernel.db.database import Database
from smartmob.settings import DatabaseSettings


@pytest.fixture(name="database")
async def _database(database_url: str) -> AsyncIterator[Database]:
    """Return an open database."""
    database = Database(DatabaseSettings(url=database_url, patience=2.0), None)
    await database.open()
    yield database
    await database.close()


@pytest.fixture(name="reader")
def _reader(database: Database) -> HostsReader:
    """Return the reader."""
    return HostsReader(database)


@pytest.fixture(name="writer")
def _writer(database: Database) -> HostsWriter:
    """Return the writer."""
    return HostsWriter(database)
