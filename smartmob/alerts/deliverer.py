"""Delivers notifications: claims those that are due, sends them, and retries those that could not be sent.

A notification is stored before it is sent and marked after it, so it is sent at least once. While one service sends
it, a lease keeps the others on the same database away; after a kill the lease ends, and any service sends it under the
same id.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from smartmob.alerts.mailer import Mailer
from smartmob.alerts.model import Message, Receiver
from smartmob.alerts.store import AlertStore
from smartmob.alerts.webhook import DeliveryFailed, WebhookSender
from smartmob.errors import Unavailable
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock, periodic

log = get_logger()

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 900.0
JITTER = 0.2
"""The random variation of a pause in either direction, as a share of it."""
GIVE_UP_SECONDS = 86_400.0
"""The time after which a message that could not be sent is given up; `smartmob alerts retry` sends it again."""
MAX_AT_ONCE = 8  # messages that are sent at the same time, so that a slow receiver does not hold up the others
_IDLE_SECONDS = 30.0
"""The pause after which the table is read again, for messages that another service left behind."""
_SHORTEST_IDLE_SECONDS = 0.05
_LEASE_SECONDS = 30.0  # on top of the time that one attempt may take
_MOST_DOUBLINGS = 16  # far above log2(LONGEST_PAUSE_SECONDS / FIRST_PAUSE_SECONDS); keeps the power finite


def pause(attempts: int, random: float, after: float | None = None) -> float:
    """Return the seconds until the next attempt; `random` is from 0 to 1, `after` what the receiver asked for."""
    doubled = FIRST_PAUSE_SECONDS * 2.0 ** min(max(0, attempts - 1), _MOST_DOUBLINGS)
    seconds = min(LONGEST_PAUSE_SECONDS, doubled) * (1 - JITTER + 2 * JITTER * random)
    return max(seconds, after or 0.0)


class Deliverer:
    """Sends due messages until it is cancelled. `wake` makes it check for them at once; `counts` are for the metrics.

    `timeout` is the longest time of one attempt in seconds, `service` the name of the sender in messages, and `url` the
    address of the page of alerts, or None.
    """

    def __init__(
        self,
        store: AlertStore,
        webhooks: WebhookSender,
        mailer: Mailer,
        random: Callable[[], float],
        *,
        timeout: float,
        service: str,
        url: str | None,
    ) -> None:
        self.counts: Counter[str] = Counter(sent=0, retried=0, failed=0)
        self._store = store
        self._webhooks = webhooks
        self._mailer = mailer
        self._random = random
        self._timeout = timeout
        self._service = service
        self._url = url
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Check for due messages at once."""
        self._woken.set()

    async def close(self) -> None:
        """Close the connections."""
        await self._webhooks.close()

    async def run(self) -> None:
        """Background task: send due messages, and wait for more, until cancelled."""
        slots = asyncio.Semaphore(MAX_AT_ONCE)
        await self._wait(periodic.FIRST_ROUND_SECONDS)
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                self._woken.clear()
                try:
                    message = await self._claim()
                    seconds = await self._idle_seconds() if message is None else 0.0
                except Unavailable as error:
                    log.warning("alerts.delivery_waiting", reason=str(error))
                    message, seconds = None, _IDLE_SECONDS
                if message is not None:
                    group.create_task(self._deliver(message, slots))
                    continue
                slots.release()
                await self._wait(seconds)

    async def _wait(self, seconds: float) -> None:
        """Wait until it is woken, at most for `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def _claim(self) -> Message | None:
        now = clock.now()
        return await self._store.claim(now, now + timedelta(seconds=self._timeout + _LEASE_SECONDS))

    async def _idle_seconds(self) -> float:
        due = await self._store.next_due()
        left = _IDLE_SECONDS if due is None else (due - clock.now()).total_seconds()
        return min(_IDLE_SECONDS, max(_SHORTEST_IDLE_SECONDS, left))

    async def _deliver(self, message: Message, slots: asyncio.Semaphore) -> None:
        """Send a message and store the outcome. After any failure, the lease ends and the message is sent again."""
        try:
            await self.send(message)
        except Unavailable as error:
            log.warning("alerts.delivery_waiting", reason=str(error))
        except Exception as error:
            log.error("alerts.delivery_broken", message=str(message.id), exc_info=error)
        finally:
            slots.release()
            self._woken.set()

    async def send(self, message: Message) -> None:
        """Send a claimed message, and store whether that succeeded."""
        receivers = {receiver.name: receiver for receiver in await self._store.receivers()}
        receiver = receivers.get(message.receiver)
        try:
            if receiver is None:
                raise DeliveryFailed(f"there is no receiver {message.receiver} any more", permanent=True)
            note = await self._send(receiver, message)
        except DeliveryFailed as error:
            await self._keep(message, error)
        else:
            await self._store.sent(message.id, clock.now(), note)
            self.counts["sent"] += 1
            log.info("alerts.sent", receiver=receiver.name, message=str(message.id), alerts=len(message.alerts))

    async def _send(self, receiver: Receiver, message: Message) -> str:
        if receiver.format == "mail":
            return await self._mailer.send(receiver, message, self._service, self._url)
        return await self._webhooks.send(receiver, message, self._service, self._url)

    async def _keep(self, message: Message, error: DeliveryFailed) -> None:
        """Plan the next attempt of a message, or give it up."""
        now = clock.now()
        seconds = pause(message.attempts, self._random(), error.after)
        too_old = (now - message.made_at).total_seconds() + seconds > GIVE_UP_SECONDS
        receiver, ident, reason = message.receiver, str(message.id), error.reason
        if error.permanent or too_old:
            await self._store.failed(message.id, now, error.reason)
            self.counts["failed"] += 1
            log.error(
                "alerts.delivery_given_up", receiver=receiver, message=ident, attempts=message.attempts, reason=reason
            )
        else:
            await self._store.postponed(message.id, now + timedelta(seconds=seconds), error.reason)
            self.counts["retried"] += 1
            again_in = round(seconds, 1)
            log.warning("alerts.not_sent", receiver=receiver, message=ident, again_in=again_in, reason=reason)
