"""The state machine of one alert: a rule on one subject, from an observation to the actions that follow. No I/O.

Times are seconds of any steady clock and are passed in. The table of phases and transitions stands in
docs/reference/alerts.md. The state is a frozen value: the caller keeps the old one until the actions are stored, so a
failed write loses nothing.

An alert does not flap: a bad subject fires after it has been bad for `pending_for` seconds in a row, and resolves only
after it has been good for `recover_for` seconds in a row; anything unknown in between changes neither.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace


class AlertPhase(StrEnum):
    """The phase of an alert. A resolved alert is `OK` again; its history is stored."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"


class SubjectHealth(StrEnum):
    """One observation of a subject.

    `BETWEEN` is neither bad enough to fire nor good enough to resolve (hysteresis). `UNKNOWN` means that nothing new is
    known.
    """

    BAD = "bad"
    BETWEEN = "between"
    GOOD = "good"
    UNKNOWN = "unknown"


class Timing(msgspec.Struct, frozen=True):
    """The times of a rule in seconds: how long bad before it fires, how long good before it resolves.

    `repeat` is the time after which a firing alert is notified again, or None.
    """

    pending_for: float = 0.0
    recover_for: float = 0.0
    repeat: float | None = None


class AlertState(msgspec.Struct, frozen=True):
    """The state of one alert.

    `bad_since` is the beginning of the present bad observations while pending, `good_since` that of the good ones while
    firing. `notified_at` is the time of the newest notification of this alert, None if there was none.
    """

    phase: AlertPhase = AlertPhase.OK
    cause: str = ""
    bad_since: float | None = None
    good_since: float | None = None
    notified_at: float | None = None


# Events.


class Observed(msgspec.Struct, frozen=True):
    """The subject was observed.

    `cause` names a single event such as one failed run; a second cause replaces the first. It is "" for conditions that
    last. `silenced` means that a person wants no notification now.
    """

    health: SubjectHealth
    cause: str = ""
    silenced: bool = False


class Gone(msgspec.Struct, frozen=True):
    """The subject or the rule no longer exists; `reason` says it in words."""

    reason: str
    silenced: bool = False


Event: TypeAlias = Observed | Gone


# Actions.


class Fire(msgspec.Struct, frozen=True):
    """Store that the alert fires, and notify its receivers unless it is silenced."""

    cause: str
    notify: bool


class Supersede(msgspec.Struct, frozen=True):
    """Close the present alert without a notification: a further cause takes its place."""


class Announce(msgspec.Struct, frozen=True):
    """Notify the receivers of an alert that fired before: a silence has ended, or it is time to repeat it."""

    repeated: bool


class Resolve(msgspec.Struct, frozen=True):
    """Store that the alert is over; notify if its receivers were notified that it fired."""

    reason: str
    notify: bool


Action: TypeAlias = Fire | Supersede | Announce | Resolve

RECOVERED = "recovered"
"""The reason of an alert that resolved because its subject is good again."""


def handle(state: AlertState, event: Event, timing: Timing, now: float) -> tuple[AlertState, list[Action]]:
    """Return the state after an event at `now`, and the actions to carry out, in this order."""
    match event:
        case Observed():
            if state.phase is AlertPhase.FIRING:
                return _observed_firing(state, event, timing, now)
            return _observed_quiet(state, event, timing, now)
        case Gone():
            if state.phase is not AlertPhase.FIRING:
                return AlertState(), []
            return AlertState(), [Resolve(event.reason, _was_notified(state, event.silenced))]
        case _:
            assert_never(event)


def _observed_quiet(state: AlertState, event: Observed, timing: Timing, now: float) -> tuple[AlertState, list[Action]]:
    if event.health is SubjectHealth.UNKNOWN:
        return state, []
    if event.health is not SubjectHealth.BAD:
        return AlertState(), []
    since = now if state.bad_since is None else state.bad_since
    if now - since < timing.pending_for:
        return AlertState(AlertPhase.PENDING, event.cause, bad_since=since), []
    return _fired(event, now), [Fire(event.cause, not event.silenced)]


def _observed_firing(state: AlertState, event: Observed, timing: Timing, now: float) -> tuple[AlertState, list[Action]]:
    if event.health is SubjectHealth.BAD and event.cause != state.cause:
        return _fired(event, now), [Supersede(), Fire(event.cause, not event.silenced)]
    if event.health is SubjectHealth.GOOD:
        since = now if state.good_since is None else state.good_since
        if now - since >= timing.recover_for:
            return AlertState(), [Resolve(RECOVERED, _was_notified(state, event.silenced))]
        state = replace(state, good_since=since)
    elif event.health is not SubjectHealth.UNKNOWN:
        state = replace(state, good_since=None)
    return _reminded(state, event, timing, now)


def _reminded(state: AlertState, event: Observed, timing: Timing, now: float) -> tuple[AlertState, list[Action]]:
    """Notify of a firing alert that a silence held back, or that is due to be repeated."""
    if event.silenced:
        return state, []
    late = state.notified_at is None
    due = timing.repeat is not None and state.notified_at is not None and now - state.notified_at >= timing.repeat
    if late or due:
        return replace(state, notified_at=now), [Announce(repeated=not late)]
    return state, []


def _fired(event: Observed, now: float) -> AlertState:
    return AlertState(AlertPhase.FIRING, event.cause, notified_at=None if event.silenced else now)


def _was_notified(state: AlertState, silenced: bool) -> bool:
    return state.notified_at is not None and not silenced
