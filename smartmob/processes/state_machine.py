"""The life of one process: what is wanted of it, what it is, and what to do next. No I/O, no clock, no chance.

Times are seconds of any steady clock, handed in. The rule of restarts (seed 002: always): at once the first time;
while it keeps dying young, after a pause that doubles up to `LONGEST_PAUSE`, so that a bad command never makes a busy
loop and a hundred of them do not try at the same moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from smartmob.processes import model

YOUNG = 10.0
"""Seconds; who has lived longer is well, and is restarted at once again."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
JITTER = 0.2
"""A pause varies by this part of it in either direction."""


# What can happen.


@dataclass(frozen=True, slots=True)
class StartAsked:
    """It should run; `fresh` when somebody asks for a restart of what may be running."""

    fresh: bool = False


@dataclass(frozen=True, slots=True)
class StopAsked:
    """It should not run."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """Its preparation has come to `state`."""

    state: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything is there to start it."""


@dataclass(frozen=True, slots=True)
class PreparationFailed:
    """It cannot be started: `state` is one of the failures, or `stopped` when the preparation was given up."""

    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """The program runs."""

    pid: int


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The program could not be started."""

    detail: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The program has ended, with an exit status or the negative number of a signal; some of its tree may live."""

    status: int | None


@dataclass(frozen=True, slots=True)
class TreeGone:
    """Nothing is left of the program's tree."""


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time of the alarm with this number has come."""

    alarm: int


Event: TypeAlias = (
    StartAsked
    | StopAsked
    | Advanced
    | Prepared
    | PreparationFailed
    | Started
    | StartFailed
    | Exited
    | TreeGone
    | TimerFired
)


# What is to be done.


@dataclass(frozen=True, slots=True)
class Prepare:
    """Get ready to start it; answer with Advanced, Prepared or PreparationFailed."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Give the preparation up; answer with PreparationFailed(STOPPED)."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the program; answer with Started or StartFailed."""


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask the program's group to end, or all that is left of its tree when the program itself has ended."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End the whole tree; answer with Exited, if it has not been said, and Gone."""


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Answer with TimeCame(number) at the time `at`."""

    number: int
    at: float


@dataclass(frozen=True, slots=True)
class Report:
    """Tell who listens, and keep: `kind` happened."""

    kind: str
    text: str


Action: TypeAlias = Prepare | GiveUp | Spawn | Terminate | Kill | StartTimer | Report

# Where it is inside: finer than the state that is shown.
_IDLE, _PREPARING, _SPAWNING, _UP, _ENDING = "idle", "preparing", "spawning", "up", "ending"


class ProcessStateMachine:
    """The state machine of one process. `chance` gives a number from 0 to 1 for each jitter."""

    def __init__(self, grace: float, chance: Callable[[], float]) -> None:
        self.state = model.PENDING
        self.detail = ""
        self.wanted = False
        self.pid: int | None = None
        self.starts = 0
        self.last_status: int | None = None
        self.next_try: float | None = None
        self.started_at: float | None = None
        self._grace = grace
        self._chance = chance
        self._inside = _IDLE
        self._prepared = False
        self._young_deaths = 0
        self._alarm = 0

    @property
    def restarts(self) -> int:
        """Return how often it was started again."""
        return max(0, self.starts - 1)

    @property
    def idle(self) -> bool:
        """Return whether nothing of it runs and nothing is under way."""
        return self._inside == _IDLE

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take note of what happened at `now`, and return what to do, in this order."""
        match event:
            case StartAsked():
                return self._start(now, event.fresh)
            case StopAsked():
                return self._stop(now)
            case Advanced():
                self.state = event.state
                return []
            case Prepared():
                return self._ready(now)
            case PreparationFailed():
                return self._unready(event)
            case Started():
                return self._born(event.pid, now)
            case StartFailed():
                self._inside = _IDLE
                self.detail = event.detail
                return [Report("failed", event.detail), *self._next(now, young=True)]
            case Exited():
                return self._died(event.status)
            case TreeGone():
                return self._buried(now)
            case TimerFired():
                return self._alarmed(event.alarm)

    def _start(self, now: float, fresh: bool) -> list[Action]:
        self.wanted = True
        self._young_deaths = 0
        if self._inside == _UP and fresh:
            return self._end(now, "restarting")
        if self._inside != _IDLE:
            return []  # what is under way leads there
        return self._begin()

    def _begin(self) -> list[Action]:
        self.next_try = None
        self._alarm += 1
        if self._prepared:
            self._inside = _SPAWNING
            if self.state == model.STOPPED:
                self.state = model.PENDING
            return [Spawn()]
        self._inside, self.state, self.detail = _PREPARING, model.PENDING, ""
        return [Prepare()]

    def _stop(self, now: float) -> list[Action]:
        self.wanted = False
        if self._inside == _UP:
            return self._end(now, "stopping")
        if self._inside == _PREPARING:
            self.state = model.STOPPING
            return [GiveUp()]
        if self._inside == _IDLE and self.state != model.STOPPED:
            self._rest()
        return []

    def _rest(self) -> None:
        self._alarm += 1
        self.next_try = None
        self.state = model.STOPPED

    def _end(self, now: float, text: str) -> list[Action]:
        self._inside, self.state = _ENDING, model.STOPPING
        self._alarm += 1
        return [Report("stopping", text), Terminate(), StartTimer(self._alarm, now + self._grace)]

    def _ready(self, now: float) -> list[Action]:
        self._prepared = True
        self._inside = _IDLE
        if not self.wanted:
            self._rest()
            return []
        self.state = model.PROCESSING
        return self._begin()

    def _unready(self, event: PreparationFailed) -> list[Action]:
        self._inside = _IDLE
        if event.state == model.STOPPED:
            if self.wanted:
                return self._begin()
            self._rest()
            return [Report("stopped", "stopped")]
        self.state, self.detail = event.state, event.detail
        return [Report("failed", f"{event.state}: {event.detail}")]

    def _born(self, pid: int, now: float) -> list[Action]:
        self._inside, self.state, self.detail = _UP, model.RUNNING, ""
        self.pid, self.started_at = pid, now
        self.starts += 1
        told: list[Action] = [Report("restarted" if self.starts > 1 else "started", f"started, pid {pid}")]
        return told if self.wanted else told + self._end(now, "stopping")

    def _died(self, status: int | None) -> list[Action]:
        self.last_status, self.pid = status, None
        told: list[Action] = [Report("exited", describe(status))]
        if self._inside == _UP:
            # What it leaves behind holds its port and its files: the successor finds none of it.
            self._inside = _ENDING
            return [*told, Kill()]
        # The signal went to its group; now it goes to all that is left, which has the rest of the time to end.
        return [*told, Terminate()] if self._inside == _ENDING else told

    def _buried(self, now: float) -> list[Action]:
        self._inside = _IDLE
        self._alarm += 1
        asked = self.state == model.STOPPING
        if not self.wanted:
            self._rest()
            return [Report("stopped", "stopped")]
        if asked:
            return self._begin()
        return self._next(now, young=self.started_at is None or now - self.started_at < YOUNG)

    def _next(self, now: float, *, young: bool) -> list[Action]:
        """Try again: at once, or after a pause when it keeps dying young."""
        if not self.wanted:
            self._rest()
            return [Report("stopped", "stopped")]
        self._young_deaths = self._young_deaths + 1 if young else 0
        if self._young_deaths <= 1:
            return self._begin()
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._young_deaths - 2, 16))
        pause = min(LONGEST_PAUSE, pause * (1 - JITTER + 2 * JITTER * self._chance()))
        self.state, self.next_try = model.BACKOFF, now + pause
        self._alarm += 1
        return [Report("backoff", f"restarting in {pause:.1f} s"), StartTimer(self._alarm, self.next_try)]

    def _alarmed(self, alarm: int) -> list[Action]:
        if alarm != self._alarm:
            return []  # what it was set for is over
        if self._inside == _ENDING:
            return [Kill()]
        return self._begin() if self._inside == _IDLE and self.wanted else []


def describe(status: int | None) -> str:
    """Return how a program ended, in words."""
    if status is None:
        return "ended, nobody knows how"
    return f"exited {status}" if status >= 0 else f"ended by signal {-status}"
