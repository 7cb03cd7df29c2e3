"""The state machine of one process: from an event to the actions that follow. No I/O, no clock, no random numbers.

Times are seconds of any steady clock and are passed in. Each event is accepted in each phase; the table of phases and
transitions stands in docs/reference/process-runner.md, and a test compares it with this module.

A program that has ended by itself is started again as its restart policy says, which is "always" in seed 002: the first
time at once; while the program keeps ending before `MINIMUM_UPTIME_SECONDS`, after a pause that doubles up to
`LONGEST_PAUSE_SECONDS`, so that a bad command never makes a busy loop. The pauses have jitter, so that a hundred
processes do not restart at the same moment. A program whose liveness check fails is ended and counts as failed. One
that puts itself into the background at its start would do so again: it is a failure, and is not started again.

A process with dependencies waits for them before each start, the automatic ones included.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import assert_never

from smartmob.processes import model
from smartmob.processes.machine_events import (
    Action,
    CancelPreparation,
    CheckDependencies,
    Complete,
    DependenciesMet,
    DependenciesMissing,
    DependencyFailed,
    Event,
    Exited,
    Kill,
    LivenessFailed,
    PreparationAdvanced,
    PreparationFailed,
    Prepare,
    Prepared,
    ProgramStarted,
    ReportEvent,
    Spawn,
    StartFailed,
    StartRequested,
    StartTimer,
    StopRequested,
    Terminate,
    TimerFired,
    TreeGone,
)

MINIMUM_UPTIME_SECONDS = 10.0
"""A program that has run for this time counts as healthy and is restarted without a pause."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
JITTER = 0.2
"""The random variation of a pause in either direction, as a share of it."""
_MOST_DOUBLINGS = 16  # far above log2(LONGEST_PAUSE_SECONDS / FIRST_PAUSE_SECONDS); keeps the power finite


class Phase(StrEnum):
    """The phase of a process: the internal state, which decides how events are handled. Clients see `state`."""

    IDLE = "idle"
    PREPARING = "preparing"
    WAITING = "waiting"
    SPAWNING = "spawning"
    RUNNING = "running"
    ENDING = "ending"


# Events.


# Actions.


