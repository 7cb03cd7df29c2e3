"""A limit on failed authentication attempts by address: wrong tokens, passwords and client ids.

A credential that was refused counts once for its address as long as it is remembered there, so a program with a wrong
secret that asks each second does not lock out the other clients of that address. A credential that was accepted from
an address is accepted there again even when the address is over the limit. The limit is checked before any work: over
the limit no password is hashed and the database is not asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from functools import lru_cache
from typing import TypeVar

from smartmob.errors import NotAuthenticated, TooManyTries, Unavailable
from smartmob.kernel.auth.events import AttemptMade, Credential, CredentialRefused
from smartmob.kernel.auth.unauthenticated import network
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.events import EventBus

log = get_logger()

T = TypeVar("T")

MAX_ADDRESSES = 4_096
"""Addresses with failed attempts that are remembered; the least recently used one is forgotten first."""

MAX_REFUSED = 64
"""Refused credentials that are remembered of one address."""

MAX_ACCEPTED = 20_000
"""Accepted credentials that are remembered, each with its address."""

_WINDOW_SECONDS = 60.0
_MAX_WAITING = 5_000  # checks that wait for their turn, of all addresses
_RETRY_SECONDS = 5.0

_network = lru_cache(maxsize=1_024)(network)


class _AddressState:
    """The state of one address: its token bucket, its refused credentials, and its running and waiting checks."""

    __slots__ = ("active", "attempts_left", "limit_logged", "refused", "updated_at", "waiting")

    def __init__(self, attempts_left: float, updated_at: float) -> None:
        self.attempts_left = attempts_left
        self.updated_at = updated_at
        self.refused: OrderedDict[bytes, None] = OrderedDict()
        self.limit_logged = False
        self.active = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class AttemptLimit:
    """Allows each address `limit` failed attempts a minute; 0 means no limit. `seconds` is the clock.

    Publishes CredentialRefused and AttemptMade on `bus`. Several processes of one service share their attempts: with
    the same `key` they have the same digests, each sends its AttemptMade to the others, and `record` takes theirs.
    """

    def __init__(
        self,
        limit: int = 0,
        *,
        seconds: Callable[[], float] = time.monotonic,
        key: bytes | None = None,
        bus: EventBus | None = None,
    ) -> None:
        self._limit = limit
        self.seconds = seconds
        self._bus = EventBus() if bus is None else bus
        self.key = secrets.token_bytes(32) if key is None else key
        self._addresses: OrderedDict[str, _AddressState] = OrderedDict()
        self._accepted: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._waiting = 0
        self.refused = 0
        """Refused credentials; a repeated one counts once."""
        self.limited = 0
        """Credentials that were not checked because their address was over the limit."""

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def remembered(self) -> int:
        """Return the number of remembered credentials."""
        return len(self._accepted) + sum(len(entry.refused) for entry in self._addresses.values())

    def check_now(self, credential: Credential, check: Callable[[], T]) -> T:
        """Return the result of `check`; raises TooManyTries before it if the address is over the limit.

        A NotAuthenticated that `check` raises counts as a failed attempt.
        """
        address, digest = _network(credential.client), self._digest(credential)
        if not self._is_remembered(address, digest) and (entry := self._addresses.get(address)) is not None:
            self._check_limit(entry, credential)
        try:
            result = check()
        except NotAuthenticated:
            self._refuse(address, digest, credential)
            raise
        self._accept(address, digest)
        return result

    async def check(self, credential: Credential, check: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `check`, as `check_now`, for checks that take time.

        An address has at most as many running checks as it has attempts left; further checks wait.
        """
        address, digest = _network(credential.client), self._digest(credential)
        entry = await self._begin(address, digest, credential)
        try:
            result = await check()
        except NotAuthenticated:
            self._refuse(address, digest, credential)
            raise
        else:
            self._accept(address, digest)
            return result
        finally:
            if entry is not None:
                self._end(address, entry)

    async def _begin(self, address: str, digest: bytes, credential: Credential) -> _AddressState | None:
        """Wait until a check may begin; return its address, or None if the check does not count for one."""
        if self._is_remembered(address, digest) or not self._limit:
            return None
        entry = self._entry(address)
        while entry.active >= self._check_limit(entry, credential):
            if self._waiting >= _MAX_WAITING:
                raise Unavailable("too many logins are being checked; try again in a moment", _RETRY_SECONDS)
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            entry.waiting.append(waiter)
            self._waiting += 1
            try:
                await waiter
            except asyncio.CancelledError:
                self._wake(entry)
                raise
            finally:
                self._waiting -= 1
            if self._is_remembered(address, digest):
                self._wake(entry)
                return None
        entry.active += 1
        return entry

    def _end(self, address: str, entry: _AddressState) -> None:
        entry.active -= 1
        self._wake(entry)
        idle = not (entry.active or entry.waiting or entry.refused) and self._left(entry) >= self._limit
        if idle and self._addresses.get(address) is entry:
            del self._addresses[address]

    def _wake(self, entry: _AddressState) -> None:
        left = int(self._left(entry))
        free = left - entry.active if left else len(entry.waiting)
        while entry.waiting and free > 0:
            waiter = entry.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1

    def _check_limit(self, entry: _AddressState, credential: Credential) -> int:
        """Return the number of attempts that an address has left; raises TooManyTries if there is none."""
        left = self._left(entry)
        if not self._limit or left >= 1.0:
            return int(left)
        self.limited += 1
        wait = math.ceil((1.0 - left) * _WINDOW_SECONDS / self._limit)
        if not entry.limit_logged:
            entry.limit_logged = True
            log.warning(
                "auth.limited", client=credential.client, shown=credential.kind, path=credential.path, seconds=wait
            )
        raise TooManyTries(retry_after=wait)

    def _left(self, entry: _AddressState) -> float:
        """Refill the token bucket of an address for the time since its last update; return its content."""
        now = self.seconds()
        refill = (now - entry.updated_at) * self._limit / _WINDOW_SECONDS
        entry.attempts_left = min(float(self._limit), entry.attempts_left + refill)
        entry.updated_at = now
        if entry.attempts_left >= self._limit:
            entry.limit_logged = False
        return entry.attempts_left

    def record(self, address: str, digest: bytes, *, accepted: bool) -> None:
        """Count an attempt that another process of the service has seen, as if it had been made here."""
        if accepted:
            self._keep_accepted(address, digest)
        else:
            self._keep_refused(address, digest)

    def refused_now(self) -> Iterator[tuple[str, bytes]]:
        """Yield the refused credentials that are remembered, each with its address."""
        for address, entry in self._addresses.items():
            for digest in entry.refused:
                yield address, digest

    def _refuse(self, address: str, digest: bytes, credential: Credential) -> None:
        if self._keep_refused(address, digest):
            self.refused += 1
            log.info("auth.refused", client=credential.client, shown=credential.kind, path=credential.path)
            self._bus.publish(AttemptMade(address, digest, accepted=False))
            self._bus.publish(CredentialRefused(credential.client or "", credential.kind, credential.path))

    def _keep_refused(self, address: str, digest: bytes) -> bool:
        """Remember a refused credential; return whether it was new."""
        self._accepted.pop((address, digest), None)
        entry = self._entry(address)
        if digest in entry.refused:
            entry.refused.move_to_end(digest)
            return False
        entry.refused[digest] = None
        if len(entry.refused) > MAX_REFUSED:
            entry.refused.popitem(last=False)
        entry.attempts_left = max(0.0, self._left(entry) - 1.0)
        return True

    def _accept(self, address: str, digest: bytes) -> None:
        if (address, digest) not in self._accepted:
            self._bus.publish(AttemptMade(address, digest, accepted=True))
        self._keep_accepted(address, digest)

    def _keep_accepted(self, address: str, digest: bytes) -> None:
        self._accepted[address, digest] = None
        self._accepted.move_to_end((address, digest))
        if len(self._accepted) > MAX_ACCEPTED:
            self._accepted.popitem(last=False)
        if (entry := self._addresses.get(address)) is not None:
            entry.refused.pop(digest, None)

    def _is_remembered(self, address: str, digest: bytes) -> bool:
        """Return whether a credential was accepted from this address before, or was refused and is counted already."""
        if (address, digest) in self._accepted:
            return True
        entry = self._addresses.get(address)
        return entry is not None and digest in entry.refused

    def _entry(self, address: str) -> _AddressState:
        entry = self._addresses.get(address)
        if entry is None:
            entry = self._addresses[address] = _AddressState(float(self._limit), self.seconds())
            if len(self._addresses) > MAX_ADDRESSES:
                idle = (key for key, other in self._addresses.items() if not other.active and other is not entry)
                self._addresses.pop(next(idle, next(iter(self._addresses))))
        self._addresses.move_to_end(address)
        return entry

    def _digest(self, credential: Credential) -> bytes:
        plain = f"{credential.kind}\0{credential.secret}".encode(errors="surrogatepass")
        return hashlib.blake2b(plain, key=self.key, digest_size=16).digest()
