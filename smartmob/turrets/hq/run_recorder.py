"""Records the state of the run and of its turrets in the database, and reads it after a restart."""

from __future__ import annotations

from uuid import UUID

import msgspec
from msgspec.structs import replace

from smartmob.errors import Unavailable
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.turrets.hq.aggregation import RunTotals
from smartmob.turrets.hq.live_conditions import LiveConditions
from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.hq.reaggregation import reaggregate
from smartmob.turrets.hq.uuid_claims import UuidClaims
from smartmob.turrets.model import Counters, Member
from smartmob.turrets.protocol import MOST_TURRETS
from smartmob.turrets.store.reader import StoredRun, TurretsReader
from smartmob.turrets.store.writer import TurretsWriter

log = get_logger()


class ResumableRun(msgspec.Struct, frozen=True):
    """A run that had not ended when the service ended, as it is stored."""

    run: RunState
    members: tuple[Member, ...]
    progress: dict[str, int]
    totals: RunTotals
    counters: Counters
    conditions: LiveConditions = msgspec.field(default_factory=LiveConditions)


class RunRecorder:
    """The states to be written; only the last state of each run and turret is kept."""

    def __init__(self, reader: TurretsReader, writer: TurretsWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._runs: dict[str, tuple[RunState, int, int, Counters]] = {}
        self._members: dict[tuple[str, str], Member] = {}

    def record_run(self, run: RunState, transactions: int, errors: int, counters: Counters) -> None:
        """Record the state of a run at the next `write`."""
        self._runs[run.id] = (run, transactions, errors, counters)

    def record_member(self, run: str, member: Member) -> None:
        """Record the state of a turret at the next `write`."""
        self._members[run, member.uuid] = member

    async def _write_runs(self) -> None:
        while self._runs:
            run, transactions, errors, counters = next(iter(self._runs.values()))
            await self._writer.update_run(run, transactions, errors, counters)
            # Keep a newer state that was recorded in the meantime.
            if self._runs[run.id][0] is run:
                del self._runs[run.id]

    async def write(self) -> bool:
        """Write the recorded states; return False and keep them when the database is away."""
        try:
            while self._members:
                members, self._members = self._members, {}
                try:
                    await self._write_members(members)
                except Unavailable:
                    self._members = members | self._members
                    raise
            await self._write_runs()
        except Unavailable as error:
            log.warning("turrets.waiting", reason=str(error), results=0)
            return False
        return True

    async def _write_members(self, members: dict[tuple[str, str], Member]) -> None:
        by_run: dict[str, list[Member]] = {}
        for (run, _), member in members.items():
            by_run.setdefault(run, []).append(member)
        for run, found in by_run.items():
            await self._write_some(UUID(run), found)

    async def _write_some(self, run: UUID, members: list[Member]) -> None:
        """Write turrets; leave out those that the database refuses, and write the others."""
        try:
            await self._writer.upsert_members(run, members)
        except Unavailable:
            raise
        except Exception as error:
            if len(members) == 1:
                log.error("turrets.refused", results=0, turrets=[members[0].uuid], exc_info=error)
                return
            half = len(members) // 2
            await self._write_some(run, members[:half])
            await self._write_some(run, members[half:])

    async def write_claims(self, headquarters: str, claims: UuidClaims) -> bool:
        """Write the keys to which uuids belong; return False and keep the changes when the database is away."""
        changes = claims.take_changes()
        if not changes:
            return True
        try:
            await self._writer.update_claims(headquarters, changes, clock.now())
        except Unavailable as error:
            claims.restore_changes(changes)
            log.warning("turrets.waiting", reason=str(error), results=0)
            return False
        return True

    async def read_claims(self, headquarters: str) -> dict[str, str]:
        """Return the key of each uuid, the oldest claims first."""
        return await self._reader.claims(headquarters, MOST_TURRETS)

    async def make_partitions(self) -> None:
        """Make the partitions of the next days."""
        await self._writer.make_partitions(clock.now())

    async def adopt(self, name: str, headquarters: str) -> None:
        """Take over the active runs and the claims that an earlier version stored under `name`."""
        await self._writer.adopt(name, headquarters)

    async def resume(self, headquarters: str) -> ResumableRun | None:
        """Return the newest run that has not ended, with slices of all its results; mark older ones as failed."""
        found = await self._reader.open_runs(headquarters)
        for stored in found[:-1]:
            failed = replace(stored.state, state="failed", reason="the service ended meanwhile", ended_at=clock.now())
            await self._writer.update_run(failed, stored.transactions, stored.errors, stored.counters)
        return await self._resumable(found[-1]) if found else None

    async def _resumable(self, stored: StoredRun) -> ResumableRun:
        run = UUID(stored.state.id)
        counts = await self._reader.totals(run)
        if counts.aggregated != counts.results and stored.state.started_at is not None:
            # The service was killed: the slices of the last seconds were not stored, their results were.
            await reaggregate(self._reader, self._writer, run, stored.state.started_at)
        timers, failures = await self._reader.timer_counts(run), await self._reader.timer_failures(run)
        totals = RunTotals(counts.transactions, counts.errors, timers, failures)
        members = tuple(await self._reader.members(run))
        conditions = LiveConditions.of(stored.state.config)
        for timer in conditions.timers:
            async for slices in self._reader.slices(run, timer):
                conditions.add(slices)
        progress = await self._reader.progress(run)
        return ResumableRun(stored.state, members, progress, totals, stored.counters, conditions)
