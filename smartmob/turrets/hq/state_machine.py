"""The state machine of the headquarters: it decides which orders are sent, and when a run starts, stops and ends.

`handle(event, now)` returns the actions to take. The machine does no I/O and reads no clock: `now` has a monotonic time
in seconds, by which every interval is measured, and the time of day, which is only recorded. So setting the clock moves
no deadline.

An order reaches only the turrets that are connected when it is sent, and ZeroMQ does not report which those are. So an
order is repeated, at most once a second, until the status of every turret shows that it was obeyed. Each order goes to
all turrets. turrets of OCT ignore `start` while they fire and `stop` while they do not.

The states and transitions of a run are listed in docs/reference/turret-protocol.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from smartmob.counts import counted
from smartmob.turrets.hq.machine_events import (
    Action,
    Committed,
    Event,
    MemberChanged,
    Now,
    Publish,
    ResultsReceived,
    Resumed,
    RunChanged,
    RunRequested,
    RunState,
    Stalled,
    StatusReceived,
    StopRequested,
    Ticked,
    Timeouts,
    TurretLost,
)
from smartmob.turrets.hq.member_changes import changed, has_lower_counts, new_member, updated_member
from smartmob.turrets.hq.tracked_turret import TrackedTurret, fires_without_run
from smartmob.turrets.model import ENDED, Absence, Member, State
from smartmob.turrets.protocol import (
    MOST_TURRETS,
    ORDER_SECONDS,
    PROTOCOL,
    RATES_PROTOCOL,
    Briefing,
    Condition,
    Order,
    RunBriefing,
    Status,
)

TRANSITIONS: Mapping[State, tuple[State, ...]] = {
    "waiting": ("running", "failed", "stopped"),
    "running": ("draining",),
    "draining": ("finished", "failed", "stopped"),
    "finished": (),
    "failed": (),
    "stopped": (),
}
"""The states that may follow each state of a run; a new run is waiting."""

_LONGEST_TICK_SECONDS = 1.0
_ANSWER_SECONDS = 3 * ORDER_SECONDS
"""A turret that has not answered an order for this time is left out until it sends a status. It may miss two orders."""
_DUPLICATE_REPORTS_COUNT = 2
"""Reports with lower counts than before, after which two turrets use one uuid: one may have been overtaken."""
_TOLERANCE_SECONDS = 1e-6
"""The time by which a timer may fire early: the event loop rounds times."""


class HeadquartersStateMachine:
    """The state of the headquarters called `name`; there is at most one run at a time."""

    def __init__(self, name: str, timeouts: Timeouts) -> None:
        self.name = name
        self.timeouts = timeouts
        self.run: RunState | None = None
        self._turrets: dict[str, TrackedTurret] = {}
        self._ready: set[str] = set()
        # Monotonic times in seconds.
        self._last_order_at = float("-inf")
        self._requested_at = 0.0
        self._started_at = 0.0
        self._ceased_at = 0.0
        self._last_result_at = float("-inf")
        self._fired_seconds = 0.0
        self._start_sent = False
        self._rates: dict[str, float] | None = None

    @property
    def active(self) -> RunState | None:
        """Return the run that has not ended, or None."""
        return self.run if self.run is not None and self.run.state not in ENDED else None

    def members(self) -> list[Member]:
        """Return the turrets of the run; without a run, those that were heard lately."""
        return [turret.member for turret in self._turrets.values()]

    def accepts(self, uuid: str) -> bool:
        """Return whether a turret is known, or may be added to those that are known."""
        return uuid in self._turrets or len(self._turrets) < MOST_TURRETS

    def firing_seconds(self, now: Now) -> float:
        """Return for how many seconds the run has fired so far: at most its run time, however late it is stopped."""
        if self.run is None or self.run.started_at is None:
            return 0.0
        if self.run.state != "running":
            return self._fired_seconds
        return min(max(0.0, now.steady - self._started_at), self.run.config.run_time)

    def seconds_since_start(self, now: Now) -> float:
        """Return the seconds since the run started, whether or not it still fires; 0 before the start."""
        started = self.run is not None and self.run.started_at is not None
        return max(0.0, now.steady - self._started_at) if started else 0.0

    def seconds_to_next_tick(self, now: Now) -> float:
        """Return the longest time in seconds until the next `Ticked` is due."""
        order, run = self._last_order_at + ORDER_SECONDS, self.active
        # A tick of an active run does what is due, so actions that came due since the last tick are not left to a later
        # tick.
        certain = [] if run is None else [order]
        possible = [order] if run is None else []
        if run is not None and run.state == "running":
            certain.append(self._started_at + run.config.run_time if self._start_sent else self._started_at)
        if run is not None and run.state == "draining":
            possible.append(self._last_result_at + self.timeouts.quiet)
        due = [max(0.0, moment - now.steady) for moment in certain]
        due += [moment - now.steady for moment in possible if moment > now.steady]
        return min(due, default=_LONGEST_TICK_SECONDS)

    def handle(self, event: Event, now: Now) -> list[Action]:
        """Change the state by an event; return the actions to take."""
        match event:
            case StatusReceived():
                return list(self._on_status(event.status, now))
            case ResultsReceived():
                self._last_result_at = now.steady
            case Committed():
                return list(self._on_committed(event))
            case RunRequested():
                return list(self._on_run_requested(event, now))
            case StopRequested():
                return list(self._on_stop_requested(event.reason, now))
            case Ticked():
                return list(self._on_tick(event, now))
            case Stalled():
                self._on_stalled(event.seconds)
            case Resumed():
                return list(self._on_resumed(event, now))
        return []

    # -- turrets --------------------------------------------------------------------------------------------------

    def _on_status(self, status: Status, now: Now) -> Iterator[Action]:
        uuid = status.identity
        turret = self._turrets.get(uuid)
        if turret is None:
            if not self.accepts(uuid):
                return
            turret = self._turrets[uuid] = TrackedTurret(new_member(status, now.wall), now.steady, now.steady)
        run = self.active
        turret.duplicate_reports += has_lower_counts(turret.member.report, status.smartmob)
        if turret.duplicate_reports >= _DUPLICATE_REPORTS_COUNT:
            turret.member = changed(turret.member, twice=True)
        turret.member = updated_member(turret.member, status, run.id if run else None, now.wall)
        turret.last_heard_at = now.steady
        if turret.is_idle:
            self._ready.add(uuid)
        else:
            self._ready.discard(uuid)
        if run is None:
            return
        yield MemberChanged(run.id, turret.member)
        yield from self._start_if_ready(now)

    def _on_committed(self, event: Committed) -> Iterator[Action]:
        turret, run = self._turrets.get(event.uuid), self.active
        if turret is not None and run is not None and run.id == event.run:
            turret.acknowledged = max(turret.acknowledged, event.sequence)
            turret.member = changed(turret.member, received=turret.acknowledged)
            if turret.has_sent_all(run.id):
                yield MemberChanged(run.id, turret.member)

    def _mark_lost(self, now: Now) -> Iterator[Action]:
        """Mark the silent turrets of a run as lost; forget those that are silent before it."""
        run = self.active
        for uuid, turret in list(self._turrets.items()):
            if now.steady - turret.last_heard_at <= self.timeouts.lost_after or not turret.member.alive:
                continue
            if run is None or run.state == "waiting":
                # No results depend on it. It is added again when it sends a status.
                del self._turrets[uuid]
                self._ready.discard(uuid)
                continue
            absences = [*turret.member.lost, Absence(turret.member.status_at)]
            turret.member = changed(turret.member, alive=False, lost=absences)
            yield MemberChanged(run.id, turret.member)
            yield TurretLost(run.id, turret.member)

    def _has_idle_oct_turret(self) -> bool:
        """Return whether a turret of OCT, heard since the request for the run, is ready to fire."""
        return any(
            turret.is_idle and not turret.member.ours and turret.last_heard_at >= self._requested_at
            for turret in self._turrets.values()
        )

    # -- the run --------------------------------------------------------------------------------------------------

    def _on_run_requested(self, event: RunRequested, now: Now) -> Iterator[Action]:
        self.run = RunState(event.id, event.config, "waiting", event.created_at)
        self._requested_at = now.steady
        self._start_sent = False
        self._last_result_at = float("-inf")
        # Statuses from before the request do not show that a turret gets orders.
        self._ready.clear()
        for uuid, turret in list(self._turrets.items()):
            if not turret.member.alive or turret.is_terminated:
                del self._turrets[uuid]
                continue
            turret.acknowledged = 0
            turret.member = changed(
                turret.member, lost=[], twice=False, expected=None, received=0, busiest=0.0, lag=0.0, report=None
            )
        yield RunChanged(self.run)
        yield from self._request_statuses(now)

    def _start_if_ready(self, now: Now) -> Iterator[Action]:
        run = self.active
        if run is None or run.state != "waiting" or len(self._ready) < run.config.min_turrets:
            return
        self._forget_silent(now)
        if len(self._ready) < run.config.min_turrets:
            return
        if run.config.total_rate is not None:
            unable = [self._turrets[uuid] for uuid in self._ready if not self._takes_rate(uuid)]
            # A turret of smartmob reports its protocol once it has got an order, and the first two may have missed it.
            asked = now.steady - _ANSWER_SECONDS
            names = sorted(each.member.name for each in unable if each.first_heard_at <= asked >= self._requested_at)
            if unable and not names:
                return
            if names:
                reason = f"turret {names[0]} takes no rate from the headquarters: it is of OCT or an earlier version"
                yield from self._change_state(replace(run, state="failed", reason=reason, ended_at=now.wall))
                return
        self._share_rate(run.config.total_rate, self._ready)
        lead = self.timeouts.lead if any(turret.member.ours for turret in self._turrets.values()) else 0.0
        self._started_at = now.steady + lead
        yield from self._change_state(replace(run, state="running", started_at=now.wall + timedelta(seconds=lead)))
        for turret in self._turrets.values():
            yield MemberChanged(run.id, turret.member)
        if lead:
            yield self._order("status_request", None, now)
        else:
            yield from self._order_start(now)

    def _forget_silent(self, now: Now) -> None:
        """Forget the turrets that do not answer: each order is answered at once, and one is sent each second."""
        since = max(self._requested_at, now.steady - _ANSWER_SECONDS)
        for uuid, turret in list(self._turrets.items()):
            if turret.last_heard_at < since:
                # It is added again when it sends a status.
                del self._turrets[uuid]
                self._ready.discard(uuid)

    def _share_rate(self, total: float | None, uuids: Collection[str]) -> None:
        """Assign each of some turrets an equal share of a rate; turrets that join later start no transactions."""
        self._rates = None if total is None else {uuid: total / len(uuids) for uuid in uuids}

    def _takes_rate(self, uuid: str) -> bool:
        report = self._turrets[uuid].member.report
        return report is not None and report.protocol >= RATES_PROTOCOL

    def _order_start(self, now: Now) -> Iterator[Action]:
        run = self.active
        assert run is not None
        self._start_sent = True
        if run.config.transaction_context:
            yield self._order("set_transaction_context", run.config.transaction_context, now)
        yield self._order("start", "open fire", now)

    def _on_stop_requested(self, reason: str, now: Now) -> Iterator[Action]:
        run = self.active
        if run is None or run.state == "draining":
            return
        if run.state == "waiting":
            stopped = replace(run, state="stopped", reason=reason, ended_at=now.wall, stop_requested=True)
            yield from self._change_state(stopped)
            return
        self.run = replace(run, stop_requested=True, reason=reason)
        yield from self._order_stop(now)

    def _order_stop(self, now: Now) -> Iterator[Action]:
        run = self.active
        assert run is not None
        self._fired_seconds = self.firing_seconds(now)
        self._ceased_at = now.steady
        self._last_result_at = max(self._last_result_at, now.steady)
        yield from self._change_state(replace(run, state="draining", ceased_at=self._end_of_firing(run, now)))
        yield self._order("stop", "premature stop" if run.stop_requested else "time is up", now)

    def _end_of_firing(self, run: RunState, now: Now) -> datetime:
        """Return the time at which a run that is stopped now ceased to fire: turrets of smartmob stop by themselves."""
        if run.started_at is None or any(not turret.member.ours for turret in self._turrets.values()):
            return now.wall
        planned = run.started_at + timedelta(seconds=run.config.run_time)
        return min(now.wall, planned) if run.stop_requested else planned

    def _change_state(self, run: RunState) -> Iterator[Action]:
        assert self.run is not None
        assert run.state in TRANSITIONS[self.run.state], f"{self.run.state} -> {run.state}"
        self.run = run
        yield RunChanged(run)

    # -- orders ---------------------------------------------------------------------------------------------------

    def _order(self, command: str, msg: Any, now: Now) -> Publish:
        self._last_order_at = now.steady
        acknowledged = {uuid: turret.acknowledged for uuid, turret in self._turrets.items() if turret.acknowledged}
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
            starts_in=self._started_at - now.steady,
            run_time=run.config.run_time,
            stopped=run.state == "draining",
            results=run.config.results,
            context=run.config.transaction_context,
            rates=self._rates,
        )

    def _request_statuses(self, now: Now) -> Iterator[Action]:
        if any(turret.is_firing and turret.member.alive for turret in self._turrets.values()):
            yield self._order("stop", "another run begins", now)
        yield self._order("status_request", None, now)

    # -- time -----------------------------------------------------------------------------------------------------

    def _on_tick(self, event: Ticked, now: Now) -> Iterator[Action]:
        yield from self._mark_lost(now)
        run = self.active
        due = now.steady + _TOLERANCE_SECONDS >= self._last_order_at + ORDER_SECONDS
        if run is None:
            if due and any(fires_without_run(turret) for turret in self._turrets.values()):
                yield self._order("stop", "there is no run", now)
        elif run.state == "waiting":
            yield from self._tick_waiting(run, due, now)
        elif run.state == "running":
            yield from self._tick_running(run, due, now)
        else:
            yield from self._tick_draining(run, due, event.pending, now)

    def _on_stalled(self, seconds: float) -> None:
        """Do not count the time in which this process stood still as silence: messages may still be on their way."""
        for turret in self._turrets.values():
            turret.first_heard_at += seconds
            turret.last_heard_at += seconds
        self._last_result_at += seconds
        self._requested_at += seconds
        self._ceased_at += seconds

    def _tick_waiting(self, run: RunState, due: bool, now: Now) -> Iterator[Action]:
        patience = run.config.wait if run.config.wait is not None else self.timeouts.wait
        if now.steady - self._requested_at >= patience:
            came, wanted = len(self._ready), run.config.min_turrets
            ended = sorted({turret.member.name for turret in self._turrets.values() if turret.is_terminated})
            reason = f"only {came} of {counted(wanted, 'turret')} became ready within {patience:g} s"
            reason += f"; {', '.join(ended)} ended before that" if ended else ""
            yield from self._change_state(replace(run, state="failed", reason=reason, ended_at=now.wall))
        elif due:
            yield from self._request_statuses(now)

    def _tick_running(self, run: RunState, due: bool, now: Now) -> Iterator[Action]:
        if now.steady + _TOLERANCE_SECONDS >= self._started_at + run.config.run_time:
            yield from self._order_stop(now)
        elif not self._start_sent and now.steady + _TOLERANCE_SECONDS >= self._started_at:
            yield from self._order_start(now)
        elif due:
            # Turrets of smartmob follow the briefing; a turret of OCT that joined late or missed it needs `start`.
            if self._start_sent and self._has_idle_oct_turret():
                yield from self._order_start(now)
            yield self._order("status_request", None, now)

    def _tick_draining(self, run: RunState, due: bool, pending: int, now: Now) -> Iterator[Action]:
        missing = [turret for turret in self._turrets.values() if not turret.has_sent_all(run.id)]
        has_oct_turrets = any(not turret.member.ours for turret in self._turrets.values())
        quiet = not has_oct_turrets or now.steady + _TOLERANCE_SECONDS >= self._last_result_at + self.timeouts.quiet
        if not missing and quiet and not pending:
            yield from self._end_run(run, now)
        elif now.steady - self._ceased_at >= self.timeouts.drain:
            names = ", ".join(sorted({turret.member.name for turret in missing})) or "the last results"
            reason = run.reason or f"ended without waiting longer for {names}"
            yield from self._end_run(replace(run, reason=reason), now)
        elif due:
            if any(turret.is_firing for turret in missing):
                yield self._order("stop", "time is up", now)
            yield self._order("status_request", None, now)

    def _end_run(self, run: RunState, now: Now) -> Iterator[Action]:
        # Send the last acknowledgements, so that turrets of smartmob need not keep what is stored.
        yield self._order("status_request", None, now)
        for turret in self._turrets.values():
            if turret.is_firing and turret.member.ours and turret.member.alive and turret.has_sent_all(run.id):
                # Its last status arrived before this acknowledgement, with which it becomes ready.
                turret.member = changed(turret.member, status=Condition.READY)
                yield MemberChanged(run.id, turret.member)
        state: State = "stopped" if run.stop_requested else "finished"
        if not run.stop_requested and all(
            not turret.member.alive or turret.is_terminated for turret in self._turrets.values()
        ):
            state, run = "failed", replace(run, reason="no turret was left when the run ended")
        yield from self._change_state(replace(run, state=state, ended_at=now.wall))

    # -- restart of the headquarters ------------------------------------------------------------------------------

    def _resume_members(self, event: Resumed, now: Now) -> None:
        for member in event.members:
            # No turret could be heard during the restart, so its silence counts from now on.
            acknowledged = event.acknowledged.get(member.uuid, 0)
            resumed = changed(member, received=acknowledged)
            turret = TrackedTurret(resumed, now.steady, now.steady, acknowledged=acknowledged)
            self._turrets[member.uuid] = turret
            if turret.is_idle:
                self._ready.add(member.uuid)

    def _on_resumed(self, event: Resumed, now: Now) -> Iterator[Action]:
        run = self.run = event.run
        self._resume_members(event, now)
        self._share_rate(run.config.total_rate, self._turrets)
        self._requested_at = self._ceased_at = self._last_result_at = now.steady
        if run.started_at is not None:
            passed = (now.wall - run.started_at).total_seconds()
            self._started_at = now.steady - max(passed, 0.0)
            self._start_sent = passed >= 0.0
            until = run.ceased_at or now.wall
            self._fired_seconds = min(max((until - run.started_at).total_seconds(), 0.0), run.config.run_time)
        if run.state == "waiting":
            yield from self._request_statuses(now)
        else:
            yield self._order("status_request", None, now)
