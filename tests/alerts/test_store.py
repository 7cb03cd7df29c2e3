"""The tables of the alerts."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from smartmob.alerts.store import MAX_GROUP_ALERTS, AlertStore
from tests.alerts.samples import NOW, alert, notification, receiver, rule

LATER = NOW + timedelta(minutes=1)


async def test_rules_and_receivers_come_back(store: AlertStore) -> None:
    """A stored rule is not overwritten unless that is wanted, and a deletion reports whether it existed."""
    made = rule(subjects=["lab-*"], receivers=["ops"], repeat=3600.0, resolved=False)
    assert await store.put_rule(made, replace=False)
    assert not await store.put_rule(rule(condition="cpu > 50"), replace=False)
    assert await store.rules() == [made]
    assert await store.put_rule(rule(condition="cpu > 50"), replace=True)
    assert [each.condition for each in await store.rules()] == ["cpu > 50"]
    assert await store.delete_rule("busy") and not await store.delete_rule("busy")

    assert await store.put_receiver(receiver(secret="s"), replace=False)
    assert await store.receivers() == [receiver(secret="s")]
    assert await store.delete_receiver("ops") and not await store.delete_receiver("ops")


async def test_rules_that_left_the_settings_are_deleted(store: AlertStore) -> None:
    """Those that were stored by a request are kept."""
    for name, source in (("a", "settings"), ("b", "settings"), ("c", "stored")):
        await store.put_rule(rule(name, source=source), replace=True)
    await store.keep_only_settings(["a"], [])
    assert [each.name for each in await store.rules()] == ["a", "c"]


async def test_an_alert_that_several_services_see_fires_once(store: AlertStore) -> None:
    """Of several services that see the same, one stores the alert and its notification; after its end it may fire."""
    alerts = [alert() for _ in range(5)]
    fired = await asyncio.gather(*(store.fire(each, None, [notification(each)]) for each in alerts))
    assert sorted(fired) == [False] * 4 + [True]
    assert len(await store.notifications(failed=False, limit=10)) == 1
    [active] = await store.active()
    ended = alert(id=active.id, resolved_at=LATER, reason="recovered")
    assert await store.resolve(ended, [notification(ended, kind="resolved")])
    assert not await store.resolve(ended, [notification(ended, kind="resolved")])
    assert await store.fire(alert(fired_at=LATER), None, [])
    assert [each.kind for each in await store.notifications(failed=False, limit=10)] == ["resolved", "firing"]


async def test_a_cause_with_a_name_never_fires_again(store: AlertStore) -> None:
    """A failed run is told once, also after its alert is over; a refused alert ends no other one."""
    first = alert(cause="run 1")
    assert await store.fire(first, None, [])
    second = alert(cause="run 2")
    assert await store.fire(second, first.id, [])
    assert not await store.fire(alert(cause="run 1"), second.id, [])
    assert [each.cause for each in await store.active()] == ["run 2"]


async def test_an_announcement_is_made_by_one_service(store: AlertStore) -> None:
    """Two services that see that a silence has ended make one notification."""
    quiet = alert(notified_at=None)
    await store.fire(quiet, None, [])
    done = await asyncio.gather(*(store.announce(quiet, [notification(quiet)], LATER) for _ in range(2)))
    assert sorted(done) == [False, True]
    assert await store.notified_receivers(quiet.id) == ["ops"]
    assert len(await store.notifications(failed=False, limit=10)) == 1


async def test_a_message_has_all_that_waits_for_a_receiver(store: AlertStore) -> None:
    """One service gets it, and no other one until its lease ends; then it is the same message."""
    for name in ("a", "b", "c"):
        each = alert(name)
        await store.fire(each, None, [notification(each), notification(each, "team")])
    message = await store.claim(NOW, LATER)
    assert message is not None
    assert [document["subject"] for document in message.alerts] == ["a", "b", "c"]
    other = await store.claim(NOW, LATER)
    assert other is not None and {message.receiver, other.receiver} == {"ops", "team"}
    assert await store.claim(NOW, LATER) is None
    again = await store.claim(LATER, LATER + timedelta(minutes=1))
    assert again is not None
    assert (again.id, again.alerts, again.attempts) in [(each.id, each.alerts, 2) for each in (message, other)]


async def test_the_end_of_an_alert_waits_for_its_beginning(store: AlertStore) -> None:
    """While the first message to a receiver waits for another attempt, later ones wait, too."""
    first = alert("a")
    await store.fire(first, None, [notification(first)])
    message = await store.claim(NOW, LATER)
    assert message is not None
    await store.postponed(message.id, LATER, "no connection")
    await store.resolve(alert("a", id=first.id, resolved_at=NOW), [notification(first, kind="resolved")])
    assert await store.claim(NOW, LATER) is None
    assert await store.next_due() == LATER
    repeated = await store.claim(LATER, LATER + timedelta(minutes=1))
    assert repeated is not None and repeated.id == message.id
    await store.sent(message.id, LATER)
    ended = await store.claim(LATER, LATER + timedelta(minutes=1))
    assert ended is not None and [each["status"] for each in ended.alerts] == ["resolved"]


async def test_a_message_has_a_bounded_number_of_alerts(store: AlertStore) -> None:
    """The rest is sent as a second message, after the first; people get one text, which counts the rest."""
    for name, form in (("ops", "json"), ("chat", "slack"), ("team", "mail")):
        await store.put_receiver(receiver(name, format=form), replace=True)
    first = alert()
    many = [notification(first)] * (MAX_GROUP_ALERTS + 1)
    assert await store.fire(first, None, many)
    assert await _sizes(store) == [MAX_GROUP_ALERTS, 1]
    for name in ("chat", "team"):
        second = alert(name)
        assert await store.fire(second, None, [notification(second, name)] * (MAX_GROUP_ALERTS + 1))
        assert await _sizes(store) == [MAX_GROUP_ALERTS + 1]


async def _sizes(store: AlertStore) -> list[int]:
    """Send all messages that wait; return how many alerts each has."""
    sizes = []
    while (message := await store.claim(LATER, LATER + timedelta(minutes=1))) is not None:
        sizes.append(len(message.alerts))
        await store.sent(message.id, LATER)
    return sizes


async def test_what_was_given_up_can_be_sent_again(store: AlertStore) -> None:
    """A message that was given up is listed with its reason, and is due again on request."""
    each = alert()
    await store.fire(each, None, [notification(each)])
    message = await store.claim(NOW, LATER)
    assert message is not None
    await store.failed(message.id, NOW, "404")
    assert [(found.error, found.sent_at) for found in await store.notifications(failed=True, limit=9)] == [
        ("404", None)
    ]
    assert (await store.counts()).failed == 1
    assert await store.claim(LATER, LATER) is None
    assert await store.requeue_failed(LATER) == 1
    revived = await store.claim(LATER, LATER + timedelta(minutes=1))
    assert revived is not None and (revived.id, revived.attempts) == (message.id, 1)


async def test_old_rows_are_deleted(store: AlertStore) -> None:
    """An active alert and a waiting notification are kept, however old they are."""
    over, active = alert("a"), alert("b")
    for each in (over, active):
        await store.fire(each, None, [])
    await store.resolve(alert("a", id=over.id, resolved_at=NOW), [])
    await store.expire(LATER, LATER)
    assert await store.alert(over.id) is None
    assert await store.history(NOW, LATER, None, 10) == [active]


async def test_the_history_is_read_page_by_page(store: AlertStore) -> None:
    """Newest first, from the start of the span until before its end."""
    alerts = [alert(f"m{number}", fired_at=NOW + timedelta(seconds=number)) for number in range(4)]
    for each in alerts:
        await store.fire(each, None, [])
    end = NOW + timedelta(seconds=3)
    first = await store.history(NOW, end, None, 2)
    assert first == [alerts[2], alerts[1]]
    assert await store.history(NOW, end, (first[-1].fired_at, first[-1].id), 2) == [alerts[0]]
