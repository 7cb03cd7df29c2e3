"""Turrets are known by their keys: real sockets, with a key in the list, with another one, and without any."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
import zmq
import zmq.asyncio

from smartmob.app import build
from smartmob.errors import SettingsError
from smartmob.settings import Settings
from smartmob.turrets.hq import authenticator
from smartmob.turrets.hq.key_list import KeyList
from smartmob.turrets.hq.sockets import HeadquartersSockets
from tests.conftest import running
from tests.turrets.conftest import QUICK
from tests.turrets.messages import oct_result, own_status, slice_of, slices
from tests.turrets.runs import ask, get, until_state
from tests.turrets.scripted import where
from tests.waiting import until

HQ, FIRST, SECOND, STRANGER = (zmq.curve_keypair() for _ in range(4))


@pytest.fixture(name="keyed")
def _keyed(tmp_path: Path) -> Any:
    """Return the settings of a headquarters that knows two turrets."""
    (tmp_path / "hq.key").write_bytes(HQ[1])
    lines = ["# the rack", "", FIRST[0].decode() + " first", SECOND[0].decode() + "  # second"]
    (tmp_path / "turrets").write_text("\n".join(lines))
    return replace(QUICK, hq_curve_key_file=tmp_path / "hq.key", hq_turret_keys=tmp_path / "turrets")


@asynccontextmanager
async def _pushers(port: int) -> AsyncIterator[Callable[[tuple[bytes, bytes] | None], Any]]:
    """Yield what connects a sender with some pair of keys, or with none."""
    context = zmq.asyncio.Context()

    def connect(pair: tuple[bytes, bytes] | None) -> Any:
        socket = context.socket(zmq.PUSH)
        if pair is not None:
            socket.curve_serverkey = HQ[0]
            socket.curve_publickey, socket.curve_secretkey = pair
        socket.connect(f"tcp://127.0.0.1:{port}")
        sockets.append(socket)
        return socket

    sockets: list[Any] = []
    try:
        yield connect
    finally:
        context.destroy(linger=0)


async def test_only_turrets_with_a_known_key_are_heard(keyed: Any) -> None:
    """Messages of a turret whose key is in the list are read, with its key; those of other peers are not."""
    taken: list[tuple[str, bytes]] = []
    channel = HeadquartersSockets(
        keyed, False, lambda frames: taken.extend((channel.sender, frame) for frame in frames)
    )
    channel.open()
    try:
        with structlog.testing.capture_logs() as lines:
            async with _pushers(channel.ports[1]) as connect:
                connect(STRANGER).send(b"stranger")
                connect(None).send(b"plain")
                await until(lambda: [line for line in lines if line["event"] == "turrets.key_refused"])
                await connect(FIRST).send(b"first")
                await connect(SECOND).send(b"second")
                await until(lambda: len(taken) >= 2)
        assert sorted(taken) == sorted([(FIRST[0].decode(), b"first"), (SECOND[0].decode(), b"second")])
        refused = [line for line in lines if line["event"] == "turrets.key_refused"]
        assert refused[0]["key"] == STRANGER[0].decode()
    finally:
        await channel.close()


@pytest.mark.parametrize("place", [0, 2], ids=["orders", "external"])
async def test_only_turrets_with_a_known_key_get_messages(keyed: Any, place: int) -> None:
    """Orders and republished results are sent to no other peer."""
    channel = HeadquartersSockets(keyed, False, lambda _: None)
    channel.open()
    context = zmq.asyncio.Context()
    try:
        sockets = []
        for pair in (FIRST, STRANGER):
            socket = context.socket(zmq.SUB)
            socket.curve_serverkey = HQ[0]
            socket.curve_publickey, socket.curve_secretkey = pair
            socket.subscribe(b"")
            socket.connect(f"tcp://127.0.0.1:{channel.ports[place]}")
            sockets.append(socket)
        known, stranger = sockets

        async def heard() -> bool:
            channel.publish(b" {}")
            channel.republish(b"run", [b"frame"])
            return bool(await known.poll(20))

        await until(heard)
        assert not await stranger.poll(200)
    finally:
        context.destroy(linger=0)
        await channel.close()


async def test_a_forged_number_displaces_no_honest_one(
    keyed: Any, with_settings: Callable[..., Awaitable[Any]]
) -> None:
    """Messages that another turret sends under the uuid of the first one are refused and not counted."""
    lab = await with_settings(turrets=keyed)
    async with _pushers((await where(lab))[2]) as connect:
        first, second = connect(FIRST), connect(SECOND)
        run = await ask(lab, run_time=3600)

        async def started() -> bool:
            await first.send(own_status("ready", None, "u1"))
            return bool((await get(lab, f"/turret-runs/{run['id']}"))["state"] == "running")

        await until(started)
        await second.send(slices(run["id"], 1, [slice_of(0, [0.5] * 100)], "u1"))
        await second.send(own_status("Aborted", run["id"], "u1"))
        await second.send(oct_result(uuid="u1", run=run["id"], sequence=1))

        async def refused() -> bool:
            return bool((await get(lab, f"/turret-runs/{run['id']}"))["counters"]["malformed"] == 3)

        await until(refused)
        await first.send(slices(run["id"], 1, [slice_of(0, [0.01] * 7)], "u1"))

        async def stored() -> bool:
            (member,) = (await get(lab, f"/turret-runs/{run['id']}"))["turrets"]
            return bool(member["received"] == 1 and member["status"] != "Aborted")

        await until(stored)
        assert (await get(lab, f"/turret-runs/{run['id']}"))["transactions"] == 7


async def test_a_list_without_a_key_of_the_headquarters_is_refused(keyed: Any) -> None:
    """Without encryption the keys of turrets prove nothing."""
    with pytest.raises(SettingsError, match="--hq-curve-key-file"):
        HeadquartersSockets(replace(keyed, hq_curve_key_file=None), False, lambda _: None).open()


async def test_a_list_that_changes_is_read_again(keyed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An added key is admitted, a removed one is refused, whether or not its turret is connected."""
    monkeypatch.setattr(authenticator, "_LOG_INTERVAL_SECONDS", 0)  # each refusal is logged
    taken: list[bytes] = []
    channel = HeadquartersSockets(keyed, False, taken.extend)
    channel.open()
    try:
        assert channel.keys is not None
        async with _pushers(channel.ports[1]) as connect:
            first = connect(FIRST)
            await first.send(b"first")
            await until(lambda: b"first" in taken)
            with structlog.testing.capture_logs() as lines:
                waiting = connect(STRANGER)
                waiting.send(b"added")
                await until(lambda: [line for line in lines if line["event"] == "turrets.key_refused"])
            assert b"added" not in taken

            keyed.hq_turret_keys.write_text(f"{STRANGER[0].decode()} new\n{SECOND[0].decode()}\n")
            channel.keys.reload()
            # The refused socket tries again too, but only when the 30 seconds of its handshake have passed.
            waiting.close(linger=0)
            await connect(STRANGER).send(b"added")
            await until(lambda: b"added" in taken)
            with structlog.testing.capture_logs() as lines:
                await first.send(b"revoked")
                await until(lambda: [line for line in lines if line["event"] == "turrets.key_refused"])
            assert lines[0]["key"] == FIRST[0].decode()
            await connect(SECOND).send(b"second")
            await until(lambda: b"second" in taken)
        assert sorted(taken) == [b"added", b"first", b"second"]
    finally:
        await channel.close()


