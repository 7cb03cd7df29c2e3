"""Who is who among the machines: passwords as salted scrypt, and what has been verified before.

A password is hashed in a thread, at most two at a time, once for each client id: what was verified is remembered (as a
keyed digest, not as it came), and so for a while is what was wrong, so that neither costs a hash with each sample.
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
from smartmob.hosts.model import parse_client_id

COST, BLOCK, PARALLEL = 2**14, 8, 1
"""The parameters of scrypt (RFC 7914): 16 MiB and some tens of milliseconds for each hash."""

_MOST_KNOWN = 20_000
_MOST_WRONG = 2_000
_WRONG_SECONDS = 60.0
_AT_ONCE = 2
_MOST_WAITING = 5_000


class Secret(Protocol):
    """What is stored of a password."""

    def __getitem__(self, name: str, /) -> bytes | None:
        """Return `salt` or `secret`."""


Find = Callable[[str], Awaitable[Secret | None]]


class HostAuthenticator:
    """Verifies client ids. `find` returns what is stored for a name."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._key = secrets.token_bytes(32)
        self._no_salt = secrets.token_bytes(16)
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._wrong: OrderedDict[bytes, float] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Future[str | None]] = {}
        self._registering = 0
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self.hashes = 0
        """Passwords hashed."""
        self.edition = 0
        """Another number once what was verified before may hold no more."""

    def known(self, client_id: str) -> str | None:
        """Return the name of the machine if the id was verified before."""
        return self._known.get(self._digest(client_id))

    async def verify(self, client_id: str) -> str | None:
        """Return the name of the machine that the id proves, or None. Raises Unavailable."""
        digest = self._digest(client_id)
        if (name := self._known.get(digest)) is not None:
            self._known.move_to_end(digest)
            return name
        now = asyncio.get_running_loop().time()
        if self._wrong.get(digest, 0.0) > now or (parsed := parse_client_id(client_id)) is None:
            return None
        if (under_way := self._under_way.get(digest)) is not None:
            return await asyncio.shield(under_way)
        self._check_room()
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

    def _check_room(self) -> None:
        if len(self._under_way) + self._registering >= _MOST_WAITING:
            raise Unavailable("too many passwords wait to be hashed; try again in a moment", 5)

    def forget(self, name: str) -> None:
        """Verify a machine anew the next time: it was registered or removed."""
        self.edition += 1
        self._known = OrderedDict((digest, known) for digest, known in self._known.items() if known != name)
        self._wrong.clear()

    async def hashed(self, password: str) -> tuple[bytes, bytes]:
        """Return a new salt and the hash of a password with it. Raises Unavailable."""
        self._check_room()
        salt = secrets.token_bytes(16)
        self._registering += 1
        try:
            async with self._turn:
                return salt, await self._scrypt(password, salt)
        finally:
            self._registering -= 1

    async def _check(self, name: str, password: str) -> str | None:
        stored = await self._find(name)
        salt, secret = (None, None) if stored is None else (stored["salt"], stored["secret"])
        # An unknown name costs the same work as a wrong password, so that the time does not tell which it was.
        async with self._turn:
            given = await self._scrypt(password, self._no_salt if salt is None else salt)
        return name if secret is not None and hmac.compare_digest(given, secret) else None

    async def _scrypt(self, password: str, salt: bytes) -> bytes:
        self.hashes += 1
        return await asyncio.to_thread(scrypt, password, salt)

    def _remember(self, digest: bytes, name: str | None) -> None:
        if name is not None:
            self._known[digest] = name
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
            return
        self._wrong[digest] = asyncio.get_running_loop().time() + _WRONG_SECONDS
        if len(self._wrong) > _MOST_WRONG:
            self._wrong.popitem(last=False)

    def _digest(self, client_id: str) -> bytes:
        return hashlib.blake2b(client_id.encode(errors="surrogateescape"), key=self._key, digest_size=16).digest()


def scrypt(password: str, salt: bytes) -> bytes:
    """Return the hash of a password."""
    return hashlib.scrypt(password.encode(), salt=salt, n=COST, r=BLOCK, p=PARALLEL, maxmem=2**26, dklen=32)
