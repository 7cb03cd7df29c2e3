"""Sessions of the echo protocol: they perform the actions of the protocol, over any transport of messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Protocol

import msgspec

from smartmob.errors import InvalidInput, NotAuthenticated, SmartmobError, TooManyTries, Unavailable
from smartmob.hosts import protocol
from smartmob.hosts.fields import Snapshot
from smartmob.hosts.model import SampleData
from smartmob.hosts.protocol import Echo, EndSubscription, Pause, Send, Start, Store, StoreOffset, Subscription
from smartmob.hosts.sampler.sampler import SECOND, Sampler
from smartmob.hosts.service import HostsService
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.auth.events import Credential
from smartmob.kernel.http import json_depth
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock

log = get_logger()

MOST_UNREAD_BYTES = 32 * 1024
"""Bytes that a client may leave unread before its next event; with more it is disconnected."""

_MOST_AT_ONCE = 64
"""Messages that are handled when they arrive before one is left to `receive`, so that other tasks get a turn."""
_YIELD_EVENTS = 100
"""Events that are sent before other tasks get a chance to run."""
_TOLERANCE_SECONDS = 0.02
"""An event is sent this much before it is due rather than with the next snapshot."""


_unread_of = attrgetter("unread")


class MessageSink(Protocol):
    """The connection to one client, for sending."""

    async def send(self, text: str) -> None:
        """Send a message; raises ConnectionError when the connection is closed."""

    def answer(self, text: str) -> None:
        """Send a message without waiting for space in the send buffer; do nothing when the connection is closed."""

    def unread(self) -> int:
        """Return how many bytes wait in the send buffer."""

    def drop(self) -> None:
        """Abort the connection."""


class _Subscriber(msgspec.Struct):
    sink: MessageSink
    subscription: Subscription
    due: float


class Subscribers:
    """The subscriptions to the load of the service's machine. All get events from the same snapshots."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._entries: dict[tuple[int, bytes], _Subscriber] = {}
        self._new_snapshot = asyncio.Event()
        self._read_at = 0.0
        self.dropped = 0
        sampler.subscribe(self._handle_snapshot)

    def __len__(self) -> int:
        return len(self._entries)

    async def add(self, sink: MessageSink, subscription: Subscription) -> None:
        """Add a subscription: send an event now and then each interval."""
        await sink.send(protocol.event(subscription, protocol.event_parts(self._sampler.current())))
        due = asyncio.get_running_loop().time() + subscription.interval
        self._entries[id(sink), subscription.request_id] = _Subscriber(sink, subscription, due)
        self._set_interval()

    def remove(self, sink: MessageSink, request_id: bytes) -> None:
        """Remove one subscription of a client."""
        if self._entries.pop((id(sink), request_id), None) is not None:
            self._set_interval()

    def remove_all(self, sink: MessageSink) -> None:
        """Remove all subscriptions of a client."""
        gone = [key for key in self._entries if key[0] == id(sink)]
        for key in gone:
            del self._entries[key]
        if gone:
            self._set_interval()

    async def run(self) -> None:
        """Send events with each snapshot until cancelled."""
        while True:
            await self._new_snapshot.wait()
            self._new_snapshot.clear()
            await self.send_events(self._sampler.current(), self._read_at)

    async def send_events(self, snapshot: Snapshot | None, now: float) -> None:
        """Send an event for each subscription that is due at `now` (event loop time)."""
        parts = protocol.event_parts(snapshot)
        due = [(key, entry) for key, entry in self._entries.items() if entry.due <= now + _TOLERANCE_SECONDS]
        for number, (key, entry) in enumerate(due, start=1):
            if self._entries.get(key) is not entry:
                continue  # removed while the events before were sent
            interval = entry.subscription.interval
            # The rhythm is kept where possible; missed events are not sent later.
            entry.due = max(entry.due + interval, now + interval / 2)
            if entry.sink.unread() > MOST_UNREAD_BYTES:
                self.dropped += 1
                log.info("hosts.watcher_dropped", unread=entry.sink.unread())
                self.remove_all(entry.sink)
                entry.sink.drop()
                continue
            try:
                await entry.sink.send(protocol.event(entry.subscription, parts))
            except ConnectionError:
                self.remove_all(entry.sink)
            if number % _YIELD_EVENTS == 0:
                await asyncio.sleep(0)

    def _handle_snapshot(self, snapshot: Snapshot, now: float) -> None:
        self._read_at = now
        if self._entries:
            self._new_snapshot.set()

    def _set_interval(self) -> None:
        """Set the interval of the sampler to the shortest that a subscription needs."""
        steps = [entry.subscription.interval % SECOND or SECOND for entry in self._entries.values()]
        wanted = min(steps, default=SECOND)
        self._sampler.read_every(max(protocol.SHORTEST_INTERVAL, wanted))


