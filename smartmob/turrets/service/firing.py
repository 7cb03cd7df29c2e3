"""The public service of the feature: starts, stops and removes load tests, and lets clients watch them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from smartmob.errors import Conflict, SmartmobError
from smartmob.feature_settings import TurretsSettings
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock, ids
from smartmob.kernel.runtime.events import EventBus, ServiceStopping
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.turrets.host_load import HostLoadSource
from smartmob.turrets.hq.headquarters import Headquarters
from smartmob.turrets.hq.live_view import LiveView
from smartmob.turrets.hq.machine_events import RunRequested, RunState
from smartmob.turrets.hq.run_snapshot import RunSnapshot, RunStateChanged, RunStored
from smartmob.turrets.model import ENDED, HeadquartersPorts, LiveFrame, RunDetails, TurretList
from smartmob.turrets.project import Project
from smartmob.turrets.service.comparisons import RunComparisons
from smartmob.turrets.service.imports import RunImports
from smartmob.turrets.service.maintenance import RunMaintenance
from smartmob.turrets.service.queries import RunQueries
from smartmob.turrets.service.reports import RunReports
from smartmob.turrets.service.searches import CapacitySearches
from smartmob.turrets.store.reader import TurretsReader
from smartmob.turrets.store.search_table import SearchStore
from smartmob.turrets.store.writer import TurretsWriter

log = get_logger()


class TurretsService:
    """Fires load tests; `queries` and `reports` read them, `live_view` follows the active one, `imports` stores
    those of other tools, `comparisons` compares, `searches` keeps searches for a capacity.

    The headquarters listens only if the setting `hq` is on.
    """

    def __init__(
        self,
        hq: Headquarters,
        reader: TurretsReader,
        writer: TurretsWriter,
        bus: EventBus,
        settings: TurretsSettings,
        tasks: TaskRegistry,
        *,
        searches: SearchStore,
        host_load: HostLoadSource | None = None,
    ) -> None:
        self.searches = CapacitySearches(searches)
        self.queries = RunQueries(hq, reader)
        self.comparisons = RunComparisons(self.queries, reader)
        self.reports = RunReports(self.queries, reader, writer, host_load, self.comparisons)
        self.imports = RunImports(self.queries, self.reports, writer)
        self.live_view = LiveView(hq)
        self.maintenance = RunMaintenance(writer, settings.keep_days, self.searches)
        self._hq = hq
        self._writer = writer
        self._settings = settings
        self._beginning = asyncio.Lock()
        self._tasks = tasks
        bus.subscribe(RunStored, self._on_run_stored)
        bus.subscribe(RunStateChanged, lambda _: self.live_view.send())
        bus.subscribe(ServiceStopping, lambda _: self.live_view.close())

    async def start(self) -> None:
        """Listen for turrets, if the service is a headquarters."""
        if self._settings.hq:
            await self._hq.open(self._tasks)
            self._tasks.supervise("turrets-live", self.live_view.run)

    async def close(self) -> None:
        """Stop listening, and store what was received."""
        self.live_view.close()
        await self._hq.close()

    async def fire(self, project: Project) -> RunDetails:
        """Begin a run. Raises Conflict when one is active, or when the service is not a headquarters."""
        if not self._settings.hq:
            raise Conflict("this service is not a headquarters; start it with --hq (smartmob serve --hq)")
        async with self._beginning:
            self._hq.check_free()
            created = clock.now()
            run = RunState(str(ids.uuid7()), project.config, "waiting", created)
            await self._writer.insert_run(self._hq.service, run, project.raw, project.package)
            self._hq.begin(RunRequested(run.id, project.config, created))
        return await self.queries.details(run.id)

    async def stop(self, ident: str, reason: str) -> RunDetails:
        """Stop a run early; a run that has ended stays unchanged. Raises NotFound."""
        current = await self.queries.find(ident)
        if current.is_active:
            self._hq.stop(current.state.id, reason)
        return await self.queries.details(ident)

    async def delete(self, ident: str) -> None:
        """Remove a run with its results. Raises NotFound, and Conflict while it is active."""
        current = await self.queries.find(ident)
        if current.state.state not in ENDED:
            raise Conflict(f"run {ident} is {current.state.state}; stop it first")
        await self._writer.delete_run(UUID(current.state.id))

    async def watch(self, ident: str) -> AsyncIterator[LiveFrame]:
        """Yield frames of a run until its end; the last one has its last state. Raises NotFound."""
        current = await self.queries.find(ident)
        if current.state.state not in ENDED:
            async for frame in self.live_view.watch():
                yield frame
        else:
            yield current.last_frame()

    def turrets(self) -> TurretList:
        """Return the ports of the headquarters, and the turrets that were heard lately."""
        if not self._settings.hq:
            return TurretList(None, self._hq.members())
        orders, results, external = self._hq.ports
        return TurretList(HeadquartersPorts(self._settings.hq_host, orders, results, external), self._hq.members())

    def _on_run_stored(self, stored: RunStored) -> None:
        self._tasks.start("turrets-summary", self._store_summary(stored.snapshot))

    async def _store_summary(self, snapshot: RunSnapshot) -> None:
        try:
            await self.reports.store_summary(snapshot.run.id)
        except SmartmobError as error:
            # The summary is computed again at each request for it.
            log.warning("turrets.summary_failed", run=snapshot.run.id, reason=str(error))
        finally:
            self.live_view.finish(snapshot)
