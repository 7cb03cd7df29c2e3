"""What a turret does and when: orders, the passing of time and what happened to it come in, actions come out. No I/O.

`now` is any clock in seconds that only goes forward. A turret is in one of these states:

`ready` → `armed` (a run is announced) → `firing` → `ceasing` (transactions under way end) → `delivering` (towards a
headquarters of ours: until everything is acknowledged) → `ready`; and at last `ended`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from smartmob.turrets.protocol import REPEAT_SECONDS, STATUS_SECONDS, Condition, Order, RunBriefing, briefing

FIRE_AHEAD = 0.25
"""Seconds before the start of a run when the cannons are told; until then a later briefing can still move it."""

LONGEST_REPEAT = 60.0


@dataclass(frozen=True, slots=True)
class OrderCame:
    """An order for this turret arrived."""

    order: Order


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class ConnectionChanged:
    """The headquarters can be reached now, or no more."""

    connected: bool


@dataclass(frozen=True, slots=True)
class FiringEnded:
    """The last cannon has ended and everything has been numbered; `sequence` is the last number."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The turret itself cannot go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Quit:
    """Somebody on this machine asks the turret to end."""


Event = OrderCame | Tick | ConnectionChanged | FiringEnded | Failed | Quit


@dataclass(frozen=True, slots=True)
class SendStatus:
    """Tell the headquarters how things are."""


@dataclass(frozen=True, slots=True)
class StartFiring:
    """Start the cannons: `start` is the beginning of the run by the clock of `now`, also when that is over.

    `end` is when arrivals of the open model end, if that is known. `raw` and `numbered` tell how results are sent.
    """

    run: str | None
    start: float
    end: float
    raw: bool
    numbered: bool
    context: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StopFiring:
    """End the cannons; `at_once`: without waiting for what is under way."""

    at_once: bool


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Forget what was delivered up to this number."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Repeat:
    """Send again everything that is not acknowledged."""


@dataclass(frozen=True, slots=True)
class Discard:
    """Throw away what was not acknowledged; `lost` tells whether somebody would have wanted it."""

    lost: bool


