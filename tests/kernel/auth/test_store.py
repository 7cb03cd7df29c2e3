"""The store of tokens."""

from __future__ import annotations

from datetime import UTC, datetime

from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.auth.model import StoredToken, digest
from smartmob.kernel.auth.store import TokenStore
from smartmob.kernel.db.database import Database

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


async def test_tokens_are_stored_listed_and_deleted(database_url: str) -> None:
    """Tokens come back unchanged and ordered by name; a name is unique; deleting tells whether there was one."""
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
