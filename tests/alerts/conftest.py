"""Fixtures of the tests of alerts: a receiver of webhooks, and a store."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from smartmob.alerts.store import AlertStore
from smartmob.kernel.db.database import Database
from tests.alerts.webhooks import Webhook, listening


@pytest.fixture(name="webhook")
async def _webhook() -> AsyncIterator[Webhook]:
    """Return a receiver of webhooks that is listening."""
    async with listening() as webhook:
        yield webhook


@pytest.fixture(name="store")
def _store(database: Database) -> AlertStore:
    """Return the store."""
    return AlertStore(database)
