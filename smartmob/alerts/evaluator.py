"""Evaluates the rules: observes their subjects, advances the state machines, and stores the resulting changes.

It evaluates them at a slow rate, and at once after an event of another feature. Each evaluation reads the
active alerts from the database, so several services on one database share them, and a restart loses none. Pending
alerts are stored as well, by each service for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from smartmob.alerts import conditions, payloads
from smartmob.alerts.conditions import (
    SERVICE_FREE,
    Condition,
    DatabaseLost,
    ProcessCrashing,
    Regression,
    Threshold,
)
from smartmob.alerts.database_observer import BACK
from smartmob.alerts.events import AlertFired, AlertResolved
from smartmob.alerts.model import Alert, Kind, Receiver, Rule, Silence, one_line
from smartmob.alerts.observation import Observation, Observations
from smartmob.alerts.observers import Observers
from smartmob.alerts.state_machine import (
    Action,
    AlertPhase,
    AlertState,
    Announce,
    Event,
    Fire,
    Gone,
    Observed,
    Resolve,
    SubjectHealth,
    Timing,
    handle,
)
from smartmob.alerts.store import AlertCounts, AlertStore, NewNotification
from smartmob.errors import InvalidInput, Unavailable
from smartmob.feature_settings import AlertsSettings
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock, ids
from smartmob.kernel.runtime.events import EventBus

log = get_logger()

_SHORTEST_PAUSE_SECONDS = 0.5
"""The shortest pause between two evaluations, so that a stream of events causes a bounded number of them."""
_EXPIRE_SECONDS = 3_600.0
"""The interval at which old rows are removed."""

_NEW = timedelta(days=7)
NO_LONGER_NEW = "it is no longer new"
"""The reason of a regression that is closed, without a message, because the test was not made faster again."""
_QUIET = (NO_LONGER_NEW, BACK)
"""The reasons of ends without a notification."""

PENDING_OUTAGE = timedelta(minutes=10)
"""Pending alerts of a service that ended are pending again when it starts within this time."""
_LISTENING_SLACK_SECONDS = 5.0

Key = tuple[str, str]
"""A rule and a subject."""


class _Evaluation(msgspec.Struct, frozen=True):
    """The data of one evaluation: the time, by the steady clock and by the calendar, and the receivers and silences."""

    now: float
    at: datetime
    receivers: Sequence[Receiver]
    silences: Sequence[Silence]
    active: dict[Key, Alert] = msgspec.field(default_factory=dict)

    def names(self, rule: Rule) -> list[str]:
        """Return the names of the receivers of a rule, as far as these receivers exist."""
        known = [receiver.name for receiver in self.receivers]
        return [name for name in known if not rule.receivers or name in rule.receivers]

    def silenced(self, rule: Rule, subject: str) -> bool:
        """Return whether notifications are held back now; without a receiver they wait for one."""
        return not self.names(rule) or any(silence.covers(rule.name, subject) for silence in self.silences)


class Evaluator:
    """Evaluates all rules until it is cancelled. `deliver` is called when a message is ready to be sent.

    `own_id` returns the id of the data directory of this service, which owns some alerts.
    """

    def __init__(
        self,
        store: AlertStore,
        observers: Observers,
        bus: EventBus,
        settings: AlertsSettings,
        deliver: Callable[[], None],
        *,
        own_id: Callable[[], str],
    ) -> None:
        self.evaluations = 0
        self.counts = AlertCounts()
        self._own_id = own_id
        self._store = store
        self._observers = observers
        self._bus = bus
        self._settings = settings
        self._deliver = deliver
        self._states: dict[Key, AlertState] = {}
        self._conditions: dict[str, str] = {}
        self._woken = asyncio.Event()
        self._expired_at: float | None = None
        self._looked_until: float | None = None
        self._lost_since: tuple[float, datetime] | None = None
        self._kept: list[tuple[str, str, str, datetime]] | None = None

    def wake(self) -> None:
        """Evaluate at once."""
        self._woken.set()

    def lost(self) -> None:
        """Record that the database cannot be used, beginning with the first of several failed evaluations."""
        if self._lost_since is None:
            self._lost_since = clock.steady(), clock.now()

    def pending(self) -> dict[Key, float]:
        """Return the rules and subjects that are bad, but not yet for long enough, with the seconds since when."""
        now = clock.steady()
        states = self._states.items()
        return {key: now - state.bad_since for key, state in states if state.bad_since is not None}

    async def run(self) -> None:
        """Background task: evaluate at the rate of the settings, and soon after it is woken, until cancelled."""
        while True:
            await asyncio.sleep(min(self._settings.tick, _SHORTEST_PAUSE_SECONDS))
            self._woken.clear()
            try:
                await self.evaluate()
            except Unavailable as error:
                self.lost()
                log.warning("alerts.evaluation_failed", reason=str(error))
            try:
                async with asyncio.timeout(self._settings.tick):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def evaluate(self) -> None:
        """Observe the subjects of all rules once, and store the resulting changes. Raises Unavailable."""
        rules = await self._store.rules()
        now, at = clock.steady(), clock.now()
        stored = await self._store.active()
        active = {(alert.rule, alert.subject): alert for alert in stored if alert.owner in ("", self._own_id())}
        evaluation = _Evaluation(now, at, await self._store.receivers(), await self._store.silences(at), active)
        self._share(evaluation)
        await self._close_orphans(evaluation, stored, {rule.name for rule in rules})
        parsed = [(rule, condition) for rule in rules if (condition := self._condition(rule)) is not None]
        if self._kept is None:
            await self._take_over_pending(evaluation, rules)
        await self._observers.read(now, at, [condition for _, condition in parsed])
        self._judge_interruption()
        for rule, condition in parsed:
            await self._evaluate(evaluation, rule, condition)
        self._observers.commit(now)
        self._lost_since = None
        await self._store_pending(evaluation)
        if self._expired_at is None or now - self._expired_at >= _EXPIRE_SECONDS:
            await self._store.expire(at - timedelta(days=self._settings.keep_days), at)
            self._expired_at = now
        self.counts = await self._store.counts()
        self._looked_until = clock.steady()
        self.evaluations += 1

    def _judge_interruption(self) -> None:
        """Notify the observers that evaluations have failed, or that too much time has passed since the last one."""
        now = clock.steady()
        if self._lost_since is not None:
            since, at = self._lost_since
            self._observers.database_lost(at, now - since)
        longest = 2 * self._settings.tick + _LISTENING_SLACK_SECONDS
        if self._lost_since is not None or (self._looked_until is not None and now - self._looked_until > longest):
            self._observers.interrupted()

    async def _take_over_pending(self, evaluation: _Evaluation, rules: Sequence[Rule]) -> None:
        """Take over the pending alerts from before a restart, for rules that have not changed since."""
        known = {(rule.name, rule.condition) for rule in rules}
        for row in await self._store.pending(self._own_id(), evaluation.at - PENDING_OUTAGE):
            key = (row["rule"], row["subject"])
            if (row["rule"], row["condition"]) in known and key not in self._states:
                since = evaluation.now - (evaluation.at - row["bad_since"]).total_seconds()
                self._states[key] = AlertState(AlertPhase.PENDING, bad_since=min(since, evaluation.now))
                self._conditions[row["rule"]] = row["condition"]
        self._kept = []

    async def _store_pending(self, evaluation: _Evaluation) -> None:
        """Store the pending alerts, so that their time goes on after a restart."""
        pending = sorted(
            (rule, subject, self._conditions[rule], evaluation.at - timedelta(seconds=evaluation.now - state.bad_since))
            for (rule, subject), state in self._states.items()
            if state.bad_since is not None and rule in self._conditions
        )
        same = [each[:3] for each in pending] == [each[:3] for each in self._kept or ()]
        if pending or not same:
            await self._store.keep_pending(self._own_id(), pending, evaluation.at, same=same)
        self._kept = pending

    def _share(self, evaluation: _Evaluation) -> None:
        """Take over the active alerts of the database: those of other services and those from before a restart."""
        for key, alert in evaluation.active.items():
            state = self._states.get(key)
            if state is None or state.phase is not AlertPhase.FIRING or state.cause != alert.cause:
                notified = alert.notified_at
                since = None if notified is None else evaluation.now - (evaluation.at - notified).total_seconds()
                self._states[key] = AlertState(AlertPhase.FIRING, alert.cause, notified_at=since)
        for key, state in list(self._states.items()):
            if state.phase is AlertPhase.FIRING and key not in evaluation.active:
                del self._states[key]

    def _condition(self, rule: Rule) -> Condition | None:
        """Return the condition of a rule. Pending alerts of its former text are forgotten."""
        if self._conditions.get(rule.name) != rule.condition:
            self._conditions[rule.name] = rule.condition
            for key, state in list(self._states.items()):
                if key[0] == rule.name and state.phase is AlertPhase.PENDING:
                    del self._states[key]
        try:
            return conditions.parse(rule.condition)
        except InvalidInput as error:
            # It was valid when it was stored: a later version has changed the grammar or the fields.
            log.error("alerts.rule_unreadable", rule=rule.name, reason=str(error))
            return None

    async def _close_orphans(self, evaluation: _Evaluation, alerts: Sequence[Alert], names: set[str]) -> None:
        """Resolve the alerts of rules that were removed, including those of other services, which may have stopped."""
        for alert in alerts:
            if alert.rule in names:
                continue
            rule, reason = _removed_rule(alert), "the rule was removed"
            if evaluation.active.get((alert.rule, alert.subject)) is alert:
                seen = Observation(alert.subject, SubjectHealth.UNKNOWN)
                await self._advance(evaluation, rule, Timing(), seen, gone=reason)
            else:
                notify = alert.notified_at is not None and not evaluation.silenced(rule, alert.subject)
                await self._end(Resolve(reason, notify), evaluation, rule, alert)

    async def _evaluate(self, evaluation: _Evaluation, rule: Rule, condition: Condition) -> None:
        observed: Observations = self._observers.observe(rule, condition)
        seen = {observation.subject for observation in observed.found}
        timing = msgspec.structs.replace(condition.timing, repeat=rule.repeat)
        for observation in observed.found:
            await self._advance(evaluation, rule, timing, observation)
        for key in [key for key in self._states if key[0] == rule.name]:
            alert = evaluation.active.get(key)
            if alert is not None and not _same_family(alert, condition):
                gone = "the rule was changed"
            elif observed.complete and key[1] not in seen:
                gone = observed.gone
            elif alert is not None and isinstance(condition, Regression) and evaluation.at - alert.fired_at > _NEW:
                gone = NO_LONGER_NEW
            else:
                continue
            await self._advance(evaluation, rule, timing, Observation(key[1], SubjectHealth.UNKNOWN), gone=gone)

    async def _advance(
        self, evaluation: _Evaluation, rule: Rule, timing: Timing, seen: Observation, *, gone: str = ""
    ) -> None:
        """Pass an observation to the state machine, carry out its actions, and only then keep the new state."""
        key = (rule.name, seen.subject)
        silenced = evaluation.silenced(rule, seen.subject)
        event: Event = Gone(gone, silenced or gone in _QUIET) if gone else Observed(seen.health, seen.cause, silenced)
        before = self._states.get(key, AlertState())
        after, actions = handle(before, event, timing, evaluation.now)
        for action in actions:
            if not await self._carry_out(action, evaluation, rule, seen):
                # Another service was faster, or the cause is already known: the next evaluation reads its alert.
                after = AlertState()
        if after.phase is AlertPhase.OK:
            self._states.pop(key, None)
        else:
            self._states[key] = after

    async def _carry_out(self, action: Action, evaluation: _Evaluation, rule: Rule, seen: Observation) -> bool:
        key = (rule.name, seen.subject)
        match action:
            case Fire():
                return await self._fire(action, evaluation, rule, seen)
            case Announce():
                alert = evaluation.active.get(key)
                if alert is None:
                    return False
                kind: Kind = "repeated" if action.repeated else "firing"
                notifications = self._notifications(evaluation, evaluation.names(rule), alert, kind)
                if await self._store.announce(alert, notifications, evaluation.at):
                    evaluation.active[key] = msgspec.structs.replace(alert, notified_at=evaluation.at)
                    self._deliver()
            case Resolve():
                return await self._resolve(action, evaluation, rule, key)
        return True

    async def _fire(self, action: Fire, evaluation: _Evaluation, rule: Rule, seen: Observation) -> bool:
        key = (rule.name, seen.subject)
        alert = Alert(
            id=ids.uuid7(),
            rule=rule.name,
            subject=seen.subject,
            cause=action.cause,
            condition=rule.condition,
            severity=rule.severity,
            summary=one_line(seen.summary),
            value=seen.value,
            fired_at=evaluation.at,
            notified_at=evaluation.at if action.notify else None,
            owner=self._owner(rule),
            resolved_at=None,
            reason="",
        )
        replaced = evaluation.active.get(key)
        notifications = self._notifications(
            evaluation, evaluation.names(rule) if action.notify else [], alert, "firing"
        )
        if not await self._store.fire(alert, None if replaced is None else replaced.id, notifications):
            return False
        evaluation.active[key] = alert
        log.warning("alerts.fired", rule=rule.name, subject=seen.subject, summary=alert.summary)
        self._bus.publish(AlertFired(alert))
        if notifications:
            self._deliver()
        return True

    async def _resolve(self, action: Resolve, evaluation: _Evaluation, rule: Rule, key: Key) -> bool:
        alert = evaluation.active.pop(key, None)
        return alert is not None and await self._end(action, evaluation, rule, alert)

    async def _end(self, action: Resolve, evaluation: _Evaluation, rule: Rule, alert: Alert) -> bool:
        ended = msgspec.structs.replace(alert, resolved_at=evaluation.at, reason=action.reason)
        notify = action.notify and rule.resolved
        receivers = await self._store.notified_receivers(alert.id) if notify else []
        notifications = self._notifications(evaluation, receivers, ended, "resolved")
        if not await self._store.resolve(ended, notifications):
            return False
        log.info("alerts.resolved", rule=rule.name, subject=alert.subject, reason=action.reason)
        self._bus.publish(AlertResolved(ended))
        if notifications:
            self._deliver()
        return True

    def _owner(self, rule: Rule) -> str:
        """Return the owner of the alerts of a rule: this service if no other service can see their subjects."""
        condition = conditions.parse(rule.condition)
        own = isinstance(condition, ProcessCrashing | DatabaseLost) or (
            isinstance(condition, Threshold) and condition.field == SERVICE_FREE
        )
        return self._own_id() if own else ""

    def _notifications(
        self, evaluation: _Evaluation, receivers: Sequence[str], alert: Alert, kind: Kind
    ) -> list[NewNotification]:
        due = evaluation.at + timedelta(seconds=self._settings.group_wait)
        document = payloads.document(alert, kind)
        return [NewNotification(name, kind, document, evaluation.at, due) for name in receivers]


def _removed_rule(alert: Alert) -> Rule:
    """Return the rule of an alert, as far as it is still known after its removal."""
    return Rule(
        name=alert.rule,
        condition=alert.condition,
        severity=alert.severity,
        source="stored",
        made_at=alert.fired_at,
    )


def _same_family(alert: Alert, condition: Condition) -> bool:
    try:
        return conditions.family(conditions.parse(alert.condition)) == conditions.family(condition)
    except InvalidInput:
        return False
