"""The connection: lost ones are noticed and made again, and jobs go on without a gap or a repeat."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from smartmob.client.channel import Channel
from smartmob.client.command_client import CommandClient
from smartmob.client.failures import NotConnected
from smartmob.kernel.http import ws_upgrade
from tests.client.servers import Wire
from tests.waiting import SECONDS, until


async def test_a_cut_in_the_middle_of_output(wire: Wire) -> None:
    """Cut again and again, a job's output arrives whole: each line once, in order."""
    async with CommandClient(wire.url, timeout=SECONDS) as lab:
        wire.limit = 200_000
        found = []
        listener = await lab.exec("seq 300000")
        async for line in listener:
            found.append(int(line))
            if len(found) % 70_000 == 0:
                wire.limit = 50_000

    assert found == list(range(1, 300_001))
    assert listener.exit_code == 0
    assert wire.connections > 3


async def test_a_cut_before_the_answer(wire: Wire, tmp_path: Any) -> None:
    """A job whose answer got lost is not run twice."""
    async with CommandClient(wire.url, timeout=SECONDS) as lab:
        wire.limit = 1
        listener = lab.start("exec", f"echo run >> {tmp_path}/runs; echo done")
        assert await listener.output() == ["done\n"]
    assert (tmp_path / "runs").read_text() == "run\n"


async def test_a_silent_connection_is_replaced(wire: Wire) -> None:
    """The heartbeat detects the loss, and the job continues on a new connection."""
    async with CommandClient(wire.url, timeout=SECONDS) as lab:
        listener = await lab.exec("echo one; read x; echo two", max_interval=1.0)
        listener.max_interval = SECONDS
        assert await listener.next() == "one\n"
        before = wire.connections
        wire.hush()
        await until(lambda: wire.connections > before)
        assert await lab.send_input(listener.id, "x") == [f"Sent value to job {listener.id}"]
        assert await listener.output() == ["two\n"]


async def test_the_working_directory_comes_back(wire: Wire, tmp_path: Any) -> None:
    """After a lost connection the client is where it was."""
    async with CommandClient(wire.url, timeout=SECONDS) as lab:
        await lab.cd(str(tmp_path))
        wire.cut()
        await until(lambda: wire.connections == 2)
        assert await lab.heartbeat(SECONDS)
        assert await lab.cwd() == [str(tmp_path)]


async def test_what_cannot_be_repeated(wire: Wire, tmp_path: Any) -> None:
    """A command that is no job fails when its connection is lost, and says that it may have been done."""
    async with CommandClient(wire.url, timeout=SECONDS) as lab:
        listener = lab.start("put", str(tmp_path / "f"), 10)
        await listener.next()
        wire.cut()
        with pytest.raises(NotConnected, match="may or may not have been done"):
            await listener.next()


async def test_a_server_that_does_not_come_back(wire: Wire) -> None:
    """After its time is up, whoever waits is told; a later connect may find it again, with its jobs."""
    lab = CommandClient(wire.url, reconnect_for=0.3)
    await lab.connect(SECONDS)
    listener = await lab.exec(["cat"])
    wire.refuses = True
    wire.cut()
    with pytest.raises(NotConnected, match="was lost"):
        await listener.output()
    wire.refuses = False
    await lab.connect(SECONDS)
    assert await lab.is_alive(listener.id) == [True]
    await lab.close()


async def test_a_node_that_was_removed_meanwhile(wire: Wire) -> None:
    """Its calls end with the reason; a proxy that does not know the service for a moment is tried again."""
    details = ["there is no such route", "there is no node rack7"]

    async def refuse(request: web.Request) -> web.Response:
        detail = details[0] if len(details) > 1 else details[-1]
        if not ws_upgrade.is_handshake(request) and len(details) > 1:
            del details[0]
        return web.json_response({"detail": detail, "request_id": "1"}, status=404)

    app = web.Application()
    app.router.add_get("/{rest:.*}", refuse)
    async with TestServer(app) as gone, CommandClient(wire.url, timeout=SECONDS, reconnect_for=SECONDS) as lab:
        listener = await lab.exec(["cat"])
        wire.lead_to(gone.port or 0)
        wire.cut()
        with pytest.raises(NotConnected, match="was lost: there is no node rack7"):
            await listener.output()
    assert len(details) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1", "cannot connect to http://127.0.0.1:1"),
        ("ftp://127.0.0.1", "not the address of a service"),
        ("nonsense", "not the address of a service"),
    ],
)
async def test_the_error_of_a_missing_server_names_the_reason(url: str, said: str) -> None:
    """The error says where, and what the trouble is."""
    channel = Channel(url)
    with pytest.raises(NotConnected, match=said):
        await channel.open()
    with pytest.raises(NotConnected, match="call connect first"):
        CommandClient(url).start("cwd")
    await channel.close()


async def test_a_service_that_needs_a_token_says_so(with_settings: Any) -> None:
    """A service that asks for a token says so, and takes the right one."""
    client = await with_settings(token="secret")
    url = f"http://127.0.0.1:{client.server.port}"
    channel = Channel(url)
    with pytest.raises(NotConnected, match="requires a token"):
        await channel.open(SECONDS)
    await channel.close()
    async with CommandClient(url, "secret") as lab:
        assert await lab.os_info() == ["linux"]


async def test_another_kind_of_server(client: Any) -> None:
    """A server without commands is told apart."""
    channel = Channel(f"http://127.0.0.1:{client.server.port}/docs")
    with pytest.raises(NotConnected, match="leave out its path, or update the service"):
        await channel.open(SECONDS)
    await channel.close()


async def test_a_heartbeat_is_answered_or_times_out(wire: Wire) -> None:
    """True from a server that answers, False in the given time from one that does not."""
    async with CommandClient(wire.url, timeout=SECONDS) as lab:
        assert await lab.heartbeat(SECONDS)
        wire.hush()
        assert not await lab.heartbeat(0.2)
