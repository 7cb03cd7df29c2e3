"""The live view of a run: sends one frame a second to each of its viewers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from smartmob.errors import InvalidInput
from smartmob.kernel.http.broadcast import Broadcast
from smartmob.turrets.hq.aggregation import RunTotals
from smartmob.turrets.hq.headquarters import Headquarters
from smartmob.turrets.hq.run_snapshot import RunSnapshot
from smartmob.turrets.model import ALL_TRANSACTIONS, LiveFrame, LiveTimer, LiveTurret, Member
from smartmob.turrets.outcomes import Outcomes
from smartmob.turrets.protocol import Slice
from smartmob.turrets.slices import TRANSACTION, Distribution

_FRAME_SECONDS = 1.0
"""The time between two frames."""
_DELAY_SECONDS = 2
"""The age of the second that is shown: turrets of smartmob send a slice after its second, and sending takes time."""
_PERCENTILES = (50.0, 90.0, 95.0, 99.0)
_MOST_TIMERS = 50  # timers of a frame; the transactions come first, then names in alphabetical order


class LiveView:
    """The viewers of the run of a headquarters."""

    def __init__(self, hq: Headquarters) -> None:
        self._hq = hq
        self._viewers = Broadcast[LiveFrame]()

    async def watch(self) -> AsyncIterator[LiveFrame]:
        """Yield frames of the active run until its end; the last one has its last state."""
        snapshot = self._active()
        if snapshot is None:
            return
        async for frame in self._viewers.subscribe(frame_of(snapshot)):
            yield frame

    async def run(self) -> None:
        """Send a frame each second."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + _FRAME_SECONDS, loop.time())
            await asyncio.sleep(due - loop.time())
            self.send()

    def send(self) -> None:
        """Send a frame now, if there are viewers and an active run."""
        if self._viewers and (snapshot := self._active()) is not None:
            self._viewers.publish(frame_of(snapshot))

    def finish(self, snapshot: RunSnapshot) -> None:
        """Send the last frame of a run, and end the subscriptions."""
        if self._viewers:
            self._viewers.publish(frame_of(snapshot))
        self._viewers.close()

    def close(self) -> None:
        """End the subscriptions."""
        self._viewers.close()

    def current(self) -> tuple[str, LiveFrame] | None:
        """Return the name of the active run and its present frame, or None."""
        snapshot = self._active()
        return None if snapshot is None else (snapshot.run.name, frame_of(snapshot))

    def _active(self) -> RunSnapshot | None:
        snapshot = self._hq.snapshot()
        return snapshot if snapshot is not None and snapshot.is_active else None


def frame_of(snapshot: RunSnapshot) -> LiveFrame:
    """Return the frame of a run: its totals, and the values of the last second that is complete."""
    run, totals = snapshot.run, snapshot.totals
    second = int(snapshot.seconds_since_start) - _DELAY_SECONDS
    parts = snapshot.recent.of(second) if snapshot.is_active else {}
    names = sorted(totals.timers, key=lambda name: (name != TRANSACTION, name))[:_MOST_TIMERS]
    own = _merged(parts.get(TRANSACTION, ()))
    return LiveFrame(
        id=run.id,
        state=run.state,
        reason=run.reason,
        elapsed=snapshot.firing_seconds,
        run_time=run.config.run_time,
        min_turrets=run.config.min_turrets,
        transactions=totals.transactions,
        errors=totals.errors,
        rate=own.count,
        error_rate=own.errors,
        second=second,
        timers={name or ALL_TRANSACTIONS: _timer(totals, name, parts.get(name, ())) for name in names},
        turrets=_turrets(snapshot.members),
        counters=snapshot.counters,
        other_timers=len(totals.timers) - len(names),
        codes=own.codes(),
        conditions=list(snapshot.conditions),
    )


def _merged(parts: Sequence[Outcomes | Slice]) -> Outcomes:
    whole = Outcomes()
    for part in parts:
        if isinstance(part, Outcomes):
            whole.absorb(part)
            continue
        try:
            whole.merge(part)
        except InvalidInput:
            continue  # the summary of the run counts it as damaged
    return whole


def _timer(totals: RunTotals, name: str, parts: Sequence[Outcomes | Slice]) -> LiveTimer:
    whole = _merged(parts)
    return LiveTimer(
        total=totals.timers[name],
        total_errors=totals.failures.get(name, 0),
        count=whole.count,
        errors=whole.errors,
        percentiles=_percentiles(whole.ok),
        max=whole.ok.maximum if whole.ok.count else None,
        failed_percentiles=_percentiles(whole.failed),
    )


def _percentiles(values: Distribution) -> dict[str, float]:
    return {f"{share:g}": value for share, value in values.percentiles(_PERCENTILES).items()}


def _turrets(members: Iterable[Member]) -> list[LiveTurret]:
    return [
        LiveTurret(
            uuid=member.uuid,
            name=member.name,
            status=member.status,
            alive=member.alive,
            cannons=member.cannons,
            users=member.report.users if member.report is not None else None,
            busiest=member.report.health.busiest if member.report and member.report.health else None,
            lag=member.report.health.lag if member.report and member.report.health else None,
        )
        for member in members
    ]
