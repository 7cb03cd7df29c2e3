"""Tokens that other services on the same database make and revoke."""

from __future__ import annotations

import asyncio
from typing import Any

from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.auth import token_service
from smartmob.kernel.auth.authenticator import TokenAuthenticator
from smartmob.kernel.auth.model import NewToken, StoredToken
from smartmob.kernel.auth.store import TokenStore
from smartmob.kernel.auth.token_service import TokenService
from smartmob.kernel.db.database import Database
from tests.kernel.auth.test_routes import OWN, make, status
from tests.waiting import until


async def test_changes_by_another_service_are_read(with_settings: Any, tmp_path: Any, monkeypatch: Any) -> None:
    """Tokens that another service makes and revokes are noticed."""
    monkeypatch.setattr(token_service, "_REFRESH_SECONDS", 0.01)
    one = await with_settings(token="own-secret")
    two = await with_settings(token="own-secret", data_dir=tmp_path / "two")
    read = await make(one, "wall", "read")

    async def seen(wanted: int) -> None:
        async def there() -> bool:
            return await status(two, "GET", "/jobs", read) == wanted

        await until(there)

    await seen(200)
    assert await status(one, "DELETE", "/tokens/wall", OWN) == 204
    await seen(401)


class _Late(TokenStore):
    """A store that can delay the return of a list after reading it."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.read = asyncio.Event()
        self.hold: asyncio.Event | None = None

    async def tokens(self) -> list[StoredToken]:
        found = await super().tokens()
        hold, self.hold = self.hold, None
        if hold is not None:
            self.read.set()
            await hold.wait()
        return found


async def test_a_list_from_before_a_revocation_is_discarded(database_url: str) -> None:
    """A revocation waits for no list, and an older list does not bring the token back."""
    database = Database(DatabaseSettings(url=database_url), None)
    await database.open()
    store, tokens = _Late(database), TokenAuthenticator("own-secret")
    kept = TokenService(store, tokens)
    made = await kept.add(NewToken(name="wall", role="read"))
    assert tokens.principal_of(made.token) is not None

    hold = store.hold = asyncio.Event()
    reading = asyncio.ensure_future(kept.load())
    await store.read.wait()
    await kept.revoke("wall")
    assert tokens.principal_of(made.token) is None
    hold.set()
    await reading
    assert tokens.principal_of(made.token) is None
    await database.close()
