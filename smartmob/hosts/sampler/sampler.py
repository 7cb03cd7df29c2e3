"""The sampler of a service: it reads a snapshot of the machine each second, or more often for subscriptions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from smartmob.hosts.fields import Snapshot
from smartmob.hosts.sampler.snapshot import SnapshotReader
from smartmob.kernel.runtime import clock

log = structlog.get_logger()

SECOND = 1.0
"""Seconds between two snapshots without subscriptions."""
_SHORTEST_SECONDS = 0.01
"""Seconds to which the time between two snapshots is rounded up, because rates are divided by it."""


class Sampler:
    """Reads snapshots of the machine.

    `on_second` are called with one snapshot a second, `on_snapshot` with each snapshot and the event loop time.
    """

    def __init__(self, disk: str = "/") -> None:
        self._reader = SnapshotReader(disk)
        self.newest: Snapshot | None = None
        self._read_at = 0.0
        self._interval = SECOND
        self._faster = asyncio.Event()
        self.on_second: list[Callable[[Snapshot], None]] = []
        self.on_snapshot: list[Callable[[Snapshot, float], None]] = []

    @property
    def latest(self) -> Snapshot:
        """Return the newest snapshot; the first is read before the service accepts requests."""
        assert self.newest is not None
        return self.newest

    def read_every(self, seconds: float) -> None:
        """Set the seconds between two snapshots; longer ones than a second have no effect."""
        step = min(SECOND, seconds)
        if step < self._interval:
            self._faster.set()
        self._interval = step

    async def read(self) -> Snapshot:
        """Read a snapshot now."""
        loop = asyncio.get_running_loop()
        elapsed = max(_SHORTEST_SECONDS, loop.time() - self._read_at)
        # In a thread: a disk that hangs must not stop the service.
        snapshot = self.newest = await asyncio.to_thread(self._reader.read, clock.epoch(), elapsed)
        self._read_at = loop.time()
        return snapshot

    async def run(self) -> None:
        """Read snapshots until cancelled."""
        loop = asyncio.get_running_loop()
        second = step = loop.time()
        while True:
            step += self._interval
            now = loop.time()
            if step < now - SECOND:
                # The machine was suspended: missed snapshots are not read later.
                step = now
            self._faster.clear()
            try:
                async with asyncio.timeout_at(step):
                    await self._faster.wait()
                step = loop.time()
            except TimeoutError:
                pass
            try:
                snapshot = await self.read()
            except Exception as error:
                log.error("hosts.look_failed", exc_info=error)
                continue
            now = loop.time()
            for on_snapshot in self.on_snapshot:
                on_snapshot(snapshot, now)
            if now - second >= SECOND - _SHORTEST_SECONDS:
                second = max(second + SECOND, now - SECOND)
                for on_second in self.on_second:
                    on_second(snapshot)
