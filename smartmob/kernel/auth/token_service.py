"""Makes, lists and revokes tokens, and keeps those that hold where requests are checked."""

from __future__ import annotations

import asyncio

import structlog

from smartmob.errors import Conflict, NotFound, Unavailable
from smartmob.kernel.auth.authenticator import TokenAuthenticator
from smartmob.kernel.auth.model import MadeToken, NewToken, StoredToken, TokenEntry, digest, make_token
from smartmob.kernel.auth.store import TokenStore
from smartmob.kernel.runtime import clock

log = structlog.get_logger()

_REFRESH_SECONDS = 10.0
"""After so long it is known here what another service on the same database has changed."""


class TokenService:
    """The use cases of tokens. What is revoked here holds no longer from that moment on."""

    def __init__(self, store: TokenStore, tokens: TokenAuthenticator) -> None:
        self._store = store
        self._tokens = tokens
        self._revision = 0

    async def load(self) -> None:
        """Read the tokens, so that requests can show them."""
        while True:
            revision = self._revision
            found = await self._store.tokens()
            # What was read before a change here is not taken after it: it would bring back a revoked token.
            if revision == self._revision:
                self._tokens.know(found)
                return

    async def add(self, new: NewToken) -> MadeToken:
        """Make a token. Raises Conflict when there is one of that name, or when the service itself has none."""
        if not self._tokens.required:
            raise Conflict(
                "the service was started without a token, so everybody who reaches it may do everything. "
                "Start it with --token-file FILE; then tokens that may do less make sense"
            )
        token, now = make_token(), clock.now()
        stored = StoredToken(new.name, new.role, digest(token), now, new.expires(now))
        if not await self._store.insert(stored):
            raise Conflict(f"there is a token {new.name} already; revoke it first, or choose another name")
        self._revision += 1
        await self.load()
        log.info("token.added", name=new.name, role=new.role)
        return MadeToken(name=new.name, role=new.role, expires_at=stored.expires_at, token=token)

    async def revoke(self, name: str) -> None:
        """Remove a token; raises NotFound."""
        if not await self._store.delete(name):
            raise NotFound(f"there is no token {name}; GET /tokens lists them")
        self._revision += 1
        self._tokens.forget(name)
        log.info("token.revoked", name=name)

    async def entries(self) -> list[TokenEntry]:
        """Return all tokens, without what would let somebody in."""
        now = clock.now()
        return [
            TokenEntry(
                name=token.name,
                role=token.role,
                created_at=token.created_at,
                expires_at=token.expires_at,
                expired=not token.holds(now),
            )
            for token in await self._store.tokens()
        ]

    async def refresh_for_ever(self) -> None:
        """Notice what other services on the same database change, until cancelled."""
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                await self.load()
            except Unavailable as error:
                log.warning("token.not_refreshed", reason=str(error))
                self._tokens.expel()
