"""The evaluation of rules: from what is seen to what is stored."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from smartmob.alerts.evaluator import Evaluator
from smartmob.alerts.events import AlertFired, AlertResolved
from smartmob.alerts.model import Silence
from smartmob.alerts.observers import Observers
from smartmob.alerts.store import AlertStore
from smartmob.feature_settings import AlertsSettings
from smartmob.kernel.runtime import clock, ids
from smartmob.kernel.runtime.events import EventBus
from tests.alerts.samples import NOW, Machines, Watched, alert, host, notification, receiver, rule

SETTINGS = AlertsSettings(group_wait=0.0)


class Lab:
    """An evaluator with machines whose figures a test sets."""

    def __init__(self, store: AlertStore, bus: EventBus | None = None, owner: str = "") -> None:
        self.machines = Machines()
        self.store = store
        self.bus = bus or EventBus()
        self.delivered = 0
        observers = Observers(Watched(self.machines), "service", Path("/"), 0.0)
        self.evaluator = Evaluator(store, observers, self.bus, SETTINGS, self._deliver, own_id=lambda: owner)
        self._at = 0

    def _deliver(self) -> None:
        self.delivered += 1

    async def see(self, **cpu: float) -> None:
        """Look while the machines have these loads, each in a new sample."""
        self._at += 1
        self.machines.all = [host(name, self._at, cpu=value) for name, value in cpu.items()]
        await self.evaluator.evaluate()

    async def notified(self) -> list[tuple[str, str]]:
        """Return kind and receiver of all notifications, oldest first."""
        found = await self.store.notifications(failed=False, limit=1_000)
        return [(each.kind, each.receiver) for each in reversed(found)]


@pytest.fixture(name="lab")
async def _lab(store: AlertStore) -> Lab:
    """Return an evaluator with one rule and one receiver."""
    await store.put_receiver(receiver(), replace=True)
    await store.put_rule(rule(condition="cpu > 90 clear 80"), replace=True)
    return Lab(store)


async def test_an_alert_fires_and_resolves_once(lab: Lab) -> None:
    """One notification and one event for each, with the figure; between the limits nothing changes."""
    events: list[Any] = []
    lab.bus.subscribe(AlertFired, events.append)
    lab.bus.subscribe(AlertResolved, events.append)
    for cpu in (50, 95, 99, 85, 95, 70, 75):
        await lab.see(a=cpu)
    assert await lab.notified() == [("firing", "ops"), ("resolved", "ops")]
    [alert] = await lab.store.history(NOW, clock.now() + timedelta(days=1), None, 10)
    assert (alert.subject, alert.value, alert.reason) == ("a", 95.0, "recovered")
    assert [type(event) for event in events] == [AlertFired, AlertResolved]
    assert lab.delivered == 2


async def test_a_restart_tells_nothing_again(lab: Lab) -> None:
    """The next service takes over the active alert, and tells its end."""
    await lab.see(a=50)
    await lab.see(a=95)
    after = Lab(lab.store)
    for cpu in (95, 95, 96):
        await after.see(a=cpu)
    assert await lab.notified() == [("firing", "ops")]
    await after.see(a=10)
    assert await lab.notified() == [("firing", "ops"), ("resolved", "ops")]


async def test_two_services_on_one_database_tell_once(lab: Lab) -> None:
    """Both see the same at the same time; one of them stores it."""
    other = Lab(lab.store)
    for cpu in (50, 95, 96, 95, 10, 10):
        await asyncio.gather(lab.see(a=cpu), other.see(a=cpu))
    assert await lab.notified() == [("firing", "ops"), ("resolved", "ops")]


async def test_a_removed_machine_ends_its_alert(lab: Lab) -> None:
    """Its end is told with the reason."""
    await lab.see(a=50, b=50)
    await lab.see(a=95, b=50)
    await lab.see(b=50)
    assert await lab.store.active() == []
    assert await lab.notified() == [("firing", "ops"), ("resolved", "ops")]


async def test_a_removed_rule_ends_its_alerts_for_those_who_were_told(lab: Lab) -> None:
    """A receiver that was added since then does not get the end of what it never heard of."""
    await lab.see(a=50)
    await lab.see(a=95)
    await lab.store.put_receiver(receiver("late"), replace=True)
    await lab.store.delete_rule("busy")
    await lab.see(a=95)
    assert await lab.notified() == [("firing", "ops"), ("resolved", "ops")]


async def test_another_limit_keeps_the_alert_and_another_field_ends_it(lab: Lab) -> None:
    """A rule can be tuned while it fires, without a second message."""
    await lab.see(a=50)
    await lab.see(a=95)
    await lab.store.put_rule(rule(condition="cpu > 92"), replace=True)
    await lab.see(a=95)
    assert await lab.notified() == [("firing", "ops")]
    await lab.store.put_rule(rule(condition="mem > 92"), replace=True)
    await lab.see(a=95)
    assert await lab.notified() == [("firing", "ops"), ("resolved", "ops")]


async def test_a_silence_holds_back_until_it_is_ended(lab: Lab) -> None:
    """The alert is stored at once, and is told when the silence is over and it still fires."""
    until = clock.now() + timedelta(hours=1)
    silence = Silence(id=ids.uuid7(), rule="*", subject="a", until=until, text="", author="", made_at=NOW)
    await lab.store.put_silence(silence)
    await lab.see(a=50, b=50)
    await lab.see(a=95, b=50)
    await lab.see(a=95, b=50)
    assert (await lab.notified(), [each.notified_at for each in await lab.store.active()]) == ([], [None])
    await lab.store.delete_silence(silence.id)
    await lab.see(a=95, b=50)
    await lab.see(a=95, b=50)
    assert await lab.notified() == [("firing", "ops")]


async def test_an_alert_waits_for_the_first_receiver(store: AlertStore) -> None:
    """A rule may be stored before its receiver: what fires meanwhile is told when there is one."""
    lab = Lab(store)
    await store.put_rule(rule(receivers=["ops"]), replace=True)
    await store.put_receiver(receiver("other"), replace=True)
    await lab.see(a=50)
    await lab.see(a=95)
    assert await lab.notified() == []
    await store.put_receiver(receiver(), replace=True)
    await lab.see(a=95)
    assert await lab.notified() == [("firing", "ops")]


async def test_a_rule_chooses_its_receivers_and_whether_the_end_is_told(lab: Lab) -> None:
    """Only the receivers that the rule names are told."""
    for name in ("team", "other"):
        await lab.store.put_receiver(receiver(name), replace=True)
    await lab.store.put_rule(rule(receivers=["ops", "team"], resolved=False), replace=True)
    for cpu in (50, 95, 10):
        await lab.see(a=cpu)
    assert sorted(await lab.notified()) == [("firing", "ops"), ("firing", "team")]
    assert await lab.store.active() == []


async def test_what_is_pending_is_shown(lab: Lab) -> None:
    """A subject that is bad, but not yet for long enough, is no alert."""
    await lab.store.put_rule(rule(condition="cpu > 90 for 1h"), replace=True)
    await lab.see(a=50)
    await lab.see(a=95)
    assert list(lab.evaluator.pending()) == [("busy", "a")]
    assert await lab.store.active() == []
    await lab.store.put_rule(rule(condition="cpu > 91 for 1h"), replace=True)
    await lab.see(a=10)
    assert lab.evaluator.pending() == {}


async def test_a_rule_that_cannot_be_read_any_more_stops_no_other(lab: Lab) -> None:
    """A later version may have removed a figure that a stored rule names."""
    await lab.store.put_rule(rule("old", condition="floppy > 1"), replace=True)
    await lab.see(a=50)
    await lab.see(a=95)
    assert await lab.notified() == [("firing", "ops")]


async def test_what_was_pending_goes_on_after_a_restart(lab: Lab) -> None:
    """The time counts from before the restart, for the same condition only, and for each service of its own."""
    await lab.store.put_rule(rule(condition="cpu > 90 for 1h"), replace=True)
    at = clock.now()
    for owner, since in (("one", timedelta(hours=2)), ("two", timedelta(0))):
        pending = [("busy", "a", "cpu > 90 for 1h", at - since), ("busy", "b", "cpu > 80 for 1h", at - since)]
        await lab.store.keep_pending(owner, pending, at, same=False)
    first, second = (Lab(lab.store, owner=owner) for owner in ("one", "two"))
    await second.see(a=50, b=50)
    assert list(second.evaluator.pending()) == [("busy", "a")]
    await first.see(a=50, b=50)
    await first.see(a=95, b=95)
    assert [each.subject for each in await lab.store.active()] == ["a"]
    again = Lab(lab.store, owner="one")
    await again.see(a=50, b=50)
    assert list(again.evaluator.pending()) == [("busy", "b")]


async def test_another_service_does_not_end_the_alert_of_a_process(lab: Lab) -> None:
    """It has no such process, or a good one of the same name; it ends the alert only when the rule is removed."""
    await lab.store.put_rule(rule("crash", condition="process crashing"), replace=True)
    theirs = alert("web.1", rule="crash", condition="process crashing", owner="one")
    await lab.store.fire(theirs, None, [notification(theirs)])
    lab = Lab(lab.store, owner="two")
    for _ in range(2):
        await lab.see(a=50)
    assert [each.id for each in await lab.store.active()] == [theirs.id]
    await lab.store.delete_rule("crash")
    await lab.see(a=50)
    assert (await lab.store.active(), await lab.notified()) == ([], [("firing", "ops"), ("resolved", "ops")])


async def test_a_lost_database_is_told_once_when_it_is_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine counts as silent for that time, and the end of the alert is no second message."""
    await lab.store.put_rule(rule("lost", condition="database lost"), replace=True)
    await lab.store.put_rule(rule("gone", condition="silent for 1s"), replace=True)
    await lab.see(a=50)
    lab.evaluator.lost()
    later = clock.steady() + 60
    monkeypatch.setattr(clock, "steady", lambda: later)
    for _ in range(3):
        await lab.evaluator.evaluate()
    assert await lab.notified() == [("firing", "ops")]
    assert await lab.store.active() == []
    [told] = await lab.store.history(NOW, clock.now() + timedelta(days=1), None, 10)
    assert (told.rule, told.subject, told.value and told.value >= 60) == ("lost", "service", True)
