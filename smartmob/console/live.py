"""Sends the current state of the lab to all viewers: it is read and encoded only once a second for all of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import msgspec

from smartmob.alerts.events import AlertFired, AlertResolved
from smartmob.commands.events import JobEnded, JobStarted
from smartmob.console.service import ConsoleService
from smartmob.errors import Unavailable
from smartmob.experiments.events import ExperimentDeleted, ExperimentStored
from smartmob.hosts.events import HostRegistered
from smartmob.kernel.http.broadcast import Broadcast
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus, ServiceStopping
from smartmob.marks.events import MarkCreated, MarkDeleted
from smartmob.metrics.events import MetricsStored, SessionChanged, SessionDeleted, SessionStored
from smartmob.processes.events import ProcessDeleted, ProcessExited, ProcessStarted
from smartmob.turrets.events import RunFinished, RunStarted

log = get_logger()

_FRAME_SECONDS = 1.0
_EVENTS = (
    AlertFired,
    AlertResolved,
    ExperimentDeleted,
    ExperimentStored,
    HostRegistered,
    JobEnded,
    JobStarted,
    MarkCreated,
    MarkDeleted,
    MetricsStored,
    ProcessDeleted,
    ProcessExited,
    ProcessStarted,
    RunFinished,
    RunStarted,
    SessionChanged,
    SessionDeleted,
    SessionStored,
)
"""Events after which a page may want to load its documents again."""


class Live:
    """Sends frames while there are viewers; without any, it does nothing."""

    def __init__(self, service: ConsoleService, bus: EventBus) -> None:
        self._service = service
        self._broadcast = Broadcast[str]()
        # The first number differs after each start, so that pages that were loaded before it notice the restart.
        self._numbers = itertools.count(int(clock.epoch() * 1000))
        self.change_number = next(self._numbers)
        self._of_nodes: object = None
        self._viewer_came = asyncio.Event()
        for kind in _EVENTS:
            bus.subscribe(kind, self._something_happened)
        bus.subscribe(ServiceStopping, lambda _: self._broadcast.close())

    async def watch(self) -> AsyncIterator[str]:
        """Yield frames as JSON, one now and one each second, until the service stops."""
        first = await self._frame()
        self._viewer_came.set()
        async for frame in self._broadcast.subscribe(first):
            yield frame

    async def run(self) -> None:
        """Send a frame each second while there are viewers, until it is cancelled."""
        while True:
            await self._viewer_came.wait()
            await asyncio.sleep(_FRAME_SECONDS)
            if not self._broadcast:
                self._viewer_came.clear()
                continue
            try:
                self._broadcast.publish(await self._frame())
            except Unavailable as error:
                log.warning("console.not_shown", reason=str(error))

    async def _frame(self) -> str:
        now = await self._service.now(self.change_number)
        # Events of nodes are published by the service that holds the connection, which may be another one.
        machines = [*now.nodes, *now.services]
        of_nodes = now.node_records, [(one.name, one.labels, one.connected, one.activity) for one in machines]
        if of_nodes != self._of_nodes:
            if self._of_nodes is not None:
                self._something_happened(None)
            self._of_nodes = of_nodes
        # Events that happened while the state was read may be in it, so the present number is used.
        return msgspec.json.encode(msgspec.structs.replace(now, change_number=self.change_number)).decode()

    def _something_happened(self, _: object) -> None:
        self.change_number = next(self._numbers)