class ProcessStateMachine:
    """The state machine of one process.

    `grace` is the number of seconds between SIGTERM and SIGKILL. `random` returns a number from 0 to 1 for each jitter.
    `restart` is the policy for programs that have ended by themselves.
    """

    def __init__(self, grace: float, random: Callable[[], float], restart: model.RestartPolicy = model.ALWAYS) -> None:
        self.phase = Phase.IDLE
        self.state = model.PENDING
        self.detail = ""
        self.wanted = False
        self.pid: int | None = None
        self.starts = 0
        self.last_status: int | None = None
        self.next_try: float | None = None
        self.started_at: float | None = None
        self.ended = False  # whether the program has ended by itself and is not started again
        self.completed = False  # whether it has ended by itself with exit status 0
        self._grace = grace
        self._random = random
        self._restart = restart
        self._depends = False
        self._prepared = False
        self._unhealthy = ""  # why the running program is being ended, until it has ended
        self._has_been_healthy = False
        self._left_behind = False  # whether the program that has ended has put itself into the background
        self._early_exits = 0
        self._timer = 0

    @property
    def restarts(self) -> int:
        """Return the number of restarts of the program."""
        return max(0, self.starts - 1)

    @property
    def idle(self) -> bool:
        """Return whether no program runs and no action is under way."""
        return self.phase is Phase.IDLE

    def handle(self, event: Event, now: float) -> list[Action]:
        """Change the state by an event that happened at `now`; return the actions to carry out, in this order."""
        match event:
            case StartRequested():
                return self._start_requested(now, event.restart)
            case StopRequested():
                return self._stop_requested(now)
            case PreparationAdvanced():
                self.state = event.state
                return []
            case Prepared():
                return self._preparation_succeeded(event)
            case PreparationFailed():
                return self._preparation_failed(event)
            case DependenciesMet() | DependenciesMissing() | DependencyFailed():
                return self._dependencies_checked(event) if self.phase is Phase.WAITING else []
            case ProgramStarted():
                return self._started(event.pid, now)
            case LivenessFailed():
                return self._liveness_failed(event, now) if self.phase is Phase.RUNNING else []
            case StartFailed():
                return self._start_failed(event.detail, now)
            case Exited():
                return self._exited(event)
            case TreeGone():
                return self._tree_gone(now)
            case TimerFired():
                return self._timer_fired(event.number)
            case _:
                assert_never(event)

    def _start_requested(self, now: float, restart: bool) -> list[Action]:
        self.wanted, self.ended, self.completed = True, False, False
        self._early_exits = 0
        if self.phase is Phase.RUNNING and restart:
            return self._end(now, "restarting")
        if self.phase is not Phase.IDLE:
            return []  # the action under way leads to a start, because the process is wanted
        return self._begin()

    def _begin(self) -> list[Action]:
        """Leave IDLE towards a running program."""
        self.next_try = None
        self._cancel_timer()
        if self._prepared and self._depends:
            self.phase, self.state, self.detail = Phase.WAITING, model.WAITING, ""
            return [CheckDependencies()]
        if self._prepared:
            self.phase = Phase.SPAWNING
            if self.state in (model.STOPPED, model.START_FAILURE):
                self.state = model.PENDING
            return [Spawn()]
        self.phase, self.state, self.detail = Phase.PREPARING, model.PENDING, ""
        return [Prepare()]

    def _stop_requested(self, now: float) -> list[Action]:
        self.wanted = False
        if self.phase is Phase.RUNNING:
            return self._end(now, "stopping")
        if self.phase is Phase.PREPARING:
            self.state = model.STOPPING
            return [CancelPreparation()]
        if self.phase is Phase.WAITING:
            self.phase = Phase.IDLE
            self._become_stopped()
            return [ReportEvent("stopped", "stopped")]
        if self.phase is Phase.IDLE and self.state != model.STOPPED:
            self._become_stopped()
        return []

    def _become_stopped(self) -> None:
        self._cancel_timer()
        self.next_try = None
        self.state, self.detail = model.STOPPED, ""

    def _complete(self, text: str, *, succeeded: bool = False) -> list[Action]:
        """Become stopped because the program has ended by itself and is not started again."""
        self.wanted, self.ended, self.completed = False, True, succeeded
        self._become_stopped()
        self.detail = f"{text}; not started again, because its restart policy is {self._restart!r}"
        return [Complete(), ReportEvent("stopped", f"stopped: {self.detail}")]

    def _end(self, now: float, text: str) -> list[Action]:
        """Ask the running program to end, and set the timer for SIGKILL."""
        self.phase, self.state = Phase.ENDING, model.STOPPING
        self._cancel_timer()
        return [ReportEvent("stopping", text), Terminate(), StartTimer(self._timer, now + self._grace)]

    def _preparation_succeeded(self, event: Prepared) -> list[Action]:
        self._prepared, self._restart, self._depends = True, event.restart or self._restart, event.depends
        self.phase = Phase.IDLE
        if not self.wanted:
            self._become_stopped()
            return []
        self.state = model.PROCESSING
        return self._begin()

    def _preparation_failed(self, event: PreparationFailed) -> list[Action]:
        self.phase = Phase.IDLE
        if event.state == model.STOPPED:
            if self.wanted:
                return self._begin()
            self._become_stopped()
            return [ReportEvent("stopped", "stopped")]
        self.state, self.detail = event.state, event.detail
        return [ReportEvent("failed", f"{event.state}: {event.detail}")]

    def _dependencies_checked(self, event: DependenciesMet | DependenciesMissing | DependencyFailed) -> list[Action]:
        if isinstance(event, DependenciesMet):
            self.phase, self.state, self.detail = Phase.SPAWNING, model.PENDING, ""
            return [Spawn()]
        known, self.detail = self.detail, event.detail
        if isinstance(event, DependencyFailed):
            self.phase, self.state = Phase.IDLE, model.DEPENDENCY_FAILURE
            return [ReportEvent("failed", f"{self.state}: {event.detail}")]
        return [] if known else [ReportEvent("waiting", event.detail)]

    def _liveness_failed(self, event: LivenessFailed, now: float) -> list[Action]:
        self._unhealthy = f"its liveness check fails: {event.detail}"
        self._has_been_healthy = event.has_passed
        return [ReportEvent("unhealthy", self._unhealthy), *self._end(now, "stopping")]

    def _started(self, pid: int, now: float) -> list[Action]:
        self.phase, self.state, self.detail = Phase.RUNNING, model.RUNNING, ""
        self.pid, self.started_at = pid, now
        self.starts += 1
        actions: list[Action] = [ReportEvent("restarted" if self.starts > 1 else "started", f"started, pid {pid}")]
        return actions if self.wanted else actions + self._end(now, "stopping")

    def _start_failed(self, detail: str, now: float) -> list[Action]:
        self.phase, self.detail = Phase.IDLE, detail
        if self.wanted and self._restart == model.NEVER:
            return [ReportEvent("failed", detail), *self._complete(detail)]
        return [ReportEvent("failed", detail), *self._start_again(now, early=True)]

    def _exited(self, event: Exited) -> list[Action]:
        self.last_status, self.pid = event.status, None
        hint = event.hint if self.wanted and self.phase is Phase.RUNNING else ""
        self.detail = hint
        self._left_behind = event.left_behind and self.phase is Phase.RUNNING
        actions: list[Action] = [ReportEvent("exited", describe(event.status) + (f": {hint}" if hint else ""))]
        if self.phase is Phase.RUNNING:
            # The descendants hold the port and files that the next program needs: they end first.
            self.phase = Phase.ENDING
            return [*actions, Kill()]
        # SIGTERM went to the process group only; now it goes to the rest of the tree, within the same grace.
        return [*actions, Terminate()] if self.phase is Phase.ENDING else actions

    def _tree_gone(self, now: float) -> list[Action]:
        self.phase = Phase.IDLE
        self._cancel_timer()
        unhealthy, self._unhealthy = self._unhealthy, ""
        requested = self.state == model.STOPPING and not unhealthy
        if not self.wanted:
            self._become_stopped()
            return [ReportEvent("stopped", "stopped")]
        if unhealthy:
            self.detail = unhealthy
            if self._restart == model.NEVER:
                return self._complete(unhealthy)
            # A program that was never healthy would be restarted endlessly at this rate, however long its check takes.
            early = not self._has_been_healthy or self._is_early(now)
            return self._start_again(now, early=early)
        if requested:
            return self._begin()
        if self._restart == model.NEVER or (self._restart == model.ON_FAILURE and self.last_status == 0):
            hint = f": {self.detail}" if self.detail else ""
            return self._complete(describe(self.last_status) + hint, succeeded=self.last_status == 0)
        if self._left_behind and self._is_early(now):
            self.state = model.START_FAILURE
            return [ReportEvent("failed", f"{self.state}: {self.detail}")]
        return self._start_again(now, early=self._is_early(now))

    def _is_early(self, now: float) -> bool:
        """Return whether a program that has ended now has run for less than MINIMUM_UPTIME_SECONDS."""
        return self.started_at is None or now - self.started_at < MINIMUM_UPTIME_SECONDS

    def _start_again(self, now: float, *, early: bool) -> list[Action]:
        """Start at once, or after a pause when at least two programs in a row ended early."""
        if not self.wanted:
            self._become_stopped()
            return [ReportEvent("stopped", "stopped")]
        self._early_exits = self._early_exits + 1 if early else 0
        if self._early_exits <= 1:
            return self._begin()
        pause = self._pause()
        self.state, self.next_try = model.BACKOFF, now + pause
        self._cancel_timer()
        return [ReportEvent("backoff", f"restarting in {pause:.1f} s"), StartTimer(self._timer, self.next_try)]

    def _pause(self) -> float:
        """Return the seconds until the next start: doubled for each early exit after the second, with jitter."""
        pause = FIRST_PAUSE_SECONDS * 2.0 ** min(self._early_exits - 2, _MOST_DOUBLINGS)
        factor = 1 - JITTER + 2 * JITTER * self._random()
        return min(LONGEST_PAUSE_SECONDS, min(LONGEST_PAUSE_SECONDS, pause) * factor)

    def _timer_fired(self, number: int) -> list[Action]:
        if number != self._timer:
            return []  # it was cancelled or replaced
        if self.phase is Phase.ENDING:
            return [Kill()]
        return self._begin() if self.phase is Phase.IDLE and self.wanted else []

    def _cancel_timer(self) -> None:
        """Make the current timer invalid; the next one gets the new number."""
        self._timer += 1


def describe(status: int | None) -> str:
    """Return how a program ended, in words, from its exit status or the negative number of a signal."""
    if status is None:
        return "exited with an unknown status"
    return f"exited {status}" if status >= 0 else f"ended by signal {-status}"
