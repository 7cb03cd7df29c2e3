"""Delivery: what was stored arrives, whatever the receiver and the service do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from smartmob.alerts import deliverer as module
from smartmob.alerts.deliverer import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Deliverer, pause
from smartmob.alerts.mailer import Mailer
from smartmob.alerts.model import Alert
from smartmob.alerts.store import AlertStore
from smartmob.alerts.webhook import WebhookSender
from smartmob.kernel.runtime import clock
from tests.alerts.samples import alert, notification, receiver
from tests.alerts.webhooks import Webhook
from tests.waiting import until


@asynccontextmanager
async def _delivering(store: AlertStore, timeout: float = 60.0) -> AsyncIterator[Deliverer]:
    deliverer = Deliverer(
        store, WebhookSender(timeout), Mailer(None, timeout), lambda: 0.5, timeout=timeout, service="lab", url=None
    )
    deliverer.wake()
    task = asyncio.get_running_loop().create_task(deliverer.run())
    try:
        yield deliverer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await deliverer.close()


async def _fire(store: AlertStore, subject: str, *receivers: str) -> Alert:
    now = clock.now()
    fired = alert(subject, fired_at=now)
    assert await store.fire(fired, None, [notification(fired, name, at=now) for name in receivers or ("ops",)])
    return fired


def _all(store: AlertStore, is_done: Callable[[Any], bool]) -> Callable[[], Any]:
    async def check() -> bool:
        found = await store.notifications(failed=False, limit=1_000)
        return bool(found) and all(is_done(each) for each in found)

    return check


async def test_what_is_stored_is_sent_once(store: AlertStore, webhook: Webhook) -> None:
    """All that waited before the start is one message; a later alert is another."""
    await store.put_receiver(receiver(address=webhook.url), replace=True)
    for subject in ("a", "b"):
        await _fire(store, subject)
    async with _delivering(store) as deliverer:
        await until(lambda: webhook.requests)
        await _fire(store, "c")
        deliverer.wake()
        await until(_all(store, lambda each: each.sent_at is not None))
        await until(lambda: deliverer.counts["sent"] == 2)
    assert sorted(subject for _, _, subject in webhook.alerts) == ["a", "b", "c"]
    assert len(webhook.requests) == 2


async def test_a_receiver_that_fails_gets_the_same_message_again(
    store: AlertStore, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one message with one id at each attempt, and it is marked as sent after the first success."""
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE_SECONDS", 0.01)
    answers = iter([503, 500, 429])
    webhook.answer = lambda: web.Response(status=next(answers, 200))
    await store.put_receiver(receiver(address=webhook.url), replace=True)
    await _fire(store, "a")
    async with _delivering(store) as deliverer:
        await until(_all(store, lambda each: each.sent_at is not None))
        # It is counted after it has been stored.
        await until(lambda: deliverer.counts["sent"] == 1)
    assert len(webhook.requests) == 4
    assert len({headers["webhook-id"] for headers, _ in webhook.requests}) == 1
    assert len({body for _, body in webhook.requests}) == 1
    assert deliverer.counts == {"sent": 1, "retried": 3, "failed": 0}


async def test_a_service_that_was_killed_between_firing_and_delivery_loses_nothing(
    store: AlertStore, webhook: Webhook
) -> None:
    """The message that it had claimed is sent by the next service after its lease, under the same id."""
    await store.put_receiver(receiver(address=webhook.url), replace=True)
    await _fire(store, "a")
    now = clock.now()
    claimed = await store.claim(now, now + timedelta(milliseconds=200))
    assert claimed is not None
    async with _delivering(store):
        await until(_all(store, lambda each: each.sent_at is not None))
    assert [headers["webhook-id"] for headers, _ in webhook.requests] == [str(claimed.id)]


async def test_two_services_send_each_message_once(store: AlertStore, webhook: Webhook) -> None:
    """They share the database, and a lease keeps one from what the other sends."""
    await store.put_receiver(receiver(address=webhook.url), replace=True)
    names = [f"r{number}" for number in range(10)]
    for name in names:
        await store.put_receiver(receiver(name, address=webhook.url), replace=True)
    async with _delivering(store) as first, _delivering(store) as second:
        await _fire(store, "a", *names)
        first.wake()
        second.wake()
        await until(_all(store, lambda each: each.sent_at is not None))
        await until(lambda: first.counts["sent"] + second.counts["sent"] == 10)
    assert len(webhook.requests) == 10


async def test_a_slow_receiver_does_not_hold_up_the_others(store: AlertStore, webhook: Webhook) -> None:
    """While one receiver does not answer, another one gets its message."""
    slow, release = Webhook(), asyncio.Event()
    app = web.Application()

    async def wait(request: web.Request) -> web.Response:
        slow.requests.append((dict(request.headers), await request.read()))
        await release.wait()
        return web.Response()

    app.router.add_post("/", wait)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    await store.put_receiver(receiver("slow", f"http://127.0.0.1:{runner.addresses[0][1]}/"), replace=True)
    await store.put_receiver(receiver(address=webhook.url), replace=True)
    await _fire(store, "a", "slow")
    async with _delivering(store) as deliverer:
        await until(lambda: slow.requests)
        await _fire(store, "b", "ops")
        deliverer.wake()
        await until(lambda: webhook.requests)
        release.set()
        await until(_all(store, lambda each: each.sent_at is not None))
    await runner.cleanup()


@pytest.mark.parametrize("there", [True, False])
async def test_what_cannot_be_sent_is_given_up_with_its_reason(
    store: AlertStore, webhook: Webhook, there: bool
) -> None:
    """A wrong address, and a receiver that was deleted: the notification is kept with the reason."""
    webhook.answer = lambda: web.Response(status=404)
    if there:
        await store.put_receiver(receiver(address=webhook.url), replace=True)
    await _fire(store, "a")
    async with _delivering(store) as deliverer:
        await until(_all(store, lambda each: each.failed_at is not None))
        await until(lambda: deliverer.counts["failed"] == 1)
    [failed] = await store.notifications(failed=True, limit=10)
    assert failed.error == ("the receiver answered 404" if there else "there is no receiver ops any more")


def test_pauses_grow_up_to_a_bound() -> None:
    """They have jitter, and a receiver can ask for a longer one."""
    assert [pause(attempts, 0.5) for attempts in (1, 2, 3, 100)] == [
        FIRST_PAUSE_SECONDS,
        2 * FIRST_PAUSE_SECONDS,
        4 * FIRST_PAUSE_SECONDS,
        LONGEST_PAUSE_SECONDS,
    ]
    assert pause(1, 0.0) < pause(1, 1.0)
    assert pause(1, 0.5, after=120.0) == 120.0
