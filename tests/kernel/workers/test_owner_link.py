"""The link of a worker to the owner, whose side the test plays."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from smartmob.errors import NotAuthenticated, StartupError, TooManyTries
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.auth.events import Credential
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.workers import worker_messages as messages
from smartmob.kernel.workers.owner_link import OwnerLink
from smartmob.kernel.workers.worker_messages import (
    Attempt,
    Ping,
    Pong,
    Published,
    Reload,
    Stop,
    WorkerMetrics,
    WorkerWelcome,
)


@dataclass(frozen=True, slots=True)
class _Stored:
    """An event."""

    count: int


class _Owner:
    """The owner's end of the socket for messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, *sent: Any) -> None:
        for message in sent:
            self._writer.write(messages.line(message))

    async def received(self) -> Any:
        return messages.TO_OWNER.decode(await self._reader.readline())


@asynccontextmanager
async def _linked() -> AsyncIterator[tuple[OwnerLink, _Owner]]:
    ours, theirs = socket.socketpair()
    streams, their_streams = socket.socketpair()
    with their_streams:
        reader, writer = await asyncio.open_connection(sock=ours)
        link = OwnerLink(theirs, streams)
        yield link, _Owner(reader, writer)
        await link.close()
        writer.close()


def _refuse() -> None:
    raise NotAuthenticated


async def test_events_and_attempts_reach_the_other_side_once() -> None:
    """An event of the owner is published here and not sent back; orders are followed one after the other."""
    bus = EventBus()
    attempts = AttemptLimit(2, bus=bus)
    published: list[_Stored] = []
    bus.subscribe(_Stored, published.append)
    handled, reloaded = [], []

    async def handle(event: _Stored) -> None:
        await asyncio.sleep(0)
        handled.append(event)

    async with _linked() as (link, owner):
        owner.send(WorkerWelcome("postgresql://", "rack7", "secret", attempts.key))
        assert (await link.open()).own_name == "rack7"
        link.share(bus, (_Stored,))
        bus.publish(_Stored(1))
        with pytest.raises(NotAuthenticated):
            attempts.check_now(Credential("192.0.2.1", "wrong", "header", "/"), _refuse)
        owner.send(
            Published("_Stored", msgspec.Raw(b'{"count":2}')),
            Attempt("192.0.2.1", "00" * 16, accepted=False),
            Ping(7), Reload(), Stop(),
        )  # fmt: skip
        metrics = WorkerMetrics({"requests": []}, {})
        assert await link.follow(bus, attempts, {_Stored: handle}, lambda: metrics, lambda: reloaded.append(1))
        assert await owner.received() == Published("_Stored", msgspec.Raw(b'{"count":1}'))
        told = await owner.received()
        assert (told.address, told.accepted) == ("192.0.2.1", False)
        assert await owner.received() == Pong(7, metrics)
    assert published == [_Stored(1), _Stored(2)]
    assert (handled, reloaded) == ([_Stored(2)], [1])
    with pytest.raises(TooManyTries):  # one attempt was made here and one elsewhere
        attempts.check_now(Credential("192.0.2.1", "other", "header", "/"), _refuse)


async def test_a_worker_without_an_owner_ends() -> None:
    """The end of file is no order, and before the first message it is an error."""
    async with _linked() as (link, owner):
        owner.send(WorkerWelcome("postgresql://", "rack7", "secret", b""))
        await link.open()
        await link.failed("no disk is left")
        assert await owner.received() == messages.WorkerFailed("no disk is left")
        owner._writer.close()
        assert not await link.follow(EventBus(), AttemptLimit(), {}, WorkerMetrics, lambda: None)
    async with _linked() as (link, owner):
        owner._writer.close()
        with pytest.raises(StartupError, match="which database"):
            await link.open()
