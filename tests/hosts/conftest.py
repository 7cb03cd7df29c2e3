"""Fixtures of the feature: its reader and writer on a database of the test."""

from __future__ import annotations

import pytest

from smartmob.hosts.store.reader import HostsReader
from smartmob.hosts.store.writer import HostsWriter
from smartmob.kernel.db.database import Database


@pytest.fixture(name="reader")
def _reader(database: Database) -> HostsReader:
    """Return the reader."""
    return HostsReader(database)


@pytest.fixture(name="writer")
def _writer(database: Database) -> HostsWriter:
    """Return the writer."""
    return HostsWriter(database)
