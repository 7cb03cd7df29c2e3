"""Authentication of machines by client id: passwords as salted scrypt, and a cache of verified client ids.

A password is hashed in a thread, at most two at a time, and once for each client id: valid client ids are cached (as
keyed digests) and wrong ones for a minute, so that samples need no hashing.

The password of a node is derived from its random key and cannot be guessed, so it needs no slow hash: a fleet that
connects again after a restart of the service would keep both threads busy for minutes. Such a row has no salt.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol

from smartmob.errors import Unavailable
from smartmob.hosts.client_ids import parse_client_id

COST, BLOCK, PARALLEL = 2**14, 8, 1
"""The parameters N, r and p of scrypt (RFC 7914): 16 MiB and some tens of milliseconds for each hash."""

_MOST_KNOWN = 20_000  # valid client ids in the cache
_MOST_WRONG = 2_000  # wrong client ids in the cache
_WRONG_SECONDS = 60.0
"""Seconds for which a wrong client id is refused without hashing."""
_PARALLEL_HASHES = 2  # threads
_MOST_WAITING = 5_000  # passwords that wait to be hashed


class Secret(Protocol):
    """The stored row of a machine: `salt` and `secret`, the hash of its password."""

    def __getitem__(self, name: str, /) -> bytes | None:
        """Return the column `salt` or `secret`."""


Find = Callable[[str], Awaitable[Secret | None]]


class HostAuthenticator:
    """Verifies client ids. `find` returns the stored row of a name, or None."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._key = secrets.token_bytes(32)
        self._no_salt = secrets.token_bytes(16)
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._known_of: dict[str, set[bytes]] = {}
        self._wrong: OrderedDict[bytes, float] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Future[str | None]] = {}
        self._registering = 0
        self._slots = asyncio.Semaphore(_PARALLEL_HASHES)
        self.hashes = 0
        """Passwords hashed since the start."""
        self.generation = 0
        """A number that changes when previously verified client ids may have become invalid."""

    def known(self, client_id: str) -> str | None:
        """Return the name of the machine if the client id is in the cache of valid ones, else None."""
        return self._known.get(self._digest(client_id))

    async def verify(self, client_id: str) -> str | None:
        """Return the name of the machine of a valid client id, else None. Raises Unavailable."""
        digest = self._digest(client_id)
        if (name := self._known.get(digest)) is not None:
            self._known.move_to_end(digest)
            return name
        now = asyncio.get_running_loop().time()
        if self._wrong.get(digest, 0.0) > now or (parsed := parse_client_id(client_id)) is None:
            return None
        if (under_way := self._under_way.get(digest)) is not None:
            return await asyncio.shield(under_way)
        self._check_queue()
        outcome: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._under_way[digest] = outcome
        try:
            found = await self._check(*parsed)
            self._remember(digest, found)
            outcome.set_result(found)
            return found
        except BaseException as error:
            outcome.set_exception(Unavailable("the password could not be verified; try again"))
            outcome.exception()
            raise error
        finally:
            del self._under_way[digest]

    def _check_queue(self) -> None:
        if len(self._under_way) + self._registering >= _MOST_WAITING:
            raise Unavailable("too many passwords wait to be hashed; try again in a moment", 5)

    def forget(self, name: str) -> None:
        """Remove a machine from the cache, because it was registered or removed."""
        self.generation += 1
        for digest in self._known_of.pop(name, ()):
            del self._known[digest]
        self._wrong.clear()

    async def hashed(self, password: str) -> tuple[bytes, bytes]:
        """Return a new salt and the hash of a password with it. Raises Unavailable."""
        self._check_queue()
        salt = secrets.token_bytes(16)
        self._registering += 1
        try:
            async with self._slots:
                return salt, await self._scrypt(password, salt)
        finally:
            self._registering -= 1

    async def _check(self, name: str, password: str) -> str | None:
        stored = await self._find(name)
        salt, secret = (None, None) if stored is None else (stored["salt"], stored["secret"])
        if salt is None and secret is not None and hmac.compare_digest(node_secret(password), secret):
            return name
        # An unknown name takes as long as a wrong password, so that the time does not reveal which names exist.
        async with self._slots:
            given = await self._scrypt(password, self._no_salt if salt is None else salt)
        return name if secret is not None and hmac.compare_digest(given, secret) else None

    async def _scrypt(self, password: str, salt: bytes) -> bytes:
        self.hashes += 1
        return await asyncio.to_thread(scrypt, password, salt)

    def _remember(self, digest: bytes, name: str | None) -> None:
        if name is not None:
            self._known[digest] = name
            self._known_of.setdefault(name, set()).add(digest)
            if len(self._known) > _MOST_KNOWN:
                self._drop(*self._known.popitem(last=False))
            return
        self._wrong[digest] = asyncio.get_running_loop().time() + _WRONG_SECONDS
        if len(self._wrong) > _MOST_WRONG:
            self._wrong.popitem(last=False)

    def _drop(self, digest: bytes, name: str) -> None:
        """Remove a digest, which has left the cache, from the digests of its name."""
        of_name = self._known_of[name]
        of_name.discard(digest)
        if not of_name:
            del self._known_of[name]

    def _digest(self, client_id: str) -> bytes:
        return hashlib.blake2b(client_id.encode(errors="surrogatepass"), key=self._key, digest_size=16).digest()


def node_secret(password: str) -> bytes:
    """Return the SHA-256 of the password of a node, which has at least 128 random bits."""
    return hashlib.sha256(password.encode()).digest()


def scrypt(password: str, salt: bytes) -> bytes:
    """Return the scrypt hash of a password, of 32 bytes."""
    return hashlib.scrypt(password.encode(), salt=salt, n=COST, r=BLOCK, p=PARALLEL, maxmem=2**26, dklen=32)
