"""The tables of the feature `alerts`.

A change of an alert and its notifications are written in one transaction, so that a notification is neither lost nor
made twice, whichever service on the database decides it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from smartmob.alerts.model import Alert, Message, Notification, Receiver, Rule, Silence
from smartmob.kernel.db import queries
from smartmob.kernel.db.database import READ_COMMITTED, Connection, Database, Record
from smartmob.kernel.runtime import ids

PACKAGE = "smartmob.alerts"
MAX_GROUP_ALERTS = 1_000
"""Notifications that are sent as one JSON document at most: about 500 kB."""
MAX_TEXT_ALERTS = 20_000
"""Notifications that are sent as one text for people at most; the text lists the first of them and counts the rest."""

_CLAIMS_LOCK = 7_330_461_123
"""The key of the advisory lock for claiming a message. Any unused number."""


_INSERTED = Alert.__struct_fields__[:-2]  # a new alert is not resolved


class _Known(Exception):
    """The alert is stored already: the transaction is rolled back."""


class NewNotification(msgspec.Struct, frozen=True):
    """A notification to store with the change of its alert; `document` is sent to the receiver."""

    receiver: str
    kind: str
    document: dict[str, Any]
    made_at: datetime
    due_at: datetime


class AlertCounts(msgspec.Struct, frozen=True):
    """The numbers of active alerts, and of notifications that wait or were given up."""

    active: int = 0
    waiting: int = 0
    failed: int = 0


class AlertStore:
    """Reads and writes rules, receivers, silences, alerts and notifications."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)

    # -- rules, receivers and silences --------------------------------------------------------------------------------

    async def rules(self) -> list[Rule]:
        """Return all rules in the order of their names."""
        return [_rule(row) for row in await self._database.fetch(self._sql["select_rules"])]

    async def put_rule(self, rule: Rule, *, replace: bool) -> bool:
        """Store a rule; return False when the name is taken and the rule may not be replaced."""
        values = (rule.name, rule.condition, rule.subjects, rule.receivers, rule.severity, rule.repeat)
        values_and_origin = (*values, rule.resolved, rule.source, rule.made_at)
        if replace:
            await self._execute("upsert_rule", *values_and_origin)
            return True
        return await self._changed("insert_rule", *values_and_origin)

    async def delete_rule(self, name: str) -> bool:
        """Delete a rule; return whether it existed."""
        return await self._changed("delete_rule", name)

    async def receivers(self) -> list[Receiver]:
        """Return all receivers in the order of their names."""
        return [Receiver(**dict(row)) for row in await self._database.fetch(self._sql["select_receivers"])]

    async def put_receiver(self, receiver: Receiver, *, replace: bool) -> bool:
        """Store a receiver; return False when the name is taken and the receiver may not be replaced."""
        values = (receiver.name, receiver.address, receiver.format, receiver.secret, receiver.source, receiver.made_at)
        if replace:
            await self._execute("upsert_receiver", *values)
            return True
        return await self._changed("insert_receiver", *values)

    async def delete_receiver(self, name: str) -> bool:
        """Delete a receiver; return whether it existed."""
        return await self._changed("delete_receiver", name)

    async def keep_only_settings(self, rules: Sequence[str], receivers: Sequence[str]) -> None:
        """Delete the rules and receivers that came from settings in which they no longer are."""
        await self._execute("delete_rules_of_settings", list(rules))
        await self._execute("delete_receivers_of_settings", list(receivers))

    async def silences(self, now: datetime) -> list[Silence]:
        """Return the silences that have not ended."""
        return [Silence(**dict(row)) for row in await self._database.fetch(self._sql["select_silences"], now)]

    async def put_silence(self, silence: Silence) -> None:
        """Store a silence."""
        await self._execute("insert_silence", *(getattr(silence, name) for name in Silence.__struct_fields__))

    async def delete_silence(self, ident: UUID) -> bool:
        """End a silence; return whether it existed."""
        return await self._changed("delete_silence", ident)

    # -- alerts -------------------------------------------------------------------------------------------------------

    async def active(self) -> list[Alert]:
        """Return the alerts that are not resolved, oldest first."""
        return [Alert(**dict(row)) for row in await self._database.fetch(self._sql["select_active"])]

    async def alert(self, ident: UUID) -> Alert | None:
        """Return one alert, or None."""
        row = await self._database.fetchrow(self._sql["select_alert"], ident)
        return None if row is None else Alert(**dict(row))

    async def history(
        self, start: datetime, end: datetime, after: tuple[datetime, UUID] | None, limit: int
    ) -> list[Alert]:
        """Return at most `limit` alerts that fired from `start` until before `end`, newest first."""
        rows = await self._database.fetch(self._sql["select_history"], start, end, *(after or (None, None)), limit)
        return [Alert(**dict(row)) for row in rows]

    async def fire(self, alert: Alert, replaced: UUID | None, notifications: Sequence[NewNotification]) -> bool:
        """Store an alert with its notifications; first resolve the alert that it replaces, if any.

        Returns False, and stores nothing, if the rule has an active alert on the subject or the cause fired before.
        """
        names = [_notification_id() for _ in notifications]

        async def operation(connection: Connection) -> None:
            async with connection.transaction():
                if replaced is not None:
                    reason = "replaced by a newer cause"
                    await connection.execute(self._sql["resolve_alert"], replaced, alert.fired_at, reason)
                values = [getattr(alert, name) for name in _INSERTED]
                if await connection.fetchval(self._sql["insert_alert"], *values) is not None:
                    await self._insert(connection, alert.id, names, notifications)
                elif await connection.fetchrow(self._sql["select_alert"], alert.id) is None:
                    # Otherwise it is our own: the answer to an earlier attempt was lost.
                    raise _Known

        try:
            await self._database.run(operation)
        except _Known:
            return False
        return True

    async def resolve(self, alert: Alert, notifications: Sequence[NewNotification]) -> bool:
        """Store the end of an alert (`resolved_at` and `reason`); return False if it was resolved already."""
        return await self._change(alert, "resolve_alert", (alert.resolved_at, alert.reason), notifications)

    async def announce(self, alert: Alert, notifications: Sequence[NewNotification], now: datetime) -> bool:
        """Store notifications of an alert that goes on; return False if another service did, or it is resolved."""
        return await self._change(alert, "touch_alert", (now, alert.notified_at), notifications)

    async def pending(self, owner: str, seen_after: datetime) -> list[Record]:
        """Return rule, subject, condition and `bad_since` of the alerts that a service saw pending after a time."""
        return await self._database.fetch(self._sql["select_pending"], owner, seen_after)

    async def keep_pending(
        self, owner: str, pending: Sequence[tuple[str, str, str, datetime]], now: datetime, *, same: bool
    ) -> None:
        """Replace the pending alerts of a service by these: rule, subject, condition and beginning.

        If they are the `same` as before, only the time of the evaluation is stored.
        """

        async def operation(connection: Connection) -> None:
            async with connection.transaction():
                if same:
                    await connection.execute(self._sql["touch_pending"], owner, now)
                    return
                await connection.execute(self._sql["delete_pending"], owner)
                columns = [list(column) for column in zip(*pending, strict=True)] or [[], [], [], []]
                await connection.execute(self._sql["insert_pending"], owner, *columns, now)

        await self._database.run(operation)

    async def notified_receivers(self, alert: UUID) -> list[str]:
        """Return the receivers that were or will be notified that an alert fires."""
        return [row["receiver"] for row in await self._database.fetch(self._sql["select_notified"], alert)]

    async def add_notification(self, alert: UUID, notification: NewNotification) -> UUID:
        """Store a notification alone; return its id."""
        names = [_notification_id()]
        await self._database.run(lambda connection: self._insert(connection, alert, names, [notification]))
        return names[0]

    async def _change(
        self, alert: Alert, query: str, values: tuple[Any, ...], notifications: Sequence[NewNotification]
    ) -> bool:
        names = [_notification_id() for _ in notifications]

        async def operation(connection: Connection) -> bool:
            async with connection.transaction():
                if await connection.fetchval(self._sql[query], alert.id, *values) is None:
                    return False
                await self._insert(connection, alert.id, names, notifications)
                return True

        return await self._database.run(operation)

    async def _insert(
        self, connection: Connection, alert: UUID, names: Sequence[UUID], notifications: Sequence[NewNotification]
    ) -> None:
        for name, new in zip(names, notifications, strict=True):
            document = msgspec.json.encode(new.document).decode()
            values = (name, new.receiver, alert, new.kind, document, new.made_at, new.due_at)
            await connection.execute(self._sql["insert_notification"], *values)

    # -- notifications ------------------------------------------------------------------------------------------------

    async def claim(self, now: datetime, lease_until: datetime) -> Message | None:
        """Return the next message to send, or None. No other service gets it before `lease_until`.

        A message that was claimed before has the same id and the same alerts again.
        """
        batch = ids.uuid7()

        async def operation(connection: Connection) -> Message | None:
            async with connection.transaction(isolation=READ_COMMITTED):
                await connection.execute(self._sql["lock_claims"], _CLAIMS_LOCK)
                due = await connection.fetchrow(self._sql["lock_due"], now)
                if due is None:
                    return None
                if due["batch"] is None:
                    form = await connection.fetchval(self._sql["receiver_format"], due["receiver"])
                    most = MAX_TEXT_ALERTS if form in ("slack", "mail") else MAX_GROUP_ALERTS
                    rows = await connection.fetch(self._sql["lock_group"], due["receiver"], most)
                else:
                    rows = await connection.fetch(self._sql["lock_batch"], due["batch"])
                ident = due["batch"] or batch
                await connection.execute(self._sql["lease_batch"], [row["id"] for row in rows], ident, lease_until)
                documents = [msgspec.json.decode(row["document"]) for row in rows]
                return Message(
                    id=ident,
                    receiver=due["receiver"],
                    attempts=due["attempts"] + 1,
                    made_at=rows[0]["made_at"],
                    alerts=documents,
                )

        return await self._database.run(operation)

    async def next_due(self) -> datetime | None:
        """Return the time at which the next message is due, or None when none waits."""
        found: datetime | None = await self._database.fetchval(self._sql["next_due"])
        return found

    async def sent(self, batch: UUID, now: datetime, note: str = "") -> None:
        """Store that a message was sent; `note` names the receivers that refused it."""
        await self._execute("mark_sent", batch, now, note)

    async def failed(self, batch: UUID, now: datetime, error: str) -> None:
        """Store that a message was given up."""
        await self._execute("mark_failed", batch, now, error)

    async def postponed(self, batch: UUID, due: datetime, error: str) -> None:
        """Store that a message could not be sent, and is tried again at the time `due`."""
        await self._execute("retry_batch", batch, due, error)

    async def notifications(self, *, failed: bool, limit: int) -> list[Notification]:
        """Return the newest notifications, or the newest that were given up."""
        rows = await self._database.fetch(self._sql["select_notifications"], failed, limit)
        return [Notification(**dict(row)) for row in rows]

    async def requeue_failed(self, now: datetime) -> int:
        """Make the messages that were given up due again; return their number."""
        return len(await self._database.fetch(self._sql["revive_failed"], now))

    async def counts(self) -> AlertCounts:
        """Return the numbers for the metrics."""
        row = await self._database.fetchrow(self._sql["counts"])
        assert row is not None
        return AlertCounts(*row.values())

    async def expire(self, before: datetime, now: datetime) -> None:
        """Delete ended silences, and notifications and resolved alerts from before `before`."""
        await self._execute("expire_notifications", before)
        await self._execute("expire_alerts", before)
        await self._execute("expire_silences", now)
        await self._execute("expire_pending", before)

    async def _execute(self, query: str, *arguments: object) -> None:
        await self._database.run(lambda connection: connection.execute(self._sql[query], *arguments))

    async def _changed(self, query: str, *arguments: object) -> bool:
        return bool(await self._database.fetch(self._sql[query], *arguments))


def _notification_id() -> UUID:
    """Return the id of a notification, made before the transaction so that a repeated one stores it once."""
    return ids.uuid7()


def _rule(row: Record) -> Rule:
    return Rule(
        name=row["name"],
        condition=row["condition"],
        subjects=row["subjects"],
        receivers=row["receivers"],
        severity=row["severity"],
        repeat=row["repeat_seconds"],
        resolved=row["resolved"],
        source=row["source"],
        made_at=row["made_at"],
    )
