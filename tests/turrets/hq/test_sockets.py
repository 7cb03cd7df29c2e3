"""The sockets of the headquarters: everything comes in, in order; a pause makes the sender wait; results go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from smartmob.errors import SettingsError, StartupError
from smartmob.settings import TurretsSettings
from smartmob.turrets.hq.sockets import HeadquartersSockets
from tests.turrets.conftest import QUICK
from tests.waiting import until


class Open:
    """An open channel, what it took, and a context for its peers."""

    def __init__(self, settings: TurretsSettings = QUICK) -> None:
        self.taken: list[bytes] = []
        self.channel = HeadquartersSockets(settings, False, self.taken.extend)
        self.context = zmq.asyncio.Context()
        self._sockets: list[Any] = []

    def peer(self, kind: int, port: int, **options: Any) -> Any:
        """Return a socket that is connected to a port."""
        socket = self.context.socket(kind)
        # A socket that nobody holds is closed.
        self._sockets.append(socket)
        for name, value in options.items():
            setattr(socket, name, value)
        socket.connect(f"tcp://127.0.0.1:{port}")
        return socket


@asynccontextmanager
async def _opened(settings: TurretsSettings = QUICK) -> AsyncIterator[Open]:
    place = Open(settings)
    place.channel.open()
    try:
        yield place
    finally:
        await place.channel.close()
        place.context.destroy(linger=0)


async def test_everything_comes_in_order() -> None:
    """Ten thousand messages, many more than are read at a time."""
    async with _opened() as place:
        pusher = place.peer(zmq.PUSH, place.channel.ports[1])
        frames = [str(number).encode() for number in range(10_000)]
        for frame in frames:
            await pusher.send(frame)
        await until(lambda: len(place.taken) == len(frames))
        assert place.taken == frames


async def test_a_pause_makes_the_sender_wait() -> None:
    """Nothing is dropped: what was not read is read after the pause."""
    async with _opened() as place:
        pusher = place.peer(zmq.PUSH, place.channel.ports[1], sndhwm=100)
        place.channel.pause()
        sent, enough, seen = 0, False, [0]

        async def send() -> None:
            nonlocal sent
            while not enough:
                await pusher.send(b"%d" % sent + b"x" * 2_000)
                sent += 1

        async def waits() -> bool:
            seen.append(sent)
            await asyncio.sleep(0.02)
            return sent > 0 and seen[-10:] == [sent] * 10

        sending = asyncio.create_task(send())
        # How much that takes is the system's affair: its buffers may hold tens of megabytes.
        await until(waits)
        assert place.taken == []
        enough = True
        place.channel.resume()
        await sending
        await until(lambda: len(place.taken) == sent)
        assert [int(frame.rstrip(b"x")) for frame in place.taken] == list(range(sent))


async def test_an_order_reaches_everybody() -> None:
    """Each subscriber gets it once."""
    async with _opened() as place:
        subscribers = [place.peer(zmq.SUB, place.channel.ports[0]) for _ in range(3)]
        for subscriber in subscribers:
            subscriber.subscribe("")
        for subscriber in subscribers:
            while not await subscriber.poll(20):
                place.channel.publish(b" again")
        for subscriber in subscribers:
            assert await subscriber.recv() == b" again"


async def test_results_are_passed_on() -> None:
    """Only while somebody wants them, under the topic of the run."""
    async with _opened() as place:
        assert not place.channel.has_subscribers
        subscriber = place.peer(zmq.SUB, place.channel.ports[2])
        subscriber.subscribe("run-1")
        await until(lambda: place.channel.has_subscribers)
        place.channel.republish(b"run-2", [b"no"])
        place.channel.republish(b"run-1", [b"a", b"b"])
        assert [await subscriber.recv_multipart() for _ in range(2)] == [[b"run-1", b"a"], [b"run-1", b"b"]]
        subscriber.close(linger=0)
        await until(lambda: not place.channel.has_subscribers)


async def test_a_message_that_is_too_long() -> None:
    """Its sender is cut off; others are not."""
    async with _opened() as place:
        port = place.channel.ports[1]
        place.peer(zmq.PUSH, port).send(b"x" * (5 * 1024 * 1024))
        await place.peer(zmq.PUSH, port).send(b"short")
        await until(lambda: place.taken)
        assert place.taken == [b"short"]


async def test_keys(tmp_path: Path) -> None:
    """With CURVE only who knows the public key is heard."""
    public, secret = zmq.curve_keypair()
    file = tmp_path / "key"
    file.write_bytes(secret + b"\n")
    async with _opened(replace(QUICK, hq_curve_key_file=file)) as place:
        port = place.channel.ports[1]
        own_public, own_secret = zmq.curve_keypair()
        keys = {"curve_publickey": own_public, "curve_secretkey": own_secret}
        plain = place.peer(zmq.PUSH, port)
        plain.send(b"plain")
        wrong = place.peer(zmq.PUSH, port, curve_serverkey=zmq.curve_keypair()[0], **keys)
        wrong.send(b"wrong")
        await place.peer(zmq.PUSH, port, curve_serverkey=public, **keys).send(b"right")
        await until(lambda: place.taken)
        assert place.taken == [b"right"]


async def test_a_port_that_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """The error names it and the flags; what was bound before is free again."""
    caplog.set_level(logging.ERROR)
    async with _opened() as place:
        taken = replace(QUICK, hq_rc_port=place.channel.ports[1])
        with pytest.raises(StartupError, match=rf"127\.0\.0\.1:{taken.hq_rc_port}.*--hq-rc-port"):
            HeadquartersSockets(taken, False, lambda _: None).open()


async def test_an_open_address_without_keys() -> None:
    """It is refused with three ways to go on, and can be insisted on."""
    everywhere = replace(QUICK, hq_host="0.0.0.0")
    with pytest.raises(StartupError, match=r"--hq-curve-key-file.*--insecure"):
        HeadquartersSockets(everywhere, False, lambda _: None).open()
    channel = HeadquartersSockets(everywhere, True, lambda _: None)
    channel.open()
    assert len(set(channel.ports)) == 3
    await channel.close()


@pytest.mark.parametrize("content", ["y" * 39, "x" * 41, "\u00e9" * 40, "'" * 40])
async def test_a_key_that_is_none(content: str, tmp_path: Path) -> None:
    """The error says what the file must hold, and not what it holds."""
    file = tmp_path / "key"
    file.write_text(content)
    with pytest.raises(SettingsError, match="40 characters of Z85") as caught:
        HeadquartersSockets(replace(QUICK, hq_curve_key_file=file), False, lambda _: None).open()
    assert content not in str(caught.value)


async def test_closed_before_it_was_open() -> None:
    """Nothing happens."""
    await HeadquartersSockets(QUICK, False, lambda _: None).close()
