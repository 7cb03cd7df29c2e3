"""The use cases of the feature `alerts`: rules, receivers, silences, and present and past alerts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from smartmob.alerts import conditions, mail_addresses, payloads, webhook
from smartmob.alerts.evaluator import Evaluator
from smartmob.alerts.model import (
    Alert,
    ConfiguredReceiver,
    ConfiguredRule,
    NewReceiver,
    NewRule,
    NewSilence,
    Notification,
    Pending,
    Receiver,
    Rule,
    ShownReceiver,
    Silence,
    Source,
    check_name,
)
from smartmob.alerts.store import AlertStore, NewNotification
from smartmob.errors import Conflict, InvalidInput, NotFound
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock, ids

log = get_logger()


class AlertsService:
    """The use cases of the feature. `deliver` is called when a message is ready to be sent."""

    def __init__(self, store: AlertStore, evaluator: Evaluator, deliver: Callable[[], None]) -> None:
        self._store = store
        self._evaluator = evaluator
        self._deliver = deliver

    # -- rules --------------------------------------------------------------------------------------------------------

    async def rules(self) -> list[Rule]:
        """Return all rules."""
        return await self._store.rules()

    async def put_rule(self, name: str, new: NewRule, *, replace: bool = False) -> Rule:
        """Store a rule and return it. Raises InvalidInput, and Conflict when the name is taken."""
        rule = _rule(name, new, "stored")
        if replace:
            await self._refuse_settings(rule.name, "rule", await self._store.rules())
        if not await self._store.put_rule(rule, replace=replace):
            raise Conflict(f"there is a rule {name}; replace it (?replace=true) or choose another name")
        log.info("alerts.rule_stored", rule=name, condition=rule.condition)
        self._evaluator.wake()
        return next((stored for stored in await self._store.rules() if stored.name == name), rule)

    async def delete_rule(self, name: str) -> None:
        """Delete a rule; its active alerts are resolved. Raises NotFound."""
        await self._refuse_settings(name, "rule", await self._store.rules())
        if not await self._store.delete_rule(name):
            raise NotFound(f"there is no rule {name}; GET /api/v1/alerts/rules lists them")
        log.info("alerts.rule_deleted", rule=name)
        self._evaluator.wake()

    # -- receivers ----------------------------------------------------------------------------------------------------

    async def receivers(self) -> list[ShownReceiver]:
        """Return all receivers, without their secrets."""
        return [_shown(receiver) for receiver in await self._store.receivers()]

    async def put_receiver(self, name: str, new: NewReceiver, *, replace: bool = False) -> ShownReceiver:
        """Store a receiver and return it. Raises InvalidInput, and Conflict when the name is taken."""
        receiver = _receiver(name, new, "stored")
        if replace:
            await self._refuse_settings(name, "receiver", await self._store.receivers())
        if not await self._store.put_receiver(receiver, replace=replace):
            raise Conflict(f"there is a receiver {name}; replace it (?replace=true) or choose another name")
        log.info("alerts.receiver_stored", receiver=name, address=webhook.shown_address(receiver.address))
        self._evaluator.wake()
        return _shown(receiver)

    async def delete_receiver(self, name: str) -> None:
        """Delete a receiver; notifications that wait for it are given up. Raises NotFound."""
        await self._refuse_settings(name, "receiver", await self._store.receivers())
        if not await self._store.delete_receiver(name):
            raise NotFound(f"there is no receiver {name}; GET /api/v1/alerts/receivers lists them")
        log.info("alerts.receiver_deleted", receiver=name)

    async def test_receiver(self, name: str) -> UUID:
        """Send a test message to a receiver; return the id of the notification. Raises NotFound."""
        if all(receiver.name != name for receiver in await self._store.receivers()):
            raise NotFound(f"there is no receiver {name}; GET /api/v1/alerts/receivers lists them")
        now = clock.now()
        alert = Alert(
            id=ids.uuid7(),
            rule="test",
            subject=name,
            cause="",
            condition="",
            severity="info",
            summary=f"This is a test of the receiver {name}.",
            value=None,
            fired_at=now,
            notified_at=now,
            resolved_at=None,
            reason="",
        )
        notification = NewNotification(name, "test", payloads.document(alert, "test"), now, now)
        ident = await self._store.add_notification(alert.id, notification)
        self._deliver()
        return ident

    # -- silences -----------------------------------------------------------------------------------------------------

    async def silences(self) -> list[Silence]:
        """Return the silences that have not ended."""
        return await self._store.silences(clock.now())

    async def silence(self, new: NewSilence) -> Silence:
        """Hold back notifications for a time; return the silence. Raises InvalidInput."""
        now = clock.now()
        for where, text in (("$.rule", new.rule), ("$.subject", new.subject), ("$.text", new.text)):
            _printable(where, text)
        silence = Silence(
            id=ids.uuid7(),
            rule=new.rule,
            subject=new.subject,
            until=now + timedelta(seconds=new.seconds),
            text=new.text,
            author=_printable("$.author", new.author),
            made_at=now,
        )
        await self._store.put_silence(silence)
        return silence

    async def end_silence(self, ident: UUID) -> None:
        """End a silence; alerts that it held back are notified. Raises NotFound."""
        if not await self._store.delete_silence(ident):
            raise NotFound(f"there is no silence {ident}; GET /api/v1/alerts/silences lists them")
        self._evaluator.wake()

    # -- alerts -------------------------------------------------------------------------------------------------------

    async def active(self) -> list[Alert]:
        """Return the alerts that fire, oldest first."""
        return await self._store.active()

    def pending(self) -> list[Pending]:
        """Return the subjects that are bad, but not yet for as long as their rule demands."""
        return [Pending(rule, subject, seconds) for (rule, subject), seconds in self._evaluator.pending().items()]

    async def history(
        self, start: datetime, end: datetime, limit: int, after: tuple[datetime, UUID] | None = None
    ) -> list[Alert]:
        """Return at most `limit` alerts that fired from `start` until before `end`, newest first."""
        return await self._store.history(start, end, after, limit)

    async def notifications(self, *, failed: bool, limit: int) -> list[Notification]:
        """Return the newest notifications, or the newest that were given up."""
        return await self._store.notifications(failed=failed, limit=limit)

    async def retry(self) -> int:
        """Send the notifications that were given up again; return their number."""
        requeued = await self._store.requeue_failed(clock.now())
        self._deliver()
        return requeued

    async def load_settings(self, rules: list[ConfiguredRule], receivers: list[ConfiguredReceiver]) -> None:
        """Store the rules and receivers of the settings, and delete those that were removed from them."""
        for name, new_receiver in receivers:
            await self._store.put_receiver(_receiver(name, new_receiver, "settings"), replace=True)
        for name, new_rule in rules:
            await self._store.put_rule(_rule(name, new_rule, "settings"), replace=True)
        await self._store.keep_only_settings([name for name, _ in rules], [name for name, _ in receivers])

    @staticmethod
    async def _refuse_settings(name: str, kind: str, stored: list[Rule] | list[Receiver]) -> None:
        if any(each.name == name and each.source == "settings" for each in stored):
            raise Conflict(f"the {kind} {name} comes from the settings of the service; change it there")


def _rule(name: str, new: NewRule, source: Source) -> Rule:
    conditions.parse(_printable("$.condition", new.condition))
    for number, pattern in enumerate(new.subjects):
        _printable(f"$.subjects[{number}]", pattern)
    for number, receiver in enumerate(new.receivers):
        check_name(f"$.receivers[{number}]", receiver)
    return Rule(
        name=check_name("name", name),
        condition=" ".join(new.condition.split()),
        subjects=new.subjects,
        receivers=list(dict.fromkeys(new.receivers)),
        severity=new.severity,
        repeat=new.repeat,
        resolved=new.resolved,
        source=source,
        made_at=clock.now(),
    )


def _receiver(name: str, new: NewReceiver, source: Source) -> Receiver:
    is_mail = new.address.startswith("mailto:")
    if is_mail:
        mail_addresses.addresses(new.address)
    else:
        webhook.check_address(new.address)
    try:
        payloads.secret_key(new.secret)
    except ValueError:
        raise InvalidInput.at("$.secret", "expected base64 after whsec_") from None
    return Receiver(
        name=check_name("name", name),
        address=new.address,
        format="mail" if is_mail else new.format,
        secret="" if is_mail else new.secret,
        source=source,
        made_at=clock.now(),
    )


def _shown(receiver: Receiver) -> ShownReceiver:
    return ShownReceiver(
        name=receiver.name,
        address=webhook.shown_address(receiver.address),
        format=receiver.format,
        signed=bool(receiver.secret),
        source=receiver.source,
        made_at=receiver.made_at,
    )


def _printable(where: str, text: str) -> str:
    if not text.isprintable():
        raise InvalidInput.at(where, "expected one line of text, without control characters")
    return text