@dataclass(frozen=True, slots=True)
class Flush:
    """Send what is queued for a headquarters of OCT, for a bounded time, and begin with empty queues."""


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the person at the terminal."""

    text: str


@dataclass(frozen=True, slots=True)
class Exit:
    """End the program."""

    code: int


Action = SendStatus | StartFiring | StopFiring | Acknowledge | Repeat | Discard | Flush | Say | Exit


@dataclass(slots=True)
class _Run:
    """The run that the turret takes part in; without an id it is one of a headquarters of OCT."""

    id: str | None
    start: float
    seconds: float
    results: str
    context: dict[str, Any]
    abandoned: bool = False
    sequence: int | None = None
    acknowledged: int = 0
    moved_at: float = -math.inf
    repeat_after: float = REPEAT_SECONDS

    @property
    def end(self) -> float:
        return self.start + self.seconds


@dataclass(slots=True)
class TurretMachine:
    """The behaviour of a turret with this `uuid`; it gives up after `patience` seconds without a headquarters."""

    uuid: str
    patience: float
    state: str = "ready"
    ours: bool = False
    reason: str = ""
    run: _Run | None = None
    _done: tuple[str, int, int] | None = None
    _past: set[str] = field(default_factory=set)
    _context: dict[str, Any] = field(default_factory=dict)
    _exit: int | None = None
    _heard: float = -math.inf
    _told: float = -math.inf
    _connected: bool = False
    _alone_since: float = -math.inf

    def handle(self, event: Event, now: float) -> list[Action]:
        """Return what is to be done, in this order."""
        actions: list[Action] = []
        match event:
            case OrderCame(order):
                self._heard = now
                self._obey(order, now, actions)
            case Tick():
                self._pass(now, actions)
            case ConnectionChanged(connected):
                self._connect(connected, now, actions)
            case FiringEnded(sequence):
                self._cease_fire(sequence, now, actions)
            case Failed(reason):
                self.reason = reason
                self._end(1, actions)
            case Quit():
                self._end(0, actions)
        if any(isinstance(action, SendStatus) for action in actions):
            self._told = now
        return actions

    @property
    def condition(self) -> str:
        """Return the text of the status."""
        if self._exit is not None:
            return Condition.ABORTED if self._exit else Condition.KILLED
        return Condition.READY if self.state in ("ready", "armed") else Condition.RUNNING

    @property
    def reported(self) -> tuple[str | None, int | None, int]:
        """Return the run to report on, its last number if that is final, and the acknowledged one."""
        if self.run is not None:
            return self.run.id, self.run.sequence, self.run.acknowledged
        return self._done or (None, None, 0)

    @property
    def deadline(self) -> float:
        """Return when the next Tick is due."""
        due = self._told + STATUS_SECONDS
        if self.run is not None and self.state == "armed":
            due = min(due, self.run.start - FIRE_AHEAD)
        elif self.run is not None and self.state == "firing":
            due = min(due, self.run.end)
        return due

    # -- orders ---------------------------------------------------------------------------------------------------

    def _obey(self, order: Order, now: float, actions: list[Action]) -> None:
        brief = briefing(order)
        self.ours = brief is not None
        if order.command == "kill":
            self._end(0, actions)
            return
        if self._exit is not None:
            if brief is not None:
                self._take_acknowledgement(brief.acknowledged.get(self.uuid, 0), now, actions)
        elif brief is not None:
            self._follow(brief.run, now, actions)
            self._take_acknowledgement(brief.acknowledged.get(self.uuid, 0), now, actions)
        elif self.run is not None and self.run.id is not None:
            # The headquarters was replaced by one that knows nothing of this run.
            self._abandon(actions)
        elif order.command == "start" and self.state == "ready":
            self.run = _Run(None, now, math.inf, "raw", dict(self._context))
            self._fire(now, actions)
        elif order.command == "stop" and self.state == "firing":
            self._cease(actions, at_once=False)
        elif order.command == "set_transaction_context" and isinstance(order.msg, dict):
            self._context.update(order.msg)
        actions.append(SendStatus())

    def _follow(self, wanted: RunBriefing | None, now: float, actions: list[Action]) -> None:
        """Come nearer to what should be."""
        run = self.run
        if run is not None and (wanted is None or wanted.id != run.id):
            if self.state != "ceasing" or not run.abandoned:
                self._abandon(actions)
            return
        if wanted is None or wanted.id in self._past:
            return
        start = now + wanted.starts_in
        if run is None:
            context = dict(self._context) | wanted.context
            self.run = _Run(wanted.id, start, wanted.run_time, wanted.results, context)
            self.state = "armed"
            if wanted.stopped or start + wanted.run_time <= now:
                self._forget()
                return
        elif self.state == "armed":
            run.start = min(run.start, start)
        if wanted.stopped and self.state == "armed":
            self._forget()
        elif wanted.stopped and self.state == "firing":
            self._cease(actions, at_once=False)
        self._come_to_start(now, actions)

    def _take_acknowledgement(self, sequence: int, now: float, actions: list[Action]) -> None:
        run = self.run
        if run is None or run.id is None or run.abandoned:
            return
        if sequence > run.acknowledged:
            run.acknowledged, run.moved_at, run.repeat_after = sequence, now, REPEAT_SECONDS
            actions.append(Acknowledge(sequence))
        self._come_to_end()

    # -- time and connection --------------------------------------------------------------------------------------

    def _pass(self, now: float, actions: list[Action]) -> None:
        run = self.run
        self._come_to_start(now, actions)
        if run is not None and self.state == "firing" and now >= run.end:
            self._cease(actions, at_once=False)
        elif run is not None and run.id is None and self.state == "firing" and self._alone_for(now) >= self.patience:
            actions.append(Say(f"no headquarters for {self.patience:g} s: firing ends"))
            self._cease(actions, at_once=False)
        elif run is not None and self.state == "delivering" and now - self._heard >= self.patience:
            actions += [
                Say(f"no headquarters for {self.patience:g} s: what it did not get is lost"),
                Discard(lost=True),
            ]
            self._forget()
        numbered = run is not None and run.id is not None and self.state != "armed"
        if run is not None and numbered and now - run.moved_at >= run.repeat_after:
            # What is not behind needs no repetition: the shell has nothing left to repeat then.
            run.moved_at, run.repeat_after = now, min(run.repeat_after * 2, LONGEST_REPEAT)
            actions.append(Repeat())
        if now - self._told >= STATUS_SECONDS:
            actions.append(SendStatus())

    def _come_to_start(self, now: float, actions: list[Action]) -> None:
        if self.state == "armed" and self.run is not None and now >= self.run.start - FIRE_AHEAD:
            self._fire(now, actions)

    def _connect(self, connected: bool, now: float, actions: list[Action]) -> None:
        if connected == self._connected:
            return
        self._connected = connected
        if connected:
            actions += [Say("connected to the headquarters"), SendStatus()]
            if self.run is not None and self.run.id is not None:
                # What was under way when the connection broke may be lost.
                self.run.moved_at = now
                actions.append(Repeat())
        else:
            self._alone_since = now
            actions.append(Say("the headquarters is gone; waiting for it"))

    def _alone_for(self, now: float) -> float:
        return 0.0 if self._connected else now - self._alone_since

    # -- steps ----------------------------------------------------------------------------------------------------

    def _fire(self, now: float, actions: list[Action]) -> None:
        run = self.run
        assert run is not None
        self.state, run.moved_at = "firing", now
        numbered = run.id is not None
        actions.append(StartFiring(run.id, run.start, run.end, run.results == "raw", numbered, run.context))
        actions.append(SendStatus())

    def _cease(self, actions: list[Action], *, at_once: bool) -> None:
        self.state = "ceasing"
        actions.append(StopFiring(at_once))

    def _abandon(self, actions: list[Action]) -> None:
        """Leave a run that the headquarters no longer has."""
        run = self.run
        assert run is not None
        if self.state in ("firing", "ceasing"):
            run.abandoned = True
            actions.append(Say("the headquarters no longer has this run: firing ends"))
            self._cease(actions, at_once=True)
        else:
            actions.append(Discard(lost=False))
            self._forget()

    def _cease_fire(self, sequence: int, now: float, actions: list[Action]) -> None:
        run = self.run
        if self._exit is not None or run is None:
            if run is not None:
                run.sequence = sequence
            actions.append(Exit(self._exit or 0))
        elif run.id is None:
            actions += [Flush(), SendStatus()]
            self.run, self.state = None, "ready"
        elif run.abandoned:
            actions += [Discard(lost=False), SendStatus()]
            self._forget()
        else:
            # The turret has waited for its own transactions, not for the headquarters.
            self._heard = max(self._heard, now - self.patience / 2)
            run.sequence, self.state = sequence, "delivering"
            actions.append(SendStatus())
            self._come_to_end()

    def _come_to_end(self) -> None:
        run = self.run
        if run is None or run.sequence is None or self.state != "delivering":
            return
        if run.acknowledged >= run.sequence:
            self._forget()

    def _forget(self) -> None:
        run = self.run
        if run is not None and run.id is not None:
            self._done = (run.id, run.sequence or run.acknowledged, run.acknowledged)
            self._past.add(run.id)
        self.run, self.state = None, "ready"

    def _end(self, code: int, actions: list[Action]) -> None:
        """End the program, after the cannons."""
        if self._exit is not None:
            # Asked twice: do not wait.
            actions.append(Exit(self._exit))
            return
        self._exit = code
        firing = self.state in ("firing", "ceasing")
        self.state = "ended"
        actions.append(SendStatus())
        actions.append(StopFiring(at_once=True) if firing else Exit(code))
