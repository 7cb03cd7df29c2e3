"""Shows the lab as it is to everybody who watches: one look and one encoding a second, however many they are."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import msgspec
import structlog

from smartmob.commands.events import JobEnded, JobStarted
from smartmob.console.service import ConsoleService
from smartmob.errors import Unavailable
from smartmob.hosts.events import HostRegistered
from smartmob.kernel.http.broadcast import Broadcast
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus, ServiceStopping
from smartmob.marks.events import MarkAdded, MarkRemoved
from smartmob.metrics.events import MetricsStored, SessionDeleted, SessionStored
from smartmob.processes.events import ProcessDeleted, ProcessExited, ProcessStarted
from smartmob.turrets.events import RunFinished, RunStarted

log = structlog.get_logger()

_EVERY = 1.0
_NEWS = (
    *(HostRegistered, JobEnded, JobStarted, MarkAdded, MarkRemoved, MetricsStored, ProcessDeleted, ProcessExited),
    *(ProcessStarted, RunFinished, RunStarted, SessionDeleted, SessionStored),
)


class Live:
    """Looks while somebody watches, and not otherwise."""

    def __init__(self, service: ConsoleService, bus: EventBus) -> None:
        self._service = service
        self._audience = Broadcast[str]()
        # Another beginning at each start: whoever watched the service before it must notice.
        self._numbers = itertools.count(int(clock.epoch() * 1000))
        self.news = next(self._numbers)
        self._came = asyncio.Event()
        for kind in _NEWS:
            bus.subscribe(kind, self._something_happened)
        bus.subscribe(ServiceStopping, lambda _: self._audience.close())

    async def watch(self) -> AsyncIterator[str]:
        """Yield frames, one now and one each second, until the service stops."""
        first = await self._frame()
        self._came.set()
        async for frame in self._audience.subscribe(first):
            yield frame

    async def show_for_ever(self) -> None:
        """Look each second while somebody watches."""
        while True:
            await self._came.wait()
            await asyncio.sleep(_EVERY)
            if not self._audience:
                self._came.clear()
                continue
            try:
                self._audience.publish(await self._frame())
            except Unavailable as error:
                log.warning("console.not_shown", reason=str(error))

    async def _frame(self) -> str:
        return msgspec.json.encode(await self._service.now(self.news)).decode()

    def _something_happened(self, _: object) -> None:
        self.news = next(self._numbers)
