"""Shows a run while it is on: one frame a second to everybody who watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from smartmob.errors import InvalidInput
from smartmob.kernel.http.broadcast import Broadcast
from smartmob.turrets.hq.headquarters import Headquarters
from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.model import ENDED, TRANSACTION, LiveFrame, LiveTimer, LiveTurret, Member
from smartmob.turrets.protocol import Slice
from smartmob.turrets.slices import TRANSACTION as OWN
from smartmob.turrets.slices import Distribution

_EVERY = 1.0
_BEHIND = 2
"""How long ago the second is that is shown: turrets of ours send one when it is over, and the network takes time."""
_SHOWN = (50.0, 90.0, 95.0, 99.0)
_MOST_TIMERS = 50


class LiveView:
    """Everybody who watches the run of a headquarters."""

    def __init__(self, hq: Headquarters) -> None:
        self._hq = hq
        self._audience = Broadcast[LiveFrame]()

    async def watch(self) -> AsyncIterator[LiveFrame]:
        """Yield frames of the run that is on until it is over; the last one has its last state."""
        run = self._hq.current
        if run is None:
            return
        async for frame in self._audience.subscribe(self.frame(run)):
            yield frame

    async def show_for_ever(self) -> None:
        """Send a frame each second."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + _EVERY, loop.time())
            await asyncio.sleep(due - loop.time())
            self.show()

    def show(self) -> None:
        """Send a frame now."""
        run = self._hq.current
        if self._audience and run is not None:
            self._audience.publish(self.frame(run))

    def finish(self, run: RunState) -> None:
        """Send the last frame of a run."""
        if self._audience:
            self._audience.publish(self.frame(run))
        self._audience.close()

    def close(self) -> None:
        """Let everybody go."""
        self._audience.close()

    def current(self) -> tuple[str, LiveFrame] | None:
        """Return the name of the run that is on, and how it is now."""
        run = self._hq.current
        return None if run is None else (run.config.name, self.frame(run))

    def frame(self, run: RunState) -> LiveFrame:
        """Return how it is now: totals, and the figures of the last second of which all has come."""
        hq = self._hq
        now = hq.now()
        second = int(hq.machine.passed(now)) - _BEHIND
        seconds = hq.collector.live.of(second) if run.state not in ENDED else {}
        totals = hq.collector.totals
        names = sorted(totals.timers, key=lambda name: (name != OWN, name))[:_MOST_TIMERS]
        own = _merged(seconds.get(OWN, ()))
        return LiveFrame(
            id=run.id,
            state=run.state,
            reason=run.reason,
            elapsed=hq.machine.elapsed(now),
            run_time=run.config.run_time,
            min_turrets=run.config.min_turrets,
            transactions=totals.transactions,
            errors=totals.errors,
            rate=own.count,
            error_rate=own.failed,
            timers={name or TRANSACTION: _timer(totals.timers[name], seconds.get(name, ())) for name in names},
            turrets=_turrets(hq.machine.members()),
            counters=hq.collector.counters,
        )


def _merged(parts: Sequence[Distribution | Slice]) -> Distribution:
    whole = Distribution()
    for part in parts:
        if isinstance(part, Distribution):
            whole.absorb(part)
            continue
        try:
            whole.merge(part)
        except InvalidInput:
            continue  # the summary of the run tells of it
    return whole


def _timer(total: int, parts: Sequence[Distribution | Slice]) -> LiveTimer:
    whole = _merged(parts)
    return LiveTimer(
        total=total,
        count=whole.count,
        errors=whole.failed,
        percentiles={f"{share:g}": value for share, value in whole.percentiles(_SHOWN).items()},
        max=whole.maximum if whole.count else None,
    )


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
