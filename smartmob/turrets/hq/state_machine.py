"""What the headquarters decides: whom to ask, when to start, when to stop, who is lost, and when all has come in.

`Headquarters.handle(event, now)` returns what is to be done. It does no I/O and reads no clock: `now` has a steady time
in seconds, by which everything is measured, and the time of day, which is only written down. So a clock that is set
moves no deadline.

Orders reach only those who are connected when they are sent, and nobody says which. So an order is repeated, at most
once a second, until the status of every turret shows that it was obeyed. All orders go to everybody and are understood
by stock turrets, which ignore `start` while they fire and `stop` while they do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from smartmob.turrets.hq.machine_events import (
    Action,
    Committed,
    Event,
    MemberChanged,
    Now,
    Publish,
    ResultsHeard,
    Resumed,
    Rules,
    RunAsked,
    RunChanged,
    RunState,
    StatusHeard,
    StopAsked,
    Ticked,
    TurretLost,
)
from smartmob.turrets.model import ENDED, Absence, Member, State
from smartmob.turrets.protocol import (
    MOST_TURRETS,
    ORDER_SECONDS,
    PROTOCOL,
    Briefing,
    Order,
    Report,
    RunBriefing,
    Status,
    printable,
)

FIRING = "running"
GONE = ("aborted", "killed")
_LONGEST_NAP = 1.0
_A_LITTLE = 1e-6
"""Seconds by which a timer may be early."""


@dataclass(slots=True)
class _Turret:
    """A turret as the headquarters sees it; messages up to number `acked` are stored."""

    member: Member
    heard: float
    acked: int = 0

    @property
    def firing(self) -> bool:
        return _condition(self.member.status) == FIRING

    @property
    def gone(self) -> bool:
        return _condition(self.member.status) in GONE

    @property
    def idle(self) -> bool:
        """Return whether it could begin to fire."""
        return self.member.alive and not self.firing and not self.gone

    def is_settled(self, run: str) -> bool:
        """Return whether nothing more is to be expected of it."""
        if not self.member.alive or self.gone:
            return True
        report = self.member.report
        if report is None or report.run != run:
            return not self.firing
        return report.final and self.acked >= report.sequence


class HeadquartersStateMachine:
    """The state of one headquarters, whose name is `name`; there is at most one run at a time."""

    def __init__(self, name: str, rules: Rules) -> None:
        self.name = name
        self.rules = rules
        self.run: RunState | None = None
        self._turrets: dict[str, _Turret] = {}
        self._ready: set[str] = set()
        self._asked = float("-inf")
        self._began = 0.0
        self._started = 0.0
        self._ceased = 0.0
        self._fired = False
        self._last_result = float("-inf")

    @property
    def active(self) -> RunState | None:
        """Return the run that is on, or None."""
        return self.run if self.run is not None and self.run.state not in ENDED else None

    def members(self) -> list[Member]:
        """Return the turrets of the run; without one, those that were heard lately."""
        return [turret.member for turret in self._turrets.values()]

    def admits(self, uuid: str) -> bool:
        """Return whether a turret is known, or may become known beside the others."""
        return uuid in self._turrets or len(self._turrets) < MOST_TURRETS

    def elapsed(self, now: Now) -> float:
        """Return the seconds since the run has started, at most until it has ceased to fire."""
        if self.run is None or self.run.started_at is None:
            return 0.0
        until = now.steady if self.run.state == "running" else self._ceased
        return max(0.0, until - self._started)

    def passed(self, now: Now) -> float:
        """Return the seconds since the run has started, however it went on; 0 while it has not."""
        started = self.run is not None and self.run.started_at is not None
        return max(0.0, now.steady - self._started) if started else 0.0

    def nap(self, now: Now) -> float:
        """Return after how many seconds at most the next `Ticked` is due."""
        due = [self._asked + ORDER_SECONDS]
        run = self.active
        if run is not None and run.state == "running":
            due.append(self._started + run.config.run_time if self._fired else self._started)
        if run is not None and run.state == "draining":
            due.append(self._last_result + self.rules.quiet)
        return min((moment - now.steady for moment in due if moment > now.steady), default=_LONGEST_NAP)

    def handle(self, event: Event, now: Now) -> list[Action]:
        """Return what is to be done about `event`."""
        match event:
            case StatusHeard():
                return list(self._hear(event.status, now))
            case ResultsHeard():
                self._last_result = now.steady
            case Committed():
                return list(self._commit(event, now))
            case RunAsked():
                return list(self._begin(event, now))
            case StopAsked():
                return list(self._stop(event.reason, now))
            case Ticked():
                return list(self._tick(event, now))
            case Resumed():
                return list(self._resume(event, now))
        return []

    # -- turrets --------------------------------------------------------------------------------------------------

    def _hear(self, status: Status, now: Now) -> Iterator[Action]:
        uuid = status.identity
        turret = self._turrets.get(uuid)
        if turret is None:
            if not self.admits(uuid):
                return
            turret = self._turrets[uuid] = _Turret(_new_member(status, now.wall), now.steady)
        run = self.active
        turret.member = _told(turret.member, status, run.id if run else None, now.wall)
        turret.heard = now.steady
        if turret.idle:
            self._ready.add(uuid)
        else:
            self._ready.discard(uuid)
        if run is None:
            return
        yield MemberChanged(run.id, turret.member)
        yield from self._start_if_ready(now)

    def _commit(self, event: Committed, now: Now) -> Iterator[Action]:
        turret, run = self._turrets.get(event.uuid), self.active
        if turret is not None and run is not None and run.id == event.run:
            turret.acked = max(turret.acked, event.sequence)
            turret.member = changed(turret.member, received=turret.acked)
            if turret.is_settled(run.id):
                yield MemberChanged(run.id, turret.member)

    def _find_lost(self, now: Now) -> Iterator[Action]:
        run = self.active
        for uuid, turret in list(self._turrets.items()):
            if now.steady - turret.heard <= self.rules.lost_after or not turret.member.alive:
                continue
            if run is None or run.state == "waiting":
                # Nothing depends on it: it has left, and may come again.
                del self._turrets[uuid]
                self._ready.discard(uuid)
                continue
            absences = [*turret.member.lost, Absence(turret.member.status_at)]
            turret.member = changed(turret.member, alive=False, lost=absences)
            yield MemberChanged(run.id, turret.member)
            yield TurretLost(run.id, turret.member)

    def _stands_by(self) -> bool:
        """Return whether a stock turret is ready while others fire."""
        return any(
            turret.idle and not turret.member.ours and turret.heard >= self._began for turret in self._turrets.values()
        )

    # -- the run --------------------------------------------------------------------------------------------------

    def _begin(self, event: RunAsked, now: Now) -> Iterator[Action]:
        self.run = RunState(event.id, event.config, "waiting", event.created_at)
        self._began = now.steady
        self._fired = False
        self._last_result = float("-inf")
        # What was said before the run was asked for proves nothing.
        self._ready.clear()
        for uuid, turret in list(self._turrets.items()):
            if not turret.member.alive or turret.gone:
                del self._turrets[uuid]
                continue
            turret.acked = 0
            turret.member = changed(
                turret.member, lost=[], twice=False, expected=None, received=0, busiest=0.0, lag=0.0, report=None
            )
        yield RunChanged(self.run)
        yield from self._ask(now)

    def _start_if_ready(self, now: Now) -> Iterator[Action]:
        run = self.active
        if run is None or run.state != "waiting" or len(self._ready) < run.config.min_turrets:
            return
        lead = self.rules.lead if any(turret.member.ours for turret in self._turrets.values()) else 0.0
        self._started = now.steady + lead
        yield from self._become(replace(run, state="running", started_at=now.wall + timedelta(seconds=lead)))
        for turret in self._turrets.values():
            yield MemberChanged(run.id, turret.member)
        if lead:
            yield self._order("status_request", None, now)
        else:
            yield from self._fire(now)

    def _fire(self, now: Now) -> Iterator[Action]:
        run = self.active
        assert run is not None
        self._fired = True
        if run.config.transaction_context:
            yield self._order("set_transaction_context", run.config.transaction_context, now)
        yield self._order("start", "open fire", now)

    def _stop(self, reason: str, now: Now) -> Iterator[Action]:
        run = self.active
        if run is None or run.state == "draining":
            return
        if run.state == "waiting":
            yield from self._become(replace(run, state="stopped", reason=reason, ended_at=now.wall, stop_asked=True))
            return
        self.run = replace(run, stop_asked=True, reason=reason)
        yield from self._cease(now)

    def _cease(self, now: Now) -> Iterator[Action]:
        run = self.active
        assert run is not None
        self._ceased = now.steady
        self._last_result = max(self._last_result, now.steady)
        yield from self._become(replace(run, state="draining", ceased_at=now.wall))
        yield self._order("stop", "premature stop" if run.stop_asked else "time is up", now)

    def _become(self, run: RunState) -> Iterator[Action]:
        self.run = run
        yield RunChanged(run)

    # -- orders ---------------------------------------------------------------------------------------------------

    def _order(self, command: str, msg: Any, now: Now) -> Publish:
        self._asked = now.steady
        acknowledged = {uuid: turret.acked for uuid, turret in self._turrets.items() if turret.acked}
        briefing = Briefing(
            protocol=PROTOCOL, headquarters=self.name, run=self._run_briefing(now), acknowledged=acknowledged
        )
        return Publish(Order(command=command, msg=msg, smartmob=briefing))

    def _run_briefing(self, now: Now) -> RunBriefing | None:
        run = self.run
        if run is None or run.state not in ("running", "draining"):
            return None
        return RunBriefing(
            id=run.id,
            starts_in=self._started - now.steady,
            run_time=run.config.run_time,
            stopped=run.state == "draining",
            results=run.config.results,
            context=run.config.transaction_context,
        )

    def _ask(self, now: Now) -> Iterator[Action]:
        if any(turret.firing and turret.member.alive for turret in self._turrets.values()):
            yield self._order("stop", "another run begins", now)
        yield self._order("status_request", None, now)

    # -- time -----------------------------------------------------------------------------------------------------

    def _tick(self, event: Ticked, now: Now) -> Iterator[Action]:
        yield from self._find_lost(now)
        run = self.active
        due = now.steady + _A_LITTLE >= self._asked + ORDER_SECONDS
        if run is None:
            if due and any(_fires_for_nobody(turret) for turret in self._turrets.values()):
                yield self._order("stop", "there is no run", now)
        elif run.state == "waiting":
            yield from self._wait(run, due, now)
        elif run.state == "running":
            yield from self._keep_firing(run, due, now)
        else:
            yield from self._drain(run, due, event.pending, now)

    def _wait(self, run: RunState, due: bool, now: Now) -> Iterator[Action]:
        patience = run.config.wait if run.config.wait is not None else self.rules.wait
        if now.steady - self._began >= patience:
            came, wanted = len(self._ready), run.config.min_turrets
            reason = f"{came} of {wanted} turrets came within {patience:g} s"
            yield from self._become(replace(run, state="failed", reason=reason, ended_at=now.wall))
        elif due:
            yield from self._ask(now)

    def _keep_firing(self, run: RunState, due: bool, now: Now) -> Iterator[Action]:
        if now.steady + _A_LITTLE >= self._started + run.config.run_time:
            yield from self._cease(now)
        elif not self._fired and now.steady + _A_LITTLE >= self._started:
            yield from self._fire(now)
        elif due:
            # Ours do what the briefing says; a stock turret that came late, or missed it, needs the word.
            if self._fired and self._stands_by():
                yield from self._fire(now)
            yield self._order("status_request", None, now)

    def _drain(self, run: RunState, due: bool, pending: int, now: Now) -> Iterator[Action]:
        missing = [turret for turret in self._turrets.values() if not turret.is_settled(run.id)]
        stock = any(not turret.member.ours for turret in self._turrets.values())
        quiet = not stock or now.steady + _A_LITTLE >= self._last_result + self.rules.quiet
        if not missing and quiet and not pending:
            yield from self._end(run, now)
        elif now.steady - self._ceased >= self.rules.drain:
            names = ", ".join(sorted({turret.member.name for turret in missing})) or "the last results"
            yield from self._end(replace(run, reason=run.reason or f"ended without waiting longer for {names}"), now)
        elif due:
            if any(turret.firing for turret in missing):
                yield self._order("stop", "time is up", now)
            yield self._order("status_request", None, now)

    def _end(self, run: RunState, now: Now) -> Iterator[Action]:
        # The last acknowledgements go out, so that our turrets need not keep what is stored.
        yield self._order("status_request", None, now)
        state: State = "stopped" if run.stop_asked else "finished"
        if not run.stop_asked and all(not turret.member.alive or turret.gone for turret in self._turrets.values()):
            state, run = "failed", replace(run, reason="no turret was left when the run ended")
        yield from self._become(replace(run, state=state, ended_at=now.wall))

    # -- a new start of the headquarters --------------------------------------------------------------------------

    def _resume(self, event: Resumed, now: Now) -> Iterator[Action]:
        run = self.run = event.run
        for member in event.members:
            # Nobody could be heard while there was no headquarters: silence counts from now on.
            acked = event.acknowledged.get(member.uuid, 0)
            turret = self._turrets[member.uuid] = _Turret(changed(member, received=acked), now.steady, acked)
            if turret.idle:
                self._ready.add(member.uuid)
        self._began = self._ceased = self._last_result = now.steady
        if run.started_at is not None:
            passed = (now.wall - run.started_at).total_seconds()
            self._started = now.steady - min(max(passed, 0.0), run.config.run_time)
            self._fired = passed >= 0.0
        yield from self._ask(now) if run.state == "waiting" else (self._order("status_request", None, now),)


def _condition(status: str) -> str:
    return status.strip().lower()


def _fires_for_nobody(turret: _Turret) -> bool:
    report = turret.member.report
    return turret.member.alive and (turret.firing or (report is not None and report.run is not None))


def changed(member: Member, **changes: Any) -> Member:
    """Return `member` with changes."""
    return msgspec.structs.replace(member, **changes)


def _new_member(status: Status, wall: datetime) -> Member:
    return Member(
        uuid=status.identity,
        name=printable(status.turret or status.identity),
        script=status.script or "",
        cannons=status.users,
        rampup=status.rampup,
        status=printable(status.status),
        status_at=wall,
        first_seen=wall,
        ours=isinstance(status.smartmob, Report),
    )


def _told(member: Member, status: Status, run: str | None, wall: datetime) -> Member:
    """Return a turret with what it told now."""
    changes: dict[str, Any] = {"status": printable(status.status), "status_at": wall, "alive": True}
    if not member.alive and member.lost:
        changes["lost"] = [*member.lost[:-1], Absence(member.lost[-1].since, wall)]
    fresh = (printable(status.turret or status.identity), status.script or "", status.users)
    if fresh != (member.name, member.script, member.cannons):
        # A turret never changes these: another one uses the same uuid.
        changes |= {"twice": True, "name": fresh[0], "script": fresh[1], "cannons": fresh[2]}
    if isinstance(status.smartmob, Report):
        changes |= _reported(member, status.smartmob, run)
    return changed(member, **changes)


def _reported(member: Member, report: Report, run: str | None) -> Mapping[str, Any]:
    changes: dict[str, Any] = {"ours": True, "report": report}
    if run is not None and report.run == run:
        if report.final:
            changes["expected"] = report.sequence
        if report.health is not None:
            changes["busiest"] = max(member.busiest, report.health.busiest)
            changes["lag"] = max(member.lag, report.health.lag)
    return changes