class EchoSession:
    """The session of one client. A `trusted` one may subscribe without the client id of a machine.

    `rate`: messages a second. `tries` limits wrong client ids from the address `client`. `address` is the one from
    which the machine reports, None if it is not known. `on_check` is called before a client id is verified, which may
    take long if many are waiting.
    """

    def __init__(
        self,
        service: HostsService,
        subscribers: Subscribers,
        sink: MessageSink,
        *,
        rate: float,
        trusted: bool,
        tries: AttemptLimit,
        client: str | None = None,
        address: str | None = None,
        on_check: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_check = on_check
        self._service = service
        self._subscribers = subscribers
        self._sink = sink
        self._trusted = trusted
        self._tries = tries
        self._client = client
        self._echo = Echo(rate)
        self._loop = asyncio.get_running_loop()
        self._proven: tuple[str, int] | None = None
        self._name: str | None = None
        self._address = address
        self._unread_logged: set[str] = set()
        # While a sample is being stored: its answer, and the future of a `receive` that waits for that answer.
        self._answer: str | None = None
        self._answered: asyncio.Future[None] | None = None
        self._receiving = False
        self._at_once = 0
        # What `receive_now` has left to `receive`: the actions for the message, or an error.
        self._left: Sequence[protocol.Action] | None = None
        self._error: Exception | None = None

    @property
    def proved(self) -> bool:
        """Return whether the client has authenticated; HELLO is enough where anybody may subscribe."""
        return self._trusted and self._echo.greeted

    async def receive(self, message: str | bytes) -> None:
        """Handle a message; raises ConnectionError when the connection is closed.

        A sample is answered once it is stored, which may be after this returns. Messages that arrive meanwhile wait, so
        that the answers are in the order of the messages.
        """
        self._receiving, self._at_once = True, 0
        try:
            if self._answer is not None:
                self._answered = self._loop.create_future()
                await self._answered
            for action in self._actions(message):
                if isinstance(action, Store):
                    await self._store(action)
                elif isinstance(action, Send):
                    await self._sink.send(action.text)
                else:
                    await self._perform(action)
        finally:
            self._receiving = False

    def receive_now(self, message: str | bytes) -> bool:
        """Handle a message if nothing must be awaited for that; return False if `receive` must be called with it.

        It handles most samples of a machine that has authenticated, in a tenth less processor time than a task needs.
        """
        if self._name is None or self._receiving or self._answer is not None or self._at_once >= _MOST_AT_ONCE:
            return False
        self._at_once += 1
        try:
            actions = self._actions(message)
            if len(actions) == 1 and self._perform_now(actions[0]):
                return True
            self._left = actions
        except Exception as error:
            self._error = error
        return False

    def _actions(self, message: str | bytes) -> Sequence[protocol.Action]:
        """Return the actions for a message, or those that `receive_now` has left."""
        if self._error is not None:
            raise self._error
        if self._left is not None:
            actions, self._left = self._left, None
            return actions
        if json_depth.is_too_deep(message):
            message = ""  # answered like a message that is not JSON
        return self._echo.handle(message, self._loop.time(), clock.epoch())

    def _perform_now(self, action: protocol.Action) -> bool:
        if self._sink.unread():
            return False
        if isinstance(action, Store):
            try:
                return self._try_store(action)
            except InvalidInput as error:
                self._sink.answer(protocol.refusal(error))
                return True
            except Unavailable as error:
                self._sink.answer(_failure(error))
                return True
        if isinstance(action, Send):
            self._sink.answer(action.text)
            return True
        return False

    def end(self) -> None:
        """Remove the subscriptions of a client whose connection is closed."""
        self._subscribers.remove_all(self._sink)

    async def _perform(self, action: protocol.Action) -> None:
        match action:
            case Pause():
                await asyncio.sleep(action.seconds)
            case Start():
                await self._subscribe(action)
            case EndSubscription():
                self._subscribers.remove(self._sink, action.request_id)
                await self._sink.send(action.text)
            case StoreOffset():
                await self._store_offset(action)
            case protocol.SendWorkTime():
                await self._sink.send(protocol.text(protocol.work_time(self._service.started, clock.now())))
            case protocol.SendClock():
                await self._sink.send(protocol.clock(action.sent, action.received, clock.epoch()))

    async def _store(self, action: Store) -> None:
        try:
            # Each sample of a client has the same client id; verifying it again would cost more than everything else.
            proof = (action.client_id, self._service.credentials_generation)
            if proof != self._proven:
                self._name = await self._verify(action.client_id)
                self._proven = proof
            name = self._name
            if name is None:
                self._proven = None
                await self._sink.send(protocol.ERROR_CREDENTIALS)
                return
            self._trusted = True
            if not self._sink.unread() and self._try_store(action):
                return
            self._note(name, action.samples)
            if action.text is not None:
                await self._service.store(name, action.samples)
                await self._sink.send(action.text)
            else:
                stored, refused = await self._service.backfill(name, action.samples)
                await self._sink.send(protocol.backfilled(stored, [*action.refused, *refused]))
        except InvalidInput as error:
            await self._sink.send(protocol.refusal(error))
        except Unavailable as error:
            await self._sink.send(_failure(error))

    def _try_store(self, action: Store) -> bool:
        """Start to store the sample of a verified client; return False if it must wait, or must be verified first.

        The answer is sent by a callback, without waking a task. Raises InvalidInput and Unavailable.
        """
        name = self._name
        if name is None or action.text is None:
            return False
        if (action.client_id, self._service.credentials_generation) != self._proven:
            return False
        if not self._service.try_store(name, action.samples[0], self._stored):
            return False
        self._answer = action.text
        self._note(name, action.samples)
        return True

    def _note(self, name: str, samples: Sequence[SampleData]) -> None:
        """Keep the address of a machine, and log the fields of its samples that are not stored."""
        self._service.addresses.seen(name, self._address)
        if any(map(_unread_of, samples)):
            self._service.log_unread(name, samples, self._unread_logged)

    def _stored(self, error: Exception | None) -> None:
        text, self._answer = self._answer, None
        if error is None:
            assert text is not None
            self._sink.answer(text)
        elif isinstance(error, Unavailable):
            self._sink.answer(_failure(error))
        else:
            log.error("hosts.sample_refused", host=self._name, exc_info=error)
            self._sink.answer(protocol.failure("internal server error; the sample is not stored", "internal"))
        if self._answered is not None:
            answered, self._answered = self._answered, None
            if not answered.done():
                answered.set_result(None)

    async def _store_offset(self, action: StoreOffset) -> None:
        try:
            name = await self._verify(action.client_id)
            if name is None:
                await self._sink.send(protocol.ERROR_CREDENTIALS)
                return
            self._trusted = True
            await self._service.store_clock_offset(name, action.offset, action.delay)
            await self._sink.send(protocol.OFFSET_STORED)
        except SmartmobError as error:
            await self._sink.send(_failure(error))

    async def _verify(self, client_id: str) -> str | None:
        """Return the name of the machine of a valid client id, else None. Raises TooManyTries and Unavailable."""
        self._on_check()

        async def check() -> str:
            if (name := self._service.known(client_id) or await self._service.verify(client_id)) is None:
                raise NotAuthenticated
            return name

        try:
            return await self._tries.check(Credential(self._client, client_id, "client_id", "/echo"), check)
        except NotAuthenticated:
            return None

    async def _subscribe(self, action: Start) -> None:
        if not self._trusted:
            try:
                self._trusted = bool(action.client_id) and await self._verify(action.client_id) is not None
            except Unavailable as error:
                self._echo.forget(action.subscription.request_id)
                await self._sink.send(_failure(error))
                return
        if not self._trusted:
            self._echo.forget(action.subscription.request_id)
            await self._sink.send(protocol.ERROR_CREDENTIALS)
            return
        await self._sink.send(action.text)
        await self._subscribers.add(self._sink, action.subscription)


def _failure(error: SmartmobError) -> str:
    if isinstance(error, TooManyTries):
        return protocol.failure(f"{error} It is checked again in {error.retry_after:g} s.", "too-many-tries")
    return protocol.failure(str(error), "unavailable")
