"""The table of tokens."""

from __future__ import annotations

from datetime import UTC, datetime

from smartmob.kernel.auth.model import StoredToken, digest
from smartmob.kernel.auth.store import TokenStore
from smartmob.kernel.db.database import Database
from smartmob.settings import DatabaseSettings

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


async def test_tokens_come_back_as_they_were(database_url: str) -> None:
    """In the order of their names; a name is taken once; who removes one is told whether there was one."""
    database = Database(DatabaseSettings(url=database_url), None)
    await database.open()
    store = TokenStore(database)
    second = StoredToken("web", "read", digest("b"), NOW, NOW)
    first = StoredToken("ci", "ingest", digest("a"), NOW, None)
    assert await store.insert(second) and await store.insert(first)
    assert not await store.insert(StoredToken("ci", "control", digest("c"), NOW, None))
    assert await store.tokens() == [first, second]
    assert await store.delete("ci")
    assert not await store.delete("ci")
    assert await store.tokens() == [second]
    await database.close()
