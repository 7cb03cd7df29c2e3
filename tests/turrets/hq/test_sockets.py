"""The sockets of the headquarters: messages come in order, a pause makes the sender wait, results are republished."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
import zmq
import zmq.asyncio

from smartmob.errors import SettingsError, StartupError
from smartmob.feature_settings import TurretsSettings
from smartmob.turrets.hq.sockets import HeadquartersSockets
from tests.turrets.conftest import QUICK
from tests.waiting import until


class Open:
    """Open sockets, the messages that came, and a context for their peers."""

    def __init__(self, settings: TurretsSettings = QUICK) -> None:
        self.taken: list[bytes] = []
        self.channel = HeadquartersSockets(settings, False, self.taken.extend)
        self.context = zmq.asyncio.Context()
        self._sockets: list[Any] = []

    def peer(self, kind: int, port: int, **options: Any) -> Any:
        """Return a socket that is connected to a port."""
        socket = self.context.socket(kind)
        # A socket without a reference would be closed.
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


async def test_messages_come_in_order() -> None:
    """Ten thousand messages come, many more than are read at a time."""
    async with _opened() as place:
        pusher = place.peer(zmq.PUSH, place.channel.ports[1])
        frames = [str(number).encode() for number in range(10_000)]
        for frame in frames:
            await pusher.send(frame)
        await until(lambda: len(place.taken) == len(frames))
        assert place.taken == frames


async def test_a_pause_makes_the_sender_wait() -> None:
    """No message is dropped: those that were not read are read after the pause."""
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


async def test_an_order_reaches_all_turrets() -> None:
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


async def test_results_are_sent_to_their_subscribers() -> None:
    """They are sent only while there are subscriptions, under the topic of the run."""
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


async def test_a_message_that_is_too_long_ends_its_connection() -> None:
    """Other connections stay."""
    async with _opened() as place:
        port = place.channel.ports[1]
        place.peer(zmq.PUSH, port).send(b"x" * (5 * 1024 * 1024))
        await place.peer(zmq.PUSH, port).send(b"short")
        await until(lambda: place.taken)
        assert place.taken == [b"short"]


async def test_only_peers_with_the_public_key_are_heard(tmp_path: Path) -> None:
    """With CURVE, peers without encryption or with another key are not heard."""
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


async def test_a_port_in_use_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """The error names the port and the options, the ports bound before are free again, and nothing is left to close."""
    caplog.set_level(logging.ERROR)
    async with _opened() as place:
        taken = replace(QUICK, hq_rc_port=place.channel.ports[1])
        refused = HeadquartersSockets(taken, False, lambda _: None)
        with pytest.raises(StartupError, match=rf"127\.0\.0\.1:{taken.hq_rc_port}.*--hq-rc-port"):
            refused.open()
        await refused.close()


async def test_an_open_address_without_keys_is_refused() -> None:
    """The error names three ways to go on, and --insecure is one of them."""
    everywhere = replace(QUICK, hq_host="0.0.0.0")
    with pytest.raises(StartupError, match=r"--hq-curve-key-file.*--insecure"):
        HeadquartersSockets(everywhere, False, lambda _: None).open()
    channel = HeadquartersSockets(everywhere, True, lambda _: None)
    channel.open()
    assert len(set(channel.ports)) == 3
    await channel.close()


@pytest.mark.parametrize("content", ["y" * 39, "x" * 41, "\u00e9" * 40, "'" * 40])
async def test_a_wrong_secret_key_is_an_error(content: str, tmp_path: Path) -> None:
    """The error says what the file must hold, and does not show what it holds."""
    file = tmp_path / "key"
    file.write_text(content)
    with pytest.raises(SettingsError, match="40 characters of Z85") as caught:
        HeadquartersSockets(replace(QUICK, hq_curve_key_file=file), False, lambda _: None).open()
    assert content not in str(caught.value)


async def test_close_before_open_does_nothing() -> None:
    """Closing sockets that were never opened raises no error."""
    await HeadquartersSockets(QUICK, False, lambda _: None).close()


async def test_a_peer_without_the_key_is_logged(tmp_path: Path) -> None:
    """The headquarters says within a moment that a turret does not get in, and not for each attempt."""
    _, secret = zmq.curve_keypair()
    key = tmp_path / "key"
    key.write_bytes(secret + b"\n")
    with structlog.testing.capture_logs() as logs:
        async with _opened(replace(QUICK, hq_curve_key_file=key)) as place:
            place.peer(zmq.PUSH, place.channel.ports[1])
            await until(lambda: any(line["event"] == "turrets.handshake_failed" for line in logs))
    found = [line for line in logs if line["event"] == "turrets.handshake_failed"]
    assert [(line["port"], "the key of this headquarters" in line["reason"]) for line in found] == [("results", True)]


async def test_an_order_after_the_end_is_not_sent() -> None:
    """A run that is on when the service stops still has orders to send."""
    async with _opened() as place:
        pass
    place.channel.publish(b" {}")


async def test_the_end_leaves_no_reader(tmp_path: Path) -> None:
    """A reader that runs after the sockets are closed does not fail, with keys and without."""
    key = tmp_path / "hq.key"
    key.write_bytes(zmq.curve_keypair()[1])
    keys = tmp_path / "turrets"
    keys.write_text("")
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    for settings in (QUICK, replace(QUICK, hq_curve_key_file=key, hq_turret_keys=keys)):
        async with _opened(settings) as place:
            place.channel.pause()
            place.channel.resume()
        await asyncio.sleep(0)
    assert failures == []
