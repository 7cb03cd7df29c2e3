"""The store of the tokens."""

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
        """Return all tokens, ordered by name."""
        return [StoredToken(**dict(row)) for row in await self._database.fetch(self._sql["select_tokens"])]

    async def insert(self, token: StoredToken) -> bool:
        """Store a token; return False if the name is taken."""
        values = (token.name, token.role, token.digest, token.created_at, token.expires_at, token.only_nodes)
        return bool(await self._database.fetch(self._sql["insert_token"], *values))

    async def delete(self, name: str) -> bool:
        """Delete a token; return whether it existed."""
        return bool(await self._database.fetch(self._sql["delete_token"], name))
