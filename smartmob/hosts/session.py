"""Conversations in the echo protocol: does what the protocol says is to be done, over whatever carries the messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from smartmob.errors import InvalidInput, NotAuthenticated, SmartmobError, TooManyTries, Unavailable
from smartmob.hosts import protocol
from smartmob.hosts.model import Snapshot
from smartmob.hosts.protocol import Echo, Pause, Send, Start, Stop, Store, StoreOffset, Subscription
from smartmob.hosts.sampler.sampler import SECOND, Sampler
from smartmob.hosts.service import HostsService
from smartmob.kernel.auth.attempt_limit import AttemptLimit, Credential
from smartmob.kernel.http import json_depth
from smartmob.kernel.runtime import clock

log = structlog.get_logger()

MOST_UNREAD = 32 * 1024
"""Bytes that a client may leave unread before its next event; then it is dropped."""

_TURN = 100
_LATE = 0.02


class MessageSink(Protocol):
    """What carries the messages of one client."""

    async def send(self, text: str) -> None:
        """Send a message; raises ConnectionError when the client has left."""

    def answer(self, text: str) -> None:
        """Send a message without waiting until the client can take it; nothing happens when it has left."""

    def unread(self) -> int:
        """Return how many bytes wait because the client does not read."""

    def drop(self) -> None:
        """End the connection at once."""


@dataclass(slots=True)
class _Subscriber:
    line: MessageSink
    subscription: Subscription
    due: float


class Subscribers:
    """Everybody who has subscribed to the load of the service's machine: all are told from the same sweeps."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._watches: dict[tuple[int, bytes], _Subscriber] = {}
        self._news = asyncio.Event()
        self._looked = 0.0
        self.dropped = 0
        sampler.each_look.append(self._looked_at)

    def __len__(self) -> int:
        return len(self._watches)

    async def add(self, line: MessageSink, subscription: Subscription) -> None:
        """Send an event at once and one each interval."""
        await line.send(protocol.event(subscription, protocol.event_parts(self._sampler.latest)))
        due = asyncio.get_running_loop().time() + subscription.interval
        self._watches[id(line), subscription.request_id] = _Subscriber(line, subscription, due)
        self._set_pace()

    def remove(self, line: MessageSink, request_id: bytes) -> None:
        """Send no more events for one subscription."""
        if self._watches.pop((id(line), request_id), None) is not None:
            self._set_pace()

    def remove_all(self, line: MessageSink) -> None:
        """Send no more events to a client."""
        gone = [key for key in self._watches if key[0] == id(line)]
        for key in gone:
            del self._watches[key]
        if gone:
            self._set_pace()

    async def tell_for_ever(self) -> None:
        """Send events until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.tell(self._sampler.latest, self._looked)

    async def tell(self, sweep: Snapshot, now: float) -> None:
        """Send an event to everybody who is due."""
        parts = protocol.event_parts(sweep)
        due = [(key, watch) for key, watch in self._watches.items() if watch.due <= now + _LATE]
        for number, (key, watch) in enumerate(due, start=1):
            if self._watches.get(key) is not watch:
                continue  # ended while the others were told
            interval = watch.subscription.interval
            # Kept in step where that is possible: what was missed is not sent later.
            watch.due = max(watch.due + interval, now + interval / 2)
            if watch.line.unread() > MOST_UNREAD:
                self.dropped += 1
                log.info("hosts.watcher_dropped", unread=watch.line.unread())
                self.remove_all(watch.line)
                watch.line.drop()
                continue
            try:
                await watch.line.send(protocol.event(watch.subscription, parts))
            except ConnectionError:
                self.remove_all(watch.line)
            if number % _TURN == 0:
                await asyncio.sleep(0)

    def _looked_at(self, sweep: Snapshot, now: float) -> None:
        self._looked = now
        if self._watches:
            self._news.set()

    def _set_pace(self) -> None:
        """Let the sampler look as often as the most impatient needs it."""
        steps = [watch.subscription.interval % SECOND or SECOND for watch in self._watches.values()]
        wanted = min(steps, default=SECOND)
        self._sampler.look_every(max(protocol.SHORTEST_INTERVAL, wanted))


class EchoSession:
    """One client's conversation. A `trusted` one may subscribe without proving to be a machine."""

    def __init__(
        self,
        service: HostsService,
        watchers: Subscribers,
        line: MessageSink,
        *,
        rate: float,
        trusted: bool,
        tries: AttemptLimit,
        client: str | None = None,
    ) -> None:
        self.checking: Callable[[], None] = lambda: None
        """Called before a proof is checked, which may have to wait for others."""
        self._service = service
        self._watchers = watchers
        self._line = line
        self._trusted = trusted
        self._tries = tries
        self._client = client
        self._echo = Echo(rate)
        self._loop = asyncio.get_running_loop()
        self._proven: tuple[str, int] | None = None
        self._name: str | None = None
        # The sample that is being stored: what is answered then, and who waits for that.
        self._answer: str | None = None
        self._answered: asyncio.Future[None] | None = None

    @property
    def proved(self) -> bool:
        """Return whether the client has shown who it is; a greeting is enough where anybody may watch."""
        return self._trusted and self._echo.greeted

    async def receive(self, message: str | bytes) -> None:
        """Do what a message asks for; raises ConnectionError when the client has left.

        A sample is answered once it is stored, which may be after this returns; a message that comes before waits, so
        that the answers are in the order of the messages.
        """
        if self._answer is not None:
            self._answered = self._loop.create_future()
            await self._answered
        if json_depth.is_too_deep(message):
            message = ""  # what cannot be read is answered as what is no JSON
        for action in self._echo.handle(message, self._loop.time(), clock.epoch()):
            if isinstance(action, Store):
                await self._store(action)
            elif isinstance(action, Send):
                await self._line.send(action.text)
            else:
                await self._do(action)

    def end(self) -> None:
        """Forget what the client has asked for: it has left."""
        self._watchers.remove_all(self._line)

    async def _do(self, action: protocol.Action) -> None:
        match action:
            case Pause():
                await asyncio.sleep(action.seconds)
            case Start():
                await self._subscribe(action)
            case Stop():
                self._watchers.remove(self._line, action.request_id)
                await self._line.send(action.text)
            case StoreOffset():
                await self._store_offset(action)
            case protocol.TellWorkTime():
                await self._line.send(protocol.text(protocol.work_time(self._service.started, clock.now())))
            case protocol.TellClock():
                await self._line.send(protocol.clock(action.sent, action.received, clock.epoch()))

    async def _store(self, action: Store) -> None:
        try:
            # A client proves the same again with each sample: looking that up costs more than all else about it.
            proof = (action.client_id, self._service.credentials)
            if proof != self._proven:
                self._name = await self._verify(action.client_id)
                self._proven = proof
            name = self._name
            if name is None:
                self._proven = None
                await self._line.send(protocol.ERROR_CREDENTIALS)
                return
            self._trusted = True
            if action.text is not None:
                # The answer that needs no task to be woken: most messages are samples, and most of their cost was that.
                if not self._line.unread() and self._service.take_soon(name, action.samples[0], self._stored):
                    self._answer = action.text
                    return
                await self._service.take(name, action.samples)
                await self._line.send(action.text)
            else:
                stored, refused = await self._service.backfill(name, action.samples)
                await self._line.send(protocol.backfilled(stored, refused))
        except InvalidInput as error:
            await self._line.send(protocol.refusal(error))
        except Unavailable as error:
            await self._line.send(_failure(error))

    def _stored(self, error: Exception | None) -> None:
        text, self._answer = self._answer, None
        if error is None:
            assert text is not None
            self._line.answer(text)
        elif isinstance(error, Unavailable):
            self._line.answer(_failure(error))
        else:
            log.error("hosts.sample_refused", host=self._name, exc_info=error)
            self._line.answer(protocol.failure("the service made a mistake; the sample is not stored", "internal"))
        if self._answered is not None:
            answered, self._answered = self._answered, None
            if not answered.done():
                answered.set_result(None)

    async def _store_offset(self, action: StoreOffset) -> None:
        try:
            name = await self._verify(action.client_id)
            if name is None:
                await self._line.send(protocol.ERROR_CREDENTIALS)
                return
            self._trusted = True
            await self._service.keep_offset(name, action.offset, action.delay)
            await self._line.send(protocol.OFFSET_STORED)
        except SmartmobError as error:
            await self._line.send(_failure(error))

    async def _verify(self, client_id: str) -> str | None:
        """Return the name of the machine that an id proves, or None; raises TooManyTries and Unavailable."""
        self.checking()

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
                await self._line.send(_failure(error))
                return
        if not self._trusted:
            self._echo.forget(action.subscription.request_id)
            await self._line.send(protocol.ERROR_CREDENTIALS)
            return
        await self._line.send(action.text)
        await self._watchers.add(self._line, action.subscription)


def _failure(error: SmartmobError) -> str:
    if isinstance(error, TooManyTries):
        return protocol.failure(f"{error} It is checked again in {error.retry_after:g} s.", "too-many-tries")
    return protocol.failure(str(error), "unavailable")
