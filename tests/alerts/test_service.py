"""The use cases of rules, receivers and silences."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from smartmob.alerts.evaluator import Evaluator
from smartmob.alerts.model import NewReceiver, NewRule, NewSilence
from smartmob.alerts.observers import Observers
from smartmob.alerts.service import AlertsService
from smartmob.alerts.store import AlertStore
from smartmob.errors import Conflict, InvalidInput, NotFound
from smartmob.feature_settings import AlertsSettings
from smartmob.kernel.runtime.events import EventBus
from tests.alerts.samples import Watched
from tests.each import each

HOOK = NewReceiver(address="https://hooks.example.com/services/secret", secret="s")


@pytest.fixture(name="service")
def _service(store: AlertStore) -> AlertsService:
    """Return the service on its tables."""
    observers = Observers(Watched(), "lab", Path("/"), 0.0)
    evaluator = Evaluator(store, observers, EventBus(), AlertsSettings(), _nothing, own_id=str)
    return AlertsService(store, evaluator, _nothing)


def _nothing() -> None:
    """Deliver nothing."""


async def test_a_rule_is_stored_replaced_and_deleted(service: AlertsService) -> None:
    """A name that is taken is refused unless the rule is to be replaced."""
    stored = await service.put_rule("busy", NewRule(condition=" cpu  > 90 "))
    assert (stored.condition, stored.source) == ("cpu > 90", "stored")
    with pytest.raises(Conflict, match="there is a rule busy"):
        await service.put_rule("busy", NewRule(condition="cpu > 80"))
    assert (await service.put_rule("busy", NewRule(condition="cpu > 80"), replace=True)).condition == "cpu > 80"
    await service.delete_rule("busy")
    with pytest.raises(NotFound):
        await service.delete_rule("busy")


async def test_a_receiver_is_shown_without_its_secrets(service: AlertsService) -> None:
    """The path of a webhook is its password."""
    await service.put_receiver("ops", HOOK)
    [shown] = await service.receivers()
    assert (shown.address, shown.signed, shown.format) == ("https://hooks.example.com/…", True, "json")
    with pytest.raises(Conflict, match="there is a receiver ops"):
        await service.put_receiver("ops", HOOK)
    mail = await service.put_receiver("ops", NewReceiver(address="mailto:ann@example.com"), replace=True)
    assert (mail.format, mail.address) == ("mail", "mailto:ann@example.com")
    await service.delete_receiver("ops")
    for call in (service.delete_receiver, service.test_receiver):
        with pytest.raises(NotFound):
            await call("ops")


@each(
    "name, rule",
    [
        ("a b", NewRule(condition="cpu > 90")),
        ("busy", NewRule(condition="cpu >> 90")),
        ("busy", NewRule(condition="cpu >\n90")),
        ("busy", NewRule(condition="cpu > 90", subjects=["a\x1b"])),
        ("busy", NewRule(condition="cpu > 90", receivers=["a b"])),
    ],
)
async def test_an_invalid_rule_is_refused(service: AlertsService, name: str, rule: NewRule) -> None:
    """Nothing is stored."""
    with pytest.raises(InvalidInput):
        await service.put_rule(name, rule)
    assert await service.rules() == []


@pytest.mark.parametrize(
    "receiver",
    [
        NewReceiver(address="gopher://x"),
        NewReceiver(address="mailto:x"),
        NewReceiver(address="http://x", secret="whsec_!"),
    ],
)
async def test_an_invalid_receiver_is_refused(service: AlertsService, receiver: NewReceiver) -> None:
    """Nothing is stored."""
    with pytest.raises(InvalidInput):
        await service.put_receiver("ops", receiver)
    assert await service.receivers() == []


async def test_rules_of_the_settings_are_changed_there(service: AlertsService) -> None:
    """A request cannot replace or delete them; they go when the settings no longer name them."""
    await service.load_settings([("busy", NewRule(condition="cpu > 90"))], [("ops", HOOK)])
    for call in (
        service.put_rule("busy", NewRule(condition="cpu > 80"), replace=True),
        service.delete_rule("busy"),
        service.put_receiver("ops", HOOK, replace=True),
        service.delete_receiver("ops"),
    ):
        with pytest.raises(Conflict, match="comes from the settings"):
            await call
    await service.load_settings([], [])
    assert (await service.rules(), await service.receivers()) == ([], [])


async def test_a_silence_is_stored_and_ended(service: AlertsService) -> None:
    """It is listed until it is ended, once."""
    silence = await service.silence(NewSilence(seconds=60, subject="lab-*", text="new kernel", author="ann"))
    assert await service.silences() == [silence]
    await service.end_silence(silence.id)
    assert await service.silences() == []
    with pytest.raises(NotFound):
        await service.end_silence(uuid4())
    with pytest.raises(InvalidInput):
        await service.silence(NewSilence(seconds=60, text="a\nb"))


async def test_a_test_message_waits_to_be_sent(service: AlertsService) -> None:
    """It goes the way of all messages."""
    await service.put_receiver("ops", HOOK)
    ident = await service.test_receiver("ops")
    [waiting] = await service.notifications(failed=False, limit=10)
    assert (waiting.id, waiting.kind, waiting.receiver) == (ident, "test", "ops")
    assert await service.retry() == 0
