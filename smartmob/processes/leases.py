"""The leases of programs: a program with a lease is deleted when no client has renewed it for that time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from smartmob.errors import NotFound, Unavailable
from smartmob.kernel.observability.event_logger import get_logger

log = get_logger()

_RETRY_SECONDS = 5.0
"""The time until the next try when an end cannot be stored."""

Delete = Callable[[str, str], Awaitable[None]]
"""Deletes the program of a slug, for a reason. Raises NotFound and Unavailable."""


class Leases:
    """The ends of leases by the slugs of their programs. `now` is the clock of the loop, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ends: dict[str, tuple[float, float]] = {}  # the length of the lease, and its end
        self._changed = asyncio.Event()

    def begin(self, slug: str, seconds: float | None) -> None:
        """Begin a lease of some seconds; with None, begin no lease."""
        if seconds is not None:
            self._ends[slug] = seconds, self._now() + seconds
            self._changed.set()

    def renew(self, slug: str) -> None:
        """Restart the lease of a program, if it has one."""
        if slug in self._ends:
            self.begin(slug, self._ends[slug][0])

    def end(self, slug: str) -> None:
        """Forget the lease of a program."""
        self._ends.pop(slug, None)

    def over(self) -> list[str]:
        """Return the programs whose leases are over."""
        now = self._now()
        return [slug for slug, (_, end) in self._ends.items() if end <= now]

    async def run(self, delete: Delete) -> None:
        """Background task: delete the programs whose leases are over, each at its end."""
        while True:
            self._changed.clear()
            await asyncio.gather(*(self._delete(slug, delete) for slug in self.over()))
            first = min((end for _, end in self._ends.values()), default=None)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(first):
                    await self._changed.wait()

    async def _delete(self, slug: str, delete: Delete) -> None:
        seconds, _ = self._ends[slug]
        reason = f"not renewed for {seconds:g} s"
        log.warning("process.lease_expired", slug=slug, reason=reason)
        self._ends[slug] = seconds, self._now() + _RETRY_SECONDS
        try:
            await delete(slug, reason)
        except NotFound:
            self.end(slug)
        except Unavailable as error:
            log.warning("process.lease_not_ended", slug=slug, reason=str(error))
