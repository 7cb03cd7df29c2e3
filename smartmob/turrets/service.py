"""What the feature `turrets` does: fires load tests, keeps what they found, and tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog

from smartmob.errors import Conflict, NotFound, SmartmobError, Unavailable
from smartmob.kernel.db.database import Record
from smartmob.kernel.runtime import clock, ids
from smartmob.kernel.runtime.events import EventBus, ServiceStopping
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.settings import TurretsSettings
from smartmob.turrets.host_load import HostLoadSource, loads_in_run
from smartmob.turrets.hq.headquarters import Headquarters
from smartmob.turrets.hq.live_view import LiveView
from smartmob.turrets.hq.machine_events import RunAsked, RunState
from smartmob.turrets.hq.reaggregation import fold_again
from smartmob.turrets.model import (
    ENDED,
    Counters,
    Course,
    LiveFrame,
    MachineLoad,
    Member,
    Ports,
    Run,
    RunDetails,
    Summary,
    TurretList,
)
from smartmob.turrets.project import Project
from smartmob.turrets.report.findings import Findings
from smartmob.turrets.report.page import compare, render
from smartmob.turrets.report.trust import judge
from smartmob.turrets.slices import TRANSACTION as OWN
from smartmob.turrets.store.reader import StoredRun, TurretsReader
from smartmob.turrets.store.writer import TurretsWriter

log = structlog.get_logger()

_MAINTENANCE_SECONDS = 3600.0
_COURSES_KEPT = 32


@dataclass(frozen=True, slots=True)
class _Known:
    """A run as it is now, in memory or in the database."""

    state: RunState
    transactions: int
    errors: int
    counters: Counters
    package: bool
    config: str


class TurretsService:
    """The use cases of the feature. `hq` listens only where the service is a headquarters.

    `host_load` returns the load of the machines of turrets; without it reports have none.
    """

    def __init__(
        self,
        hq: Headquarters,
        reader: TurretsReader,
        writer: TurretsWriter,
        bus: EventBus,
        settings: TurretsSettings,
        *,
        host_load: HostLoadSource | None = None,
    ) -> None:
        self.viewers = LiveView(hq)
        self._host_load = host_load
        self._hq = hq
        self._reader = reader
        self._writer = writer
        self._settings = settings
        self._beginning = asyncio.Lock()
        self._reporting = asyncio.Semaphore(1)
        self._tasks: TaskRegistry | None = None
        self._courses: dict[str, Course] = {}
        hq.ended = self._ended
        hq.changed = self.viewers.show
        bus.subscribe(ServiceStopping, lambda _: self.viewers.close())

    # -- life -----------------------------------------------------------------------------------------------------

    async def open(self, tasks: TaskRegistry) -> None:
        """Listen for turrets, if the service is a headquarters, and put the tables in order each hour."""
        self._tasks = tasks
        tasks.supervise("turrets-maintenance", self._maintain_for_ever)
        if self._settings.hq:
            await self._hq.open(tasks)
            tasks.supervise("turrets-live", self.viewers.show_for_ever)

    async def close(self) -> None:
        """Store what has come, and listen no more."""
        self.viewers.close()
        await self._hq.close()

    # -- firing ---------------------------------------------------------------------------------------------------

    async def fire(self, project: Project) -> RunDetails:
        """Begin a run. Raises Conflict when one is on, or when the service is no headquarters."""
        self._check_hq()
        async with self._beginning:
            self._hq.check_free()
            created = clock.now()
            run = RunState(str(ids.uuid7()), project.config, "waiting", created)
            await self._writer.insert_run(self._hq.machine.name, run, project.raw, project.package)
            self._hq.begin(RunAsked(run.id, project.config, created))
        return await self.run(run.id)

    async def stop(self, ident: str, reason: str) -> RunDetails:
        """End a run before its time; one that is over stays as it is. Raises NotFound."""
        known = await self._find(ident)
        active = self._hq.machine.active
        if active is not None and active.id == known.state.id:
            self._hq.stop(active.id, reason)
        return await self.run(ident)

    async def delete(self, ident: str) -> None:
        """Remove a run with its results. Raises NotFound, and Conflict while it is on."""
        known = await self._find(ident)
        if known.state.state not in ENDED:
            raise Conflict(f"run {ident} is {known.state.state}; stop it first")
        await self._writer.delete_run(UUID(known.state.id))

    async def watch(self, ident: str) -> AsyncIterator[LiveFrame]:
        """Yield what happens in a run, the last frame with the state in which it ended. Raises NotFound."""
        known = await self._find(ident)
        if known.state.state not in ENDED:
            async for frame in self.viewers.watch():
                yield frame
        else:
            yield _last_frame(known)

    def turrets(self) -> TurretList:
        """Return where the headquarters listens, and the turrets that were heard lately."""
        ports = Ports(self._settings.hq_host, *self._hq.channel.ports) if self._settings.hq else None
        return TurretList(ports, self._hq.machine.members())

    def _check_hq(self) -> None:
        if not self._settings.hq:
            raise Conflict("this service is no headquarters; start it with --hq (smartmob serve --hq)")

    # -- finding --------------------------------------------------------------------------------------------------

    async def runs(self, before: tuple[datetime, str], limit: int) -> list[Run]:
        """Return runs, newest first."""
        found = await self._reader.runs_before(before[0], UUID(before[1]), limit)
        return [Run(**_plain(self._now(stored))) for stored in found]

    async def runs_between(self, start: datetime, end: datetime, limit: int) -> list[Run]:
        """Return the runs that went on at some time of a span, newest first."""
        found = await self._reader.runs_between(start, end, limit)
        return [Run(**_plain(self._now(stored))) for stored in found]

    async def run(self, ident: str) -> RunDetails:
        """Return a run with its turrets. Raises NotFound."""
        known = await self._find(ident)
        members = await self._members(known)
        return RunDetails(**_plain(known), turrets=members, config=msgspec.json.decode(known.config))

    async def summary(self, ident: str) -> Summary:
        """Return the figures of a run, of one that is on those so far. Raises NotFound."""
        known = await self._find(ident)
        if known.state.state in ENDED:
            kept = await self._reader.summary(UUID(known.state.id))
            if kept is not None:
                return msgspec.json.decode(kept, type=Summary)
        return (await self._find_out(known))[0]

    async def results(self, ident: str) -> AsyncIterator[list[Record]]:
        """Yield the results that came one by one. Raises NotFound."""
        known = await self._find(ident)
        async for records in self._reader.results(UUID(known.state.id)):
            yield records

    async def timers(self, ident: str) -> list[str]:
        """Return the names of the timers of a run, sorted. Raises NotFound."""
        known = await self._find(ident)
        return sorted(name for name in await self._reader.timer_counts(UUID(known.state.id)) if name)

    async def package(self, ident: str) -> bytes:
        """Return the package that a run was asked for with. Raises NotFound."""
        known = await self._find(ident)
        package = await self._reader.package(UUID(known.state.id))
        if package is None:
            raise NotFound(f"run {ident} was asked for without a package")
        return package

    async def report(self, ident: str, against: str | None = None) -> str:
        """Return the report of a run as a page, or of two beside each other. Raises NotFound."""
        async with self._reporting:
            pages = []
            for each in (ident, against) if against is not None else (ident,):
                known = await self._find(each)
                summary, findings = await self._find_out(known)
                health = await self._reader.health(UUID(known.state.id))
                pages.append((summary, findings, [dict(row) for row in health]))
            if len(pages) == 2:
                return await asyncio.to_thread(compare, *pages)
            return await asyncio.to_thread(render, *pages[0])

    async def rebuild(self, ident: str) -> Summary:
        """Make the slices of a run anew from the results that came one by one, and its summary from the slices.

        Raises NotFound, and Conflict while the run is on.
        """
        known = await self._find(ident)
        if known.state.state not in ENDED:
            raise Conflict(f"run {ident} is {known.state.state}; wait for its end")
        if known.state.started_at is not None:
            await fold_again(self._reader, self._writer, UUID(known.state.id), known.state.started_at)
        self._courses.pop(known.state.id, None)
        return await self._keep_summary(known)

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _find(self, ident: str) -> _Known:
        try:
            run = UUID(ident)
        except ValueError:
            raise NotFound(f"there is no run {ident}") from None
        stored = await self._reader.run(run)
        if stored is None:
            raise NotFound(f"there is no run {ident}")
        return self._now(stored)

    def _now(self, stored: StoredRun) -> _Known:
        """Return a run as it is now, which is newer than what is stored while it is on."""
        current = self._hq.current
        if current is not None and current.id == stored.state.id:
            totals, counters = self._hq.collector.totals, self._hq.collector.counters
            return _Known(current, totals.transactions, totals.errors, counters, stored.package, stored.config)
        return _Known(
            *(stored.state, stored.transactions, stored.errors, stored.counters, stored.package, stored.config)
        )

    async def _members(self, known: _Known) -> list[Member]:
        current = self._hq.current
        if current is not None and current.id == known.state.id:
            return self._hq.machine.members()
        return await self._reader.members(UUID(known.state.id))

    async def _find_out(self, known: _Known) -> tuple[Summary, Findings]:
        state = known.state
        findings = Findings(_duration(state), state.config.results_ts_interval)
        async for slices in self._reader.slices(UUID(state.id)):
            await asyncio.to_thread(findings.add, slices)
        await asyncio.to_thread(findings.close)
        members = await self._members(known)
        return _summary(known, findings, members, await self._loads(state, members)), findings

    async def course(self, ident: str) -> Course:
        """Return how the transactions of a run did over time, of one that is on so far. Raises NotFound."""
        known = await self._find(ident)
        kept = self._courses.get(known.state.id)
        if kept is not None:
            return kept
        findings = Findings(_duration(known.state), known.state.config.results_ts_interval)
        async for slices in self._reader.slices(UUID(known.state.id), OWN):
            await asyncio.to_thread(findings.add, slices)
        await asyncio.to_thread(findings.close)
        points = findings.timers[OWN].points if OWN in findings.timers else []
        course = Course(id=known.state.id, started_at=known.state.started_at, points=points)
        if known.state.state in ENDED:
            if len(self._courses) >= _COURSES_KEPT:
                del self._courses[next(iter(self._courses))]
            self._courses[known.state.id] = course
        return course

    async def _loads(self, state: RunState, members: list[Member]) -> list[MachineLoad]:
        """Return how busy machines were while a run fired; of those no longer known what its summary kept."""
        if self._host_load is None or state.started_at is None:
            return []
        until = state.ceased_at or state.ended_at or clock.now()
        found = loads_in_run(await self._host_load.busy(state.started_at, until), members)
        kept = await self._reader.summary(UUID(state.id))
        before = msgspec.json.decode(kept, type=Summary).machines if kept is not None else []
        known = {load.host for load in found}
        return [*found, *(load for load in before if load.host not in known)]

    def _ended(self, run: RunState) -> None:
        assert self._tasks is not None
        self._tasks.start("turrets-summary", self._conclude(run))

    async def _conclude(self, run: RunState) -> None:
        try:
            await self._keep_summary(await self._find(run.id))
        except SmartmobError as error:
            # It is made again when somebody asks for it.
            log.warning("turrets.summary_failed", run=run.id, reason=str(error))
        finally:
            self.viewers.finish(run)

    async def _keep_summary(self, known: _Known) -> Summary:
        summary, _ = await self._find_out(known)
        await self._writer.keep_summary(UUID(known.state.id), msgspec.json.encode(summary))
        return summary

    async def _maintain_for_ever(self) -> None:
        while True:
            try:
                await self.maintain(clock.now())
            except Unavailable as error:
                log.warning("turrets.maintenance_failed", reason=str(error))
            await asyncio.sleep(_MAINTENANCE_SECONDS)

    async def maintain(self, now: datetime) -> None:
        """Make partitions ahead, and remove what has been kept for long enough."""
        await self._writer.make_partitions(now)
        if self._settings.keep_days is not None:
            runs, partitions = await self._writer.expire(now - timedelta(days=self._settings.keep_days))
            if runs or partitions:
                log.info("turrets.expired", runs=runs, partitions=partitions)


def _last_frame(known: _Known) -> LiveFrame:
    state = known.state
    return LiveFrame(
        id=state.id,
        state=state.state,
        reason=state.reason,
        elapsed=_duration(state),
        run_time=state.config.run_time,
        min_turrets=state.config.min_turrets,
        transactions=known.transactions,
        errors=known.errors,
        rate=0,
        error_rate=0,
        timers={},
        turrets=[],
        counters=known.counters,
    )


def _plain(known: _Known) -> dict[str, Any]:
    """Return the fields of a run."""
    state = known.state
    path = f"/turret-runs/{state.id}"
    return {
        "id": state.id,
        "name": state.config.name,
        "state": state.state,
        "reason": state.reason,
        "created_at": state.created_at,
        "started_at": state.started_at,
        "ceased_at": state.ceased_at,
        "ended_at": state.ended_at,
        "run_time": state.config.run_time,
        "min_turrets": state.config.min_turrets,
        "results": state.config.results,
        "transactions": known.transactions,
        "errors": known.errors,
        "counters": known.counters,
        "package": known.package,
        "summary": f"{path}/summary",
        "report": f"{path}/report",
        "live": f"{path}/live",
    }


def _duration(state: RunState) -> float:
    """Return for how many seconds a run has fired."""
    if state.started_at is None:
        return 0.0
    if state.state in ENDED and not state.stop_asked:
        # By the clock that is not set meanwhile.
        return state.config.run_time
    until = state.ceased_at or state.ended_at or clock.now()
    return max(0.0, (until - state.started_at).total_seconds())


def _summary(known: _Known, findings: Findings, members: list[Member], machines: list[MachineLoad]) -> Summary:
    state = known.state
    own = findings.figures("")
    return Summary(
        id=state.id,
        name=state.config.name,
        state=state.state,
        reason=state.reason,
        started_at=state.started_at,
        ended_at=state.ended_at,
        duration=findings.duration,
        interval=findings.interval,
        transactions=own.count,
        errors=own.errors,
        rate=own.rate,
        timers=findings.all_figures(),
        intervals=findings.all_intervals(),
        error_texts=findings.error_texts(),
        turrets=members,
        counters=known.counters,
        trust=judge(members, known.counters, own.count, state.reason, findings.damaged, machines),
        machines=machines,
    )