@pytest.mark.parametrize("text", ["no key\n", None], ids=["syntax", "gone"])
def test_a_list_that_becomes_bad_changes_nothing(text: str | None, keyed: Any) -> None:
    """The last good list stays in force, and an error is logged once for each change."""
    path = keyed.hq_turret_keys
    known = KeyList(path)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with structlog.testing.capture_logs() as lines:
        known.reload()
        known.reload()
    assert [(line["event"], line["log_level"], line["keys"]) for line in lines] == [
        ("turrets.keys_unreadable", "error", 2)
    ]
    assert FIRST[0].decode() in known

    path.write_text(SECOND[0].decode())
    known.reload()
    assert (FIRST[0].decode() in known, SECOND[0].decode() in known) == (False, True)


async def test_the_service_reads_a_changed_list_again(keyed: Any, with_settings: Callable[..., Awaitable[Any]]) -> None:
    """A running headquarters notices the change by itself."""
    lab = await with_settings(turrets=keyed)
    async with _pushers((await where(lab))[2]) as connect:
        with structlog.testing.capture_logs() as lines:
            keyed.hq_turret_keys.write_text(STRANGER[0].decode())
            await until(lambda: [line for line in lines if line["event"] == "turrets.keys_read"])
            await connect(STRANGER).send(own_status("ready", None, "u1"))

            async def heard() -> bool:
                return bool((await get(lab, "/turrets"))["turrets"])

            await until(heard)


