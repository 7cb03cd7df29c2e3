"""A limit of refused proofs by address: of tokens, passwords and client ids that let nobody in.

A proof that was refused counts once for its address while it is remembered there, so one program with a wrong secret
that asks each second does not shut out the others of that address. One that was accepted from an address passes there
also when the address is limited. The limit is looked at before any work: no password is hashed and no database asked
beyond it.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import structlog

from smartmob.errors import NotAuthenticated, TooManyTries, Unavailable
from smartmob.kernel.auth.unproved import network

log = structlog.get_logger()

T = TypeVar("T")

MOST_ADDRESSES = 4_096
"""Addresses with refused proofs that are remembered; the one that was seen least recently is forgotten first."""

MOST_REFUSED = 64
"""Refused secrets that are remembered of one address."""

MOST_ACCEPTED = 20_000
"""Accepted secrets that are remembered, each with its address."""

_WINDOW = 60.0
_MOST_WAITING = 5_000

_network = lru_cache(maxsize=1_024)(network)


@dataclass(frozen=True, slots=True)
class ShownSecret:
    """A secret that a client shows: from which address, what the log calls it, and for which path."""

    client: str | None
    secret: str = field(repr=False)
    kind: str
    path: str


class _Address:
    """What is known of one address: a bucket of tries, what was refused, what is being checked, and what waits."""

    __slots__ = ("at", "left", "refused", "told", "under_way", "waiting")

    def __init__(self, left: float, at: float) -> None:
        self.left = left
        self.at = at
        self.refused: OrderedDict[bytes, None] = OrderedDict()
        self.told = False
        self.under_way = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class AttemptLimit:
    """Lets each address have `most` refused proofs a minute; 0 is no limit. `seconds` is the clock."""

    def __init__(self, most: int = 0, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self.seconds = seconds
        self._key = secrets.token_bytes(32)
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self._accepted: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._waiting = 0
        self.refused = 0
        """Refused proofs, repeated ones counted once."""
        self.turned_away = 0
        """Proofs that were not checked, since their address had no try left."""

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def remembered(self) -> int:
        """Return how many secrets are remembered."""
        return len(self._accepted) + sum(len(entry.refused) for entry in self._addresses.values())

    def prove_now(self, shown: ShownSecret, check: Callable[[], T]) -> T:
        """Return what `check` returns, unless the address has no try left: then TooManyTries is raised before it.

        What `check` refuses by NotAuthenticated is counted.
        """
        place, digest = _network(shown.client), self._digest(shown)
        if not self._is_remembered(place, digest) and (entry := self._addresses.get(place)) is not None:
            self._check_left(entry, shown)
        try:
            result = check()
        except NotAuthenticated:
            self._refuse(place, digest, shown)
            raise
        self._accept(place, digest)
        return result

    async def prove(self, shown: ShownSecret, check: Callable[[], Awaitable[T]]) -> T:
        """Return what `check` returns, as `prove_now`, for checks that take work.

        No more of them are under way for an address than it has tries left; the others wait.
        """
        place, digest = _network(shown.client), self._digest(shown)
        entry = await self._enter(place, digest, shown)
        try:
            result = await check()
        except NotAuthenticated:
            self._refuse(place, digest, shown)
            raise
        else:
            self._accept(place, digest)
            return result
        finally:
            if entry is not None:
                self._leave(place, entry)

    async def _enter(self, place: str, digest: bytes, shown: ShownSecret) -> _Address | None:
        """Take one of the checks that may be under way for an address; None when that needs none."""
        if self._is_remembered(place, digest) or not self._most:
            return None
        entry = self._entry(place)
        while entry.under_way >= self._check_left(entry, shown):
            if self._waiting >= _MOST_WAITING:
                raise Unavailable("too many proofs wait to be checked; try again in a moment", 5)
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            entry.waiting.append(turn)
            self._waiting += 1
            try:
                await turn
            except asyncio.CancelledError:
                self._wake(entry)
                raise
            finally:
                self._waiting -= 1
            if self._is_remembered(place, digest):
                self._wake(entry)
                return None
        entry.under_way += 1
        return entry

    def _leave(self, place: str, entry: _Address) -> None:
        entry.under_way -= 1
        self._wake(entry)
        idle = not (entry.under_way or entry.waiting or entry.refused) and self._left(entry) >= self._most
        if idle and self._addresses.get(place) is entry:
            del self._addresses[place]

    def _wake(self, entry: _Address) -> None:
        left = int(self._left(entry))
        free = left - entry.under_way if left else len(entry.waiting)
        while entry.waiting and free > 0:
            turn = entry.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1

    def _check_left(self, entry: _Address, shown: ShownSecret) -> int:
        """Return how many tries an address has left; raises TooManyTries for none."""
        left = self._left(entry)
        if not self._most or left >= 1.0:
            return int(left)
        self.turned_away += 1
        wait = math.ceil((1.0 - left) * _WINDOW / self._most)
        if not entry.told:
            entry.told = True
            log.warning("auth.limited", client=shown.client, shown=shown.kind, path=shown.path, seconds=wait)
        raise TooManyTries(retry_after=wait)

    def _left(self, entry: _Address) -> float:
        """Return what is left in the bucket of an address, after what has flowed in since the last time."""
        now = self.seconds()
        entry.left = min(float(self._most), entry.left + (now - entry.at) * self._most / _WINDOW)
        entry.at = now
        if entry.left >= self._most:
            entry.told = False
        return entry.left

    def _refuse(self, place: str, digest: bytes, shown: ShownSecret) -> None:
        self._accepted.pop((place, digest), None)
        entry = self._entry(place)
        if digest in entry.refused:
            entry.refused.move_to_end(digest)
            return
        entry.refused[digest] = None
        if len(entry.refused) > MOST_REFUSED:
            entry.refused.popitem(last=False)
        entry.left = max(0.0, self._left(entry) - 1.0)
        self.refused += 1
        log.info("auth.refused", client=shown.client, shown=shown.kind, path=shown.path)

    def _accept(self, place: str, digest: bytes) -> None:
        self._accepted[place, digest] = None
        self._accepted.move_to_end((place, digest))
        if len(self._accepted) > MOST_ACCEPTED:
            self._accepted.popitem(last=False)
        if (entry := self._addresses.get(place)) is not None:
            entry.refused.pop(digest, None)

    def _is_remembered(self, place: str, digest: bytes) -> bool:
        """Return whether this secret was accepted from this address before, or was refused and is counted already."""
        if (place, digest) in self._accepted:
            return True
        entry = self._addresses.get(place)
        return entry is not None and digest in entry.refused

    def _entry(self, place: str) -> _Address:
        entry = self._addresses.get(place)
        if entry is None:
            entry = self._addresses[place] = _Address(float(self._most), self.seconds())
            if len(self._addresses) > MOST_ADDRESSES:
                idle = (key for key, other in self._addresses.items() if not other.under_way and other is not entry)
                self._addresses.pop(next(idle, next(iter(self._addresses))))
        self._addresses.move_to_end(place)
        return entry

    def _digest(self, shown: ShownSecret) -> bytes:
        plain = f"{shown.kind}\0{shown.secret}".encode(errors="surrogateescape")
        return hashlib.blake2b(plain, key=self._key, digest_size=16).digest()
