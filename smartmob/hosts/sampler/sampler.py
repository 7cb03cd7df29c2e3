"""The sampler of a service: it reads a snapshot of the machine each second, or more often for subscriptions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from smartmob.errors import Unavailable
from smartmob.hosts.fields import Container, Snapshot
from smartmob.hosts.sampler.devices import Choice
from smartmob.hosts.sampler.machine_files import Roots
from smartmob.hosts.sampler.snapshot import SnapshotReader
from smartmob.hosts.sampler.stale_fields import StaleChanges, stale_text
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock

log = get_logger()

SECOND = 1.0
"""Seconds between two snapshots without subscriptions."""
_SHORTEST_SECONDS = 0.01
"""Seconds by which a snapshot may be read before it is due."""
_STALE_SECONDS = 10.0
"""Seconds after which the newest snapshot no longer counts as the present load."""


class Sampler:
    """Reads snapshots of the machine.

    `on_second` are called with one snapshot a second.
    """

    def __init__(
        self,
        chosen: Choice = Choice(),  # noqa: B008 - it is immutable
        roots: Roots = Roots(),  # noqa: B008 - it is immutable
        on_second: Iterable[Callable[[Snapshot], None]] = (),
    ) -> None:
        self._reader = SnapshotReader(chosen, roots)
        self.newest: Snapshot | None = None
        self._read_at: float | None = None
        self._changes = StaleChanges()
        self._container: Container | None = None
        self._interval = SECOND
        self._faster = asyncio.Event()
        self._on_second = tuple(on_second)
        self._subscribers: list[Callable[[Snapshot, float], None]] = []

    @property
    def latest(self) -> Snapshot:
        """Return the newest snapshot; the first is read before the service accepts requests.

        Raises Unavailable when it is too old to be the present load.
        """
        snapshot = self.current()
        if snapshot is None:
            raise Unavailable(
                f"the load of this machine was not read for more than {_STALE_SECONDS:.0f} s; see the log"
            )
        return snapshot

    def current(self) -> Snapshot | None:
        """Return the newest snapshot, or None when there is none or it is too old to be the present load."""
        is_old = self._read_at is not None and time.monotonic() - self._read_at > _STALE_SECONDS
        return None if is_old else self.newest

    async def check(self) -> str | None:
        """Return the fields that are stale, in one line, or None; raises Unavailable as `latest`. For /ready."""
        return stale_text(self.latest) or None

    def subscribe(self, on_snapshot: Callable[[Snapshot, float], None]) -> None:
        """Call `on_snapshot` with each snapshot and the event loop time.

        Subscribers are built after the sampler, and set how often it must read.
        """
        self._subscribers.append(on_snapshot)

    def read_every(self, seconds: float) -> None:
        """Set the seconds between two snapshots; longer ones than a second have no effect."""
        step = min(SECOND, seconds)
        if step < self._interval:
            self._faster.set()
        self._interval = step

    async def read(self) -> Snapshot:
        """Read a snapshot now."""
        # In a thread: it waits for the probes, and one of them may hang.
        snapshot = self.newest = await asyncio.to_thread(self._reader.read, clock.epoch())
        self._read_at = time.monotonic()
        self._log_changes(snapshot)
        return snapshot

    def _log_changes(self, snapshot: Snapshot) -> None:
        """Log fields that have become stale or fresh, and the limits of the container."""
        for name, field in self._changes.of(snapshot):
            if field is not None:
                log.warning("hosts.field_failed", field=name, reason=field.reason)
            else:
                log.info("hosts.field_recovered", field=name)
        if snapshot.container != self._container:
            self._container = limits = snapshot.container
            if limits is not None:
                log.info("hosts.container_detected", memory=limits.memory, cpus=limits.cpus)

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
                log.error("hosts.sampling_failed", exc_info=error)
                continue
            now = loop.time()
            for on_snapshot in self._subscribers:
                on_snapshot(snapshot, now)
            if now - second >= SECOND - _SHORTEST_SECONDS:
                second = max(second + SECOND, now - SECOND)
                for on_second in self._on_second:
                    on_second(snapshot)