async def test_a_restart_forgets_no_key(keyed: Any, settings: Settings) -> None:
    """Messages of another turret under the uuid of the first one are refused by the next headquarters, too."""
    settings = replace(settings, turrets=keyed)
    async with running(build(settings)) as lab, _pushers((await where(lab))[2]) as connect:
        first = connect(FIRST)
        run = await ask(lab, run_time=3600)
        await first.send(own_status("ready", None, "u1"))
        await until_state(lab, run["id"], "running")
        await first.send(slices(run["id"], 1, [slice_of(0, [0.01] * 7)], "u1"))

        async def stored() -> bool:
            return bool((await get(lab, f"/turret-runs/{run['id']}"))["turrets"][0]["received"] == 1)

        await until(stored)
    async with running(build(settings)) as lab, _pushers((await where(lab))[2]) as connect:
        second = connect(SECOND)
        await second.send(slices(run["id"], 2, [slice_of(0, [0.5] * 100)], "u1"))
        await second.send(own_status("Aborted", run["id"], "u1"))

        async def refused() -> bool:
            return bool((await get(lab, f"/turret-runs/{run['id']}"))["counters"]["malformed"] == 2)

        await until(refused)
        await connect(FIRST).send(slices(run["id"], 2, [slice_of(0, [0.01] * 5)], "u1"))

        async def counted() -> bool:
            return bool((await get(lab, f"/turret-runs/{run['id']}"))["transactions"] == 12)

        await until(counted)
        assert (await get(lab, f"/turret-runs/{run['id']}"))["turrets"][0]["status"] == "ready"


@asynccontextmanager
async def _subscribers(port: int) -> AsyncIterator[Callable[[tuple[bytes, bytes]], Any]]:
    """Yield what connects a subscriber with a pair of keys, as a turret does for its orders."""
    context = zmq.asyncio.Context()

    def connect(pair: tuple[bytes, bytes]) -> Any:
        socket = context.socket(zmq.SUB)
        socket.curve_serverkey = HQ[0]
        socket.curve_publickey, socket.curve_secretkey = pair
        socket.subscribe(b"")
        socket.connect(f"tcp://127.0.0.1:{port}")
        return socket

    try:
        yield connect
    finally:
        context.destroy(linger=0)


@pytest.mark.parametrize("place", [0, 2], ids=["orders", "external"])
async def test_a_revoked_turret_gets_no_further_message(keyed: Any, place: int) -> None:
    """Its connection is ended when its key is taken from the list; other turrets stay connected and miss nothing."""
    channel = HeadquartersSockets(keyed, False, lambda _: None)
    channel.open()
    assert channel.keys is not None
    number = 0

    def publish() -> bytes:
        nonlocal number
        number += 1
        frame = b"%d" % number
        channel.publish(frame) if place == 0 else channel.republish(b"", [frame])
        return frame

    async def heard(socket: Any) -> bool:
        frame = publish()
        while await socket.poll(50):
            if (await socket.recv_multipart())[-1] == frame:
                return True
        return False

    try:
        async with _subscribers(channel.ports[place]) as connect:
            first, second = connect(FIRST), connect(SECOND)
            await until(lambda: heard(first))
            await until(lambda: heard(second))
            keyed.hq_turret_keys.write_text(SECOND[0].decode())
            assert channel.keys.reload()
            with structlog.testing.capture_logs() as lines:
                channel.end_revoked()
            assert [(line["event"], line["key"]) for line in lines] == [("turrets.disconnected", FIRST[0].decode())]
            frames = [publish() for _ in range(50)]
            got = []
            while frames[-1] not in got:
                got.append((await second.recv_multipart())[-1])
            assert got[-50:] == frames
            # Frames that were sent before the end of the connection may still be on their way.
            while await first.poll(200):
                assert (await first.recv_multipart())[-1] not in frames
    finally:
        await channel.close()


async def test_the_service_disconnects_a_revoked_turret(
    keyed: Any, with_settings: Callable[..., Awaitable[Any]]
) -> None:
    """A running headquarters ends the connection by itself, soon after the list was changed."""
    lab = await with_settings(turrets=keyed)
    async with _subscribers((await where(lab))[1]) as connect:
        turret = connect(FIRST)
        async with _pushers((await where(lab))[2]) as push:
            pusher = push(FIRST)

            async def welcomed() -> bool:
                await pusher.send(own_status("ready", None, "u1"))
                return bool(await turret.poll(20))

            with structlog.testing.capture_logs() as lines:
                await ask(lab, run_time=3600)
                await until(welcomed)
                keyed.hq_turret_keys.write_text(SECOND[0].decode())
                await until(lambda: [line for line in lines if line["event"] == "turrets.disconnected"])
