"""The use cases of tokens: make, list and revoke them, and keep the authenticator up to date."""

from __future__ import annotations

import asyncio

from smartmob.errors import Conflict, InvalidInput, NotFound, Unavailable
from smartmob.kernel.auth.authenticator import TokenAuthenticator
from smartmob.kernel.auth.events import TokensChanged
from smartmob.kernel.auth.model import NODE, MadeToken, NewToken, StoredToken, TokenEntry, digest, make_token
from smartmob.kernel.auth.store import TokenStore
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus

log = get_logger()

_REFRESH_SECONDS = 10.0
"""The interval at which changes by other services on the same database are read."""


class TokenService:
    """Makes, lists and revokes tokens. A token that is revoked here is invalid at once."""

    def __init__(self, store: TokenStore, tokens: TokenAuthenticator, bus: EventBus | None = None) -> None:
        self._store = store
        self._bus = EventBus() if bus is None else bus
        self._tokens = tokens
        self._revision = 0

    async def load(self) -> None:
        """Read the tokens from the store and pass them to the authenticator."""
        while True:
            revision = self._revision
            found = await self._store.tokens()
            # Read the tokens again if one was changed meanwhile: the list may contain a revoked token.
            if revision == self._revision:
                self._tokens.set_stored(found)
                return

    async def add(self, new: NewToken) -> MadeToken:
        """Make a token. Raises Conflict if the name is taken, or if the service itself has no token."""
        if new.only_nodes and new.role == NODE:
            raise InvalidInput.at(
                "$.only_nodes",
                "a token of the role node cannot be limited to nodes: machines join with it",
            )
        if not self._tokens.required:
            raise Conflict(
                "the service was started without a token, so every client has all rights. "
                "Start it with --token-file FILE first; then make tokens with fewer rights"
            )
        token, now = make_token(), clock.now()
        stored = StoredToken(new.name, new.role, digest(token), now, new.expires(now), new.only_nodes)
        if not await self._store.insert(stored):
            raise Conflict(f"there is a token {new.name} already; revoke it first, or choose another name")
        self._revision += 1
        await self.load()
        self._bus.publish(TokensChanged(new.name))
        log.info("token.added", name=new.name, role=new.role)
        return MadeToken(
            name=new.name, role=new.role, expires_at=stored.expires_at, token=token, only_nodes=new.only_nodes
        )

    async def revoke(self, name: str) -> None:
        """Remove a token; raises NotFound."""
        if not await self._store.delete(name):
            raise NotFound(f"there is no token {name}; `smartmob token ls` lists them")
        self._revision += 1
        self._tokens.remove_stored(name)
        self._bus.publish(TokensChanged(name))
        log.info("token.revoked", name=name)

    async def entries(self) -> list[TokenEntry]:
        """Return all tokens without their secrets."""
        now = clock.now()
        return [
            TokenEntry(
                name=token.name,
                role=token.role,
                created_at=token.created_at,
                expires_at=token.expires_at,
                expired=not token.is_valid(now),
                only_nodes=token.only_nodes,
            )
            for token in await self._store.tokens()
        ]

    async def run_refresh(self) -> None:
        """Read the tokens at regular intervals, because other services on the same database change them."""
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                await self.load()
            except Unavailable as error:
                log.warning("token.not_refreshed", reason=str(error))
                self._tokens.abort_invalid()
