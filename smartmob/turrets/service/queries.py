"""Queries for runs: from the headquarters while a run is active, from the database afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from smartmob.errors import NotFound
from smartmob.kernel.db.database import Record
from smartmob.kernel.runtime import clock
from smartmob.turrets.hq.headquarters import Headquarters
from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.hq.run_snapshot import RunSnapshot
from smartmob.turrets.load_plan import plan_of
from smartmob.turrets.model import ENDED, ConditionResult, Counters, ImportSource, LiveFrame, Member, Run, RunDetails
from smartmob.turrets.names import counted_name
from smartmob.turrets.store.reader import StoredRun, TurretsReader

_LATE_STOP_SECONDS = 1.5
"""Seconds after the planned time from which a stop counts as late: orders are repeated each second."""


class _Verdict(msgspec.Struct, frozen=True):
    """The part of a stored summary that says whether conditions were met."""

    conditions: list[ConditionResult] = []


_VERDICT = msgspec.json.Decoder(_Verdict)


class CurrentRun(msgspec.Struct, frozen=True):
    """A run with its newest state: that of the headquarters while it is active.

    `members` and `conditions`, as they were last evaluated, are set then.
    """

    state: RunState
    transactions: int
    errors: int
    counters: Counters
    package: bool
    config: str
    members: list[Member] | None = None
    conditions: Sequence[ConditionResult] = ()
    source: ImportSource | None = None

    @property
    def is_active(self) -> bool:
        """Return whether the run has not ended, and this service is its headquarters."""
        return self.members is not None

    @property
    def uuid(self) -> UUID:
        """Return the id."""
        return UUID(self.state.id)

    def firing_seconds(self) -> float:
        """Return for how many seconds the run has fired so far: at most its run time, however late it was stopped."""
        state = self.state
        if state.started_at is None:
            return 0.0
        if state.state in ENDED and not state.stop_requested:
            # It was measured by a monotonic clock; the difference of the two times below is less exact.
            return state.config.run_time
        until = state.ceased_at or state.ended_at or clock.now()
        return min(max(0.0, (until - state.started_at).total_seconds()), state.config.run_time)

    def late_stop_seconds(self) -> float:
        """Return the seconds after which the turrets were ordered to stop if that was late, otherwise 0."""
        state = self.state
        if state.started_at is None or state.ceased_at is None or state.stop_requested:
            return 0.0
        seconds = (state.ceased_at - state.started_at).total_seconds()
        return seconds if seconds > state.config.run_time + _LATE_STOP_SECONDS else 0.0

    def fields(self) -> dict[str, Any]:
        """Return the fields of a `Run`."""
        state = self.state
        path = f"/turret-runs/{state.id}"
        return {
            "id": state.id,
            "name": state.name,
            "state": state.state,
            "reason": state.reason,
            "created_at": state.created_at,
            "started_at": state.started_at,
            "ceased_at": state.ceased_at,
            "ended_at": state.ended_at,
            "run_time": state.config.run_time,
            "min_turrets": state.config.min_turrets,
            "results": state.config.results,
            "transactions": self.transactions,
            "errors": self.errors,
            "counters": self.counters,
            "package": self.package,
            "summary": f"{path}/summary",
            "report": f"{path}/report",
            "live": f"{path}/live",
            "source": self.source,
        }

    def last_frame(self) -> LiveFrame:
        """Return the last frame of the live view of a run that has ended."""
        state = self.state
        return LiveFrame(
            id=state.id,
            state=state.state,
            reason=state.reason,
            elapsed=self.firing_seconds(),
            run_time=state.config.run_time,
            min_turrets=state.config.min_turrets,
            transactions=self.transactions,
            errors=self.errors,
            rate=0,
            error_rate=0,
            timers={},
            turrets=[],
            counters=self.counters,
        )


class RunQueries:
    """Reads runs; an unknown run raises NotFound."""

    def __init__(self, hq: Headquarters, reader: TurretsReader) -> None:
        self._hq = hq
        self._reader = reader

    async def runs(self, before: tuple[datetime, str], limit: int) -> list[Run]:
        """Return the runs before a creation time and id, newest first."""
        return self._current(await self._reader.runs_before(before[0], UUID(before[1]), limit))

    async def runs_between(self, start: datetime, end: datetime, limit: int) -> list[Run]:
        """Return the runs that were active at any time in a time span, newest first."""
        return self._current(await self._reader.runs_between(start, end, limit))

    async def concluded_between(self, start: datetime, end: datetime, limit: int) -> list[Run]:
        """Return the runs that were active at any time in a time span, or imported in it, newest first."""
        return self._current(await self._reader.concluded_between(start, end, limit))

    async def failed_conditions(self, ident: str) -> list[str] | None:
        """Return the conditions of its project that a run has met, with the values: `p99>1s: p99 2.00 s > 1.00 s`.

        None means that its summary, which has the verdict, is not stored yet.
        """
        run = await self.find(ident)
        if not run.state.config.fail_if:
            return []
        stored = await self._reader.summary(run.uuid)
        if stored is None:
            return None
        found = _VERDICT.decode(stored).conditions
        return [f"{each.condition}: {each.text}" for each in found if each.state == "failed"]

    async def details(self, ident: str) -> RunDetails:
        """Return a run with its turrets and its configuration."""
        run = await self.find(ident)
        members = await self.members(run)
        config = msgspec.json.decode(run.config)
        plan = plan_of(run.state.config, config, members)
        return RunDetails(**run.fields(), turrets=members, config=config, plan=plan)

    async def results(self, ident: str) -> AsyncIterator[list[Record]]:
        """Yield the single results of a run."""
        run = await self.find(ident)
        async for records in self._reader.results(run.uuid):
            yield records

    async def timers(self, ident: str) -> list[str]:
        """Return the names of the timers of a run, sorted."""
        run = await self.find(ident)
        return sorted({counted_name(name) for name in await self._reader.timer_counts(run.uuid) if name})

    async def package(self, ident: str) -> bytes:
        """Return the package with which a run was requested."""
        run = await self.find(ident)
        package = await self._reader.package(run.uuid) if run.package else None
        if package is None:
            raise NotFound(f"run {ident} was requested without a package")
        return package

    async def find(self, ident: str) -> CurrentRun:
        """Return a run with its newest state."""
        try:
            run = UUID(ident)
        except ValueError:
            raise NotFound(f"there is no run {ident}") from None
        stored = await self._reader.run(run)
        if stored is None:
            raise NotFound(f"there is no run {ident}")
        return _newest(stored, self._hq.snapshot())

    async def members(self, run: CurrentRun) -> list[Member]:
        """Return the turrets of a run."""
        return run.members if run.members is not None else await self._reader.members(run.uuid)

    def _current(self, stored: list[StoredRun]) -> list[Run]:
        snapshot = self._hq.snapshot()
        return [Run(**_newest(run, snapshot).fields()) for run in stored]


def _newest(stored: StoredRun, snapshot: RunSnapshot | None) -> CurrentRun:
    """Return a run with the state of the snapshot if that is of this run and newer than what is stored."""
    if snapshot is not None and snapshot.is_active and snapshot.run.id == stored.state.id:
        totals = snapshot.totals
        return CurrentRun(
            state=snapshot.run,
            transactions=totals.transactions,
            errors=totals.errors,
            counters=snapshot.counters,
            package=stored.package,
            config=stored.config,
            members=snapshot.members,
            conditions=snapshot.conditions,
        )
    return CurrentRun(
        state=stored.state,
        transactions=stored.transactions,
        errors=stored.errors,
        counters=stored.counters,
        package=stored.package,
        config=stored.config,
        source=stored.source,
    )
