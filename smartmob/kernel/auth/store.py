"""The table of tokens."""

from __future__ import annotations

from smartmob.kernel.auth.model import StoredToken
from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Database

PACKAGE = "smartmob.kernel.auth"


class TokenStore:
    """Reads and writes tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)

    async def tokens(self) -> list[StoredToken]:
        """Return all tokens in the order of their names."""
        return [StoredToken(**dict(row)) for row in await self._database.fetch(self._sql["select_tokens"])]

    async def insert(self, token: StoredToken) -> bool:
        """Store a token; return False when there is one of that name."""
        values = (token.name, token.role, token.digest, token.created_at, token.expires_at)
        return bool(await self._database.fetch(self._sql["insert_token"], *values))

    async def delete(self, name: str) -> bool:
        """Remove a token; return whether there was one."""
        return bool(await self._database.fetch(self._sql["delete_token"], name))
