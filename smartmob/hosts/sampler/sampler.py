"""The one sampler of a service: it looks at the machine each second, and more often while somebody asks for that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from smartmob.hosts.model import Snapshot
from smartmob.hosts.sampler.snapshot import SnapshotReader
from smartmob.kernel.runtime import clock

log = structlog.get_logger()

SECOND = 1.0
_SHORTEST = 0.01


class Sampler:
    """Looks at the machine. `each_second` is called with one sweep a second, `each_look` with every one."""

    def __init__(self, disk: str = "/") -> None:
        self._sweeper = SnapshotReader(disk)
        self.newest: Snapshot | None = None
        self._looked_at = 0.0
        self._step = SECOND
        self._hurry = asyncio.Event()
        self.each_second: list[Callable[[Snapshot], None]] = []
        self.each_look: list[Callable[[Snapshot, float], None]] = []

    @property
    def latest(self) -> Snapshot:
        """Return the last sweep; there is one as soon as the service answers."""
        assert self.newest is not None
        return self.newest

    def look_every(self, seconds: float) -> None:
        """Look so often from now on; at least once a second."""
        step = min(SECOND, seconds)
        if step < self._step:
            self._hurry.set()
        self._step = step

    async def look(self) -> Snapshot:
        """Look once."""
        loop = asyncio.get_running_loop()
        elapsed = max(_SHORTEST, loop.time() - self._looked_at)
        # In a thread: a disk that hangs must not stop the service.
        self.newest = await asyncio.to_thread(self._sweeper.look, clock.epoch(), elapsed)
        self._looked_at = loop.time()
        return self.newest

    async def look_for_ever(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        second = step = loop.time()
        while True:
            step += self._step
            now = loop.time()
            if step < now - SECOND:
                # The machine slept: looks that were missed are not made up for.
                step = now
            self._hurry.clear()
            try:
                async with asyncio.timeout_at(step):
                    await self._hurry.wait()
                step = loop.time()
            except TimeoutError:
                pass
            try:
                sweep = await self.look()
            except Exception as error:
                log.error("hosts.look_failed", exc_info=error)
                continue
            now = loop.time()
            for tell_look in self.each_look:
                tell_look(sweep, now)
            if now - second >= SECOND - _SHORTEST:
                second = max(second + SECOND, now - SECOND)
                for tell_second in self.each_second:
                    tell_second(sweep)
