"""The state machine of a turret: it takes events (orders, ticks, errors) and returns actions. No I/O.

`now` is a monotonic clock in seconds. `STATES` lists the states; docs/reference/turret-protocol.md the transitions.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from smartmob.turrets.protocol import REPEAT_SECONDS, STATUS_SECONDS, Condition, Order, RunBriefing, briefing

FIRE_AHEAD_SECONDS = 0.25
"""Time before the start of a run at which the cannons get their plan; until then a briefing can move the start."""

LONGEST_REPEAT_SECONDS = 60.0
"""Longest time between two repetitions of unacknowledged messages; it doubles from `REPEAT_SECONDS`."""

STATES = {
    "ready": "No run is announced.",
    "armed": "A run is announced; its start is not due.",
    "firing": "The cannons do transactions.",
    "stopping": "No transaction begins; those under way end.",
    "delivering": "All results are numbered, but not all are acknowledged.",
    "ended": "The program ends, after the cannons.",
}
"""The states of a turret, each with its meaning. Only a run of a smartmob headquarters is armed and delivering."""


class OrderCame(msgspec.Struct, frozen=True):
    """An order for this turret was received."""

    order: Order


class Tick(msgspec.Struct, frozen=True):
    """The deadline of the machine was reached."""


class ConnectionChanged(msgspec.Struct, frozen=True):
    """The connection to the headquarters was established or lost."""

    connected: bool


class FiringEnded(msgspec.Struct, frozen=True):
    """The last cannon has ended and all results are numbered; `sequence` is the last number."""

    sequence: int


class TurretFailed(msgspec.Struct, frozen=True):
    """The turret cannot continue because of an error of its own."""

    reason: str


class Quit(msgspec.Struct, frozen=True):
    """The user or the system asks the turret to end (CTRL-C, SIGTERM)."""


Event = OrderCame | Tick | ConnectionChanged | FiringEnded | TurretFailed | Quit


class SendStatus(msgspec.Struct, frozen=True):
    """Send a status to the headquarters."""


class StartFiring(msgspec.Struct, frozen=True):
    """Start the cannons. `start` is when the run begins by the clock of `now`; it may be in the past.

    `end` is when arrivals of the open model end, or infinity. `raw`: send raw results, not slices. `numbered`: give
    each message a sequence number. `rate`: arrivals per second in place of those of the configuration, or None.
    """

    run: str | None
    start: float
    end: float
    raw: bool
    numbered: bool
    context: dict[str, Any]
    rate: float | None = None


class StopFiring(msgspec.Struct, frozen=True):
    """Stop the cannons; `at_once`: without waiting for the transactions under way."""

    at_once: bool


class Acknowledge(msgspec.Struct, frozen=True):
    """Remove the messages up to this number from the outbox."""

    sequence: int


class Repeat(msgspec.Struct, frozen=True):
    """Send all unacknowledged messages again."""


class Discard(msgspec.Struct, frozen=True):
    """Remove all messages from the outbox; `lost`: count them as dropped, since the headquarters still needs them."""

    lost: bool


class Flush(msgspec.Struct, frozen=True):
    """Send the queued messages for a headquarters of OCT for a bounded time, and continue with empty queues."""


class Notify(msgspec.Struct, frozen=True):
    """Show a message to the person at the terminal."""

    text: str


class ExitProgram(msgspec.Struct, frozen=True):
    """End the program with this exit code."""

    code: int


Action = SendStatus | StartFiring | StopFiring | Acknowledge | Repeat | Discard | Flush | Notify | ExitProgram


class _JoinedRun(msgspec.Struct):
    """The run that the turret takes part in. The id is None for a headquarters of OCT.

    `abandoned`: the headquarters no longer has this run. `sequence` is the last number, once all results are numbered.
    `progress_at`: when the acknowledged number last changed, or messages were last repeated.
    """

    id: str | None
    start: float
    seconds: float
    results: str
    context: dict[str, Any]
    rate: float | None = None
    abandoned: bool = False
    sequence: int | None = None
    acknowledged: int = 0
    progress_at: float = -math.inf
    repeat_after: float = REPEAT_SECONDS

    @property
    def end(self) -> float:
        return self.start + self.seconds

    @property
    def confirmed(self) -> bool:
        """Return whether the headquarters has all results, of which there are none before the turret has fired."""
        return not self.abandoned and (self.sequence is None or self.acknowledged >= self.sequence)


class TurretMachine(msgspec.Struct):
    """The state of one turret. It gives up a run after `patience` seconds without a headquarters.

    With `once` it ends after its first run: with 0 if the headquarters has confirmed all of its results, else with 1.
    `hq_protocol`: the version of our extension in the last order, 0 if it had no briefing. `reason`: the error that
    ends the turret.
    """

    uuid: str
    patience: float
    once: bool = False
    state: str = "ready"
    hq_protocol: int = 0
    reason: str = ""
    run: _JoinedRun | None = None
    _last_report: tuple[str, int, int] | None = None
    _past_runs: set[str] = msgspec.field(default_factory=set)
    _context: dict[str, Any] = msgspec.field(default_factory=dict)
    _exit: int | None = None
    _left: int | None = None
    _order_received_at: float = -math.inf
    _status_sent_at: float = -math.inf
    _connected: bool = False
    _disconnected_since: float = -math.inf

    def handle(self, event: Event, now: float) -> list[Action]:
        """Return the actions to perform, in this order."""
        actions: list[Action] = []
        match event:
            case OrderCame(order):
                self._order_received_at = now
                self._handle_order(order, now, actions)
            case Tick():
                self._handle_tick(now, actions)
            case ConnectionChanged(connected):
                self._handle_connection(connected, now, actions)
            case FiringEnded(sequence):
                self._handle_firing_ended(sequence, now, actions)
            case TurretFailed(reason):
                self.reason = reason
                self._end(1, actions)
            case Quit():
                self._end(0, actions)
        if self.once and self._left is not None and self._exit is None:
            if self._left:
                actions.append(Notify("the headquarters has not confirmed all results of the run"))
            self._end(self._left, actions)
        if any(isinstance(action, SendStatus) for action in actions):
            self._status_sent_at = now
        return actions

    @property
    def smartmob_hq(self) -> bool:
        """Return whether the headquarters is of smartmob."""
        return self.hq_protocol > 0

    @property
    def condition(self) -> str:
        """Return the value of `status` in a status message."""
        if self._exit is not None:
            return Condition.ABORTED if self._exit else Condition.KILLED
        return Condition.READY if self.state in ("ready", "armed") else Condition.RUNNING

    @property
    def reported(self) -> tuple[str | None, int | None, int]:
        """Return the run to report on, its last number if that is final, and the acknowledged number."""
        if self.run is not None:
            return self.run.id, self.run.sequence, self.run.acknowledged
        return self._last_report or (None, None, 0)

    @property
    def deadline(self) -> float:
        """Return when the next Tick is due."""
        run, due = self.run, self._status_sent_at + STATUS_SECONDS
        if run is not None and self.state == "armed":
            due = min(due, run.start - FIRE_AHEAD_SECONDS)
        elif run is not None and self.state == "firing":
            due = min(due, run.end)
        if run is not None and self._sends_numbers:
            # A status follows each order, so the time of the next regular status may never come.
            due = min(due, run.progress_at + run.repeat_after)
        return due

    @property
    def _sends_numbers(self) -> bool:
        return self.run is not None and self.run.id is not None and self.state != "armed"

    # -- orders ---------------------------------------------------------------------------------------------------

    def _handle_order(self, order: Order, now: float, actions: list[Action]) -> None:
        brief = briefing(order)
        self.hq_protocol = max(brief.protocol, 1) if brief is not None else 0
        if order.command == "kill":
            self._end(0, actions)
            return
        if self._exit is not None:
            if brief is not None:
                self._apply_acknowledgement(brief.acknowledged.get(self.uuid, 0), now, actions)
        elif brief is not None:
            if brief.run is None:  # the last acknowledgement of a run may come after its end
                self._apply_acknowledgement(brief.acknowledged.get(self.uuid, 0), now, actions)
            self._follow_briefing(brief.run, now, actions)
            self._apply_acknowledgement(brief.acknowledged.get(self.uuid, 0), now, actions)
        elif self.run is not None and self.run.id is not None:
            # The order comes from a headquarters of OCT that does not have this run.
            self._abandon(actions)
        elif order.command == "start" and self.state == "ready":
            self.run = _JoinedRun(None, now, math.inf, "raw", dict(self._context))
            self._fire(now, actions)
        elif order.command == "stop" and self.state == "firing":
            self._stop(actions, at_once=False)
        elif order.command == "set_transaction_context" and isinstance(order.msg, dict):
            self._context.update(order.msg)
        actions.append(SendStatus())

    def _follow_briefing(self, wanted: RunBriefing | None, now: float, actions: list[Action]) -> None:
        """Change the state towards the run that the briefing describes."""
        run = self.run
        if run is not None and (wanted is None or wanted.id != run.id):
            if self.state != "stopping" or not run.abandoned:
                self._abandon(actions)
            return
        if wanted is None or wanted.id in self._past_runs:
            return
        start = now + wanted.starts_in
        if run is None:
            context = dict(self._context) | wanted.context
            rate = wanted.rate_of(self.uuid)
            self.run = _JoinedRun(wanted.id, start, wanted.run_time, wanted.results, context, rate)
            self.state = "armed"
            if wanted.stopped or start + wanted.run_time <= now:
                self._leave_run()
                return
        elif self.state == "armed":
            run.start = min(run.start, start)
        if wanted.stopped and self.state == "armed":
            self._leave_run()
        elif wanted.stopped and self.state == "firing":
            self._stop(actions, at_once=False)
        self._start_if_due(now, actions)

    def _apply_acknowledgement(self, sequence: int, now: float, actions: list[Action]) -> None:
        run = self.run
        if run is None or run.id is None or run.abandoned:
            return
        if sequence > run.acknowledged:
            run.acknowledged, run.progress_at, run.repeat_after = sequence, now, REPEAT_SECONDS
            actions.append(Acknowledge(sequence))
        self._leave_if_acknowledged()

    # -- time and connection --------------------------------------------------------------------------------------

    def _handle_tick(self, now: float, actions: list[Action]) -> None:
        run = self.run
        self._start_if_due(now, actions)
        if run is not None and self.state == "firing" and now >= run.end:
            self._stop(actions, at_once=False)
        elif (
            run is not None
            and run.id is None
            and self.state == "firing"
            and self._disconnected_for(now) >= self.patience
        ):
            actions.append(Notify(f"no connection to the headquarters for {self.patience:g} s: stopping the load"))
            self._stop(actions, at_once=False)
        elif run is not None and self.state == "delivering" and now - self._order_received_at >= self.patience:
            actions += [
                Notify(f"no connection to the headquarters for {self.patience:g} s: undelivered results are dropped"),
                Discard(lost=True),
            ]
            self._leave_run()
        if run is not None and self._sends_numbers and now - run.progress_at >= run.repeat_after:
            # When all messages are acknowledged, the outbox is empty and Repeat does nothing.
            run.progress_at, run.repeat_after = now, min(run.repeat_after * 2, LONGEST_REPEAT_SECONDS)
            actions.append(Repeat())
        if now - self._status_sent_at >= STATUS_SECONDS:
            actions.append(SendStatus())

    def _start_if_due(self, now: float, actions: list[Action]) -> None:
        if self.state == "armed" and self.run is not None and now >= self.run.start - FIRE_AHEAD_SECONDS:
            self._fire(now, actions)

    def _handle_connection(self, connected: bool, now: float, actions: list[Action]) -> None:
        if connected == self._connected:
            return
        self._connected = connected
        if connected:
            actions += [Notify("connected to the headquarters"), SendStatus()]
            if self.run is not None and self.run.id is not None:
                # Messages under way when the connection broke may be lost.
                self.run.progress_at = now
                actions.append(Repeat())
        else:
            self._disconnected_since = now
            actions.append(Notify("lost the connection to the headquarters; reconnecting"))

    def _disconnected_for(self, now: float) -> float:
        return 0.0 if self._connected else now - self._disconnected_since

    # -- steps ----------------------------------------------------------------------------------------------------

    def _fire(self, now: float, actions: list[Action]) -> None:
        run = self.run
        assert run is not None
        self.state, run.progress_at = "firing", now
        numbered = run.id is not None
        raw = run.results == "raw"
        actions.append(StartFiring(run.id, run.start, run.end, raw, numbered, run.context, run.rate))
        actions.append(SendStatus())

    def _stop(self, actions: list[Action], *, at_once: bool) -> None:
        self.state = "stopping"
        actions.append(StopFiring(at_once))

    def _abandon(self, actions: list[Action]) -> None:
        """Stop and leave a run that the headquarters no longer has."""
        run = self.run
        assert run is not None
        if self.state in ("firing", "stopping"):
            run.abandoned = True
            actions.append(Notify("the headquarters no longer has this run: firing ends"))
            self._stop(actions, at_once=True)
        else:
            actions.append(Discard(lost=False))
            self._leave_run()

    def _handle_firing_ended(self, sequence: int, now: float, actions: list[Action]) -> None:
        run = self.run
        if self._exit is not None or run is None:
            if run is not None:
                run.sequence = sequence
            actions.append(ExitProgram(self._exit or 0))
        elif run.id is None:
            actions += [Flush(), SendStatus()]
            self.run, self.state, self._left = None, "ready", 1  # a headquarters of OCT confirms nothing
        elif run.abandoned:
            actions += [Discard(lost=False), SendStatus()]
            self._leave_run()
        else:
            # Waiting for its own transactions does not count as silence of the headquarters.
            self._order_received_at = max(self._order_received_at, now - self.patience / 2)
            run.sequence, self.state = sequence, "delivering"
            actions.append(SendStatus())
            self._leave_if_acknowledged()

    def _leave_if_acknowledged(self) -> None:
        run = self.run
        if run is None or run.sequence is None or self.state != "delivering":
            return
        if run.acknowledged >= run.sequence:
            self._leave_run()

    def _leave_run(self) -> None:
        run = self.run
        if run is not None and run.id is not None:
            self._last_report = (run.id, run.sequence or run.acknowledged, run.acknowledged)
            self._past_runs.add(run.id)
        self._left = int(run is not None and not run.confirmed)
        self.run, self.state = None, "ready"

    def _end(self, code: int, actions: list[Action]) -> None:
        """End the program once the cannons have ended."""
        if self._exit is not None:
            # The second request: end without waiting.
            actions.append(ExitProgram(self._exit))
            return
        self._exit = code
        firing = self.state in ("firing", "stopping")
        self.state = "ended"
        actions.append(SendStatus())
        actions.append(StopFiring(at_once=True) if firing else ExitProgram(code))
