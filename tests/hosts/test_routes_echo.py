"""The WebSocket /echo, as existing clients and our own agent use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import asyncpg
import pytest

from smartmob.app import build
from smartmob.kernel.http.json_depth import MAX_LEVELS
from smartmob.kernel.runtime import clock
from smartmob.settings import DatabaseSettings, HostsSettings
from tests.conftest import running
from tests.hosts.samples import CLIENT_ID, answered, client_id, register, report, sample, talking
from tests.kernel.proxy import Proxy, proxy_to
from tests.waiting import until


class TestEcho:
    """The WebSocket /echo."""

    async def test_a_client_of_the_seed(self, client: Any) -> None:
        """HELLO before each sample; every answer comes in order, and what was answered is stored."""
        await register(client)
        data = {"cpu": 18, "mem": 8513, "storage": 81720, "unix_time": 1651155333}
        async with client.ws_connect("/echo") as socket:
            for number in range(20):
                await socket.send_json({"type": "HELLO"})
                assert await socket.receive_json() == {"type": "WELCOME", "payload": {"welcome": "WELCOME"}}
                sent = data | {"unix_time": data["unix_time"] + number}
                await socket.send_json({"type": "CLIENT_DATA", "data": sent, "interval": 1, "client_id": CLIENT_ID})
                assert await socket.receive_json() == {"type": "DATA_RETURN", "payload": {"data": sent}}
        assert [row["unix_time"] for row in await report(client)] == list(range(1651155333, 1651155353))

    async def test_errors_and_the_connection_lives_on(self, client: Any) -> None:
        """Each mistake gets its error; then a good sample is taken."""
        await register(client)
        async with client.ws_connect("/echo") as socket, talking(client) as talk:
            for bad in ("x", '{"type": "WORK_TIME"}'):
                await socket.send_str(bad)
                assert "Data type incorrect" in (await socket.receive_json())["reason"]
            assert (await talk.send({})) == {"type": "ERROR", "reason": "incorrect data size"}
            assert (await talk.send(sample(), "x"))["reason"] == "incorrect username or password"
            assert (await talk.send(sample(), client_id("wood", "1")))["reason"] == "incorrect username or password"
            assert "in the future" in (await talk.send(sample(1e11)))["reason"]
            assert (await talk.send({"cpu": 1.5}))["reason"].startswith("time: ")
            await talk.socket.send_bytes(b"\xff\xfe")
            assert "Data type incorrect" in (await talk.hear())["reason"]
            assert (await talk.send(sample()))["type"] == "DATA_RETURN"
        assert len(await report(client)) == 1

    async def test_what_is_nested_too_deeply(self, client: Any) -> None:
        """It is answered as what is no JSON, one level less is taken, and the connection lives on."""
        async with client.ws_connect("/echo") as socket:
            for levels, answer in ((MAX_LEVELS, "ERROR"), (MAX_LEVELS - 1, "WELCOME")):
                await socket.send_str('{"type": "HELLO", "more": ' + "[" * levels + "]" * levels + "}")
                assert (await socket.receive_json())["type"] == answer

    async def test_a_machine_that_was_removed(self, client: Any) -> None:
        """What a connection has proven holds no longer than the machine, and only for the id that proved it."""
        refused = {"type": "ERROR", "reason": "incorrect username or password"}
        await register(client)
        await register(client, "other")
        async with talking(client) as talk:
            for _ in range(2):
                assert (await talk.send(sample()))["type"] == "DATA_RETURN"
            assert await talk.send(sample(), client_id("other", "1")) == refused
            assert (await talk.send(sample(), client_id("other")))["type"] == "DATA_RETURN"
            assert (await client.delete("/hosts/wood")).status == 200
            assert await talk.send(sample()) == refused
            assert (await talk.send(sample(), client_id("other")))["type"] == "DATA_RETURN"
            await register(client)
            assert (await talk.send(sample()))["type"] == "DATA_RETURN"
        assert (len(await report(client)), len(await report(client, "other", client_id("other")))) == (1, 2)

    async def test_messages_sent_ahead(self, client: Any) -> None:
        """A client that does not wait for answers gets all of them, in order."""
        await register(client)
        now = int(clock.epoch()) - 1000
        async with talking(client) as talk:
            for number in range(300):
                await talk.say({"type": "CLIENT_DATA", "data": sample(now + number), "client_id": CLIENT_ID})
            times = [(await talk.hear())["payload"]["data"]["time"] for _ in range(300)]
        assert times == list(range(now, now + 300))
        assert len(await report(client)) == 300

    async def test_events(self, client: Any) -> None:
        """The first at once, others each interval until the subscription ends; ids belong to the connection."""
        wish = {"type": "SUBSCRIBE", "request_id": "1", "data": ["CPU", "MEM", "STORAGE"], "interval": "0.1"}
        async with talking(client) as one, talking(client) as two:
            for talk in (one, two):
                assert await talk.ask(wish) == {"type": "SUBSCRIBED", "payload": {"request_id": "1"}}
                event = await talk.hear()
                assert (event["type"], event["payload"]["request"]) == ("EVENT", "1")
                assert isinstance(event["payload"]["cpu"], float)
                assert (len(event["payload"]["mem"]), len(event["payload"]["storage"])) == (11, 4)
            assert (await one.ask(wish))["reason"] == "request id collision"
            for _ in range(3):
                assert (await two.hear())["type"] == "EVENT"
            stopped = {"type": "UNSUBSCRIBED", "payload": {"request_id": "1"}}
            assert await two.ask({"type": "UNSUBSCRIBE", "request_id": "1"}) == stopped
            assert (await two.ask({"type": "WORK_TIME"}))["type"] == "WORK_TIME"
            assert (await one.hear())["type"] == "EVENT"

    async def test_who_has_left_is_forgotten(self, client: Any) -> None:
        """A connection that ends in whatever way leaves no subscription behind."""

        async def watchers() -> bool:
            async with client.get("/metrics") as response:
                return "smartmob_hosts_watchers 0.0" in await response.text()

        for abrupt in (False, True):
            async with talking(client) as talk:
                await talk.ask({"type": "SUBSCRIBE", "request_id": 1, "data": ["CPU"], "interval": 0.1})
                assert not await watchers()
                if abrupt:
                    talk.socket._response.connection.transport.abort()
            await until(watchers)

    async def test_backfill_is_stored_once(self, client: Any) -> None:
        """What is sent twice is known by its id; what can never be stored is told."""
        await register(client)
        now = int(clock.epoch()) - 1000
        samples = [sample(now + number, id=number) for number in range(50)] + [sample(5, id=1)]
        async with talking(client) as talk:
            for _ in range(2):
                answer = await talk.ask({"type": "BACKFILL", "samples": samples, "client_id": CLIENT_ID})
                assert (answer["payload"]["stored"], len(answer["payload"]["refused"])) == (50, 1)
            assert (await talk.ask({"type": "BACKFILL", "samples": samples, "client_id": "x"}))["type"] == "ERROR"
        assert len(await report(client)) == 50

    async def test_clocks(self, client: Any) -> None:
        """An exchange of timestamps, and what came of it is shown with the machine."""
        await register(client)
        async with talking(client) as talk:
            payload = (await talk.ask({"type": "CLOCK", "sent": 5.0}))["payload"]
            assert payload["sent"] == 5.0
            assert payload["received"] <= payload["answered"]
            message = {"type": "CLOCK_OFFSET", "offset": -1.5, "delay": 0.01}
            assert (await talk.ask(message | {"client_id": "x"}))["reason"] == "incorrect username or password"
            assert (await talk.ask(message | {"client_id": CLIENT_ID}))["payload"] == {"stored": True}
        _, host = await answered(client.get("/hosts/wood"))
        assert (host["clock"]["offset"], host["clock"]["delay"]) == (-1.5, 0.01)

    async def test_a_message_that_is_too_long(self, with_settings: Any) -> None:
        """The connection is closed with the code that says so (RFC 6455, 1009)."""
        client = await with_settings(hosts=HostsSettings(max_message=2048))
        async with talking(client) as talk:
            await talk.say('{"type": "HELLO", "x": "' + "x" * 4096 + '"}')
            assert (await talk.socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert talk.socket.close_code == 1009

    async def test_a_client_that_sends_too_fast(self, with_settings: Any) -> None:
        """It is slowed down, and nothing of what it sends is lost."""
        client = await with_settings(hosts=HostsSettings(message_rate=100))
        await register(client)
        now = int(clock.epoch()) - 1000
        async with talking(client) as talk:
            for number in range(120):
                await talk.say({"type": "CLIENT_DATA", "data": sample(now + number), "client_id": CLIENT_ID})
            for _ in range(120):
                assert (await talk.hear())["type"] == "DATA_RETURN"

    async def test_too_many_connections(self, with_settings: Any) -> None:
        """One more than allowed is refused before the handshake, and let in when another has left."""
        client = await with_settings(hosts=HostsSettings(connections=1))
        async with talking(client):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await client.ws_connect("/echo")
            assert caught.value.status == 503

        async def free() -> bool:
            async with client.get("/metrics") as response:
                return "smartmob_hosts_connections 0.0" in await response.text()

        await until(free)
        async with talking(client):
            pass

    async def test_no_websocket(self, client: Any) -> None:
        """An ordinary request is told what is spoken here."""
        status, problem = await answered(client.get("/echo"))
        assert (status, problem["type"]) == (426, "urn:smartmob:problem:upgrade-required")

    async def test_a_foreign_page(self, client: Any) -> None:
        """A page of another site may not connect."""
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.ws_connect("/echo", headers={"Origin": "http://evil.example"})
        assert caught.value.status == 403


@asynccontextmanager
async def _by_a_proxy(settings: Any, url: str, patience: float = 60.0) -> AsyncIterator[tuple[Any, Proxy]]:
    """Give a client of a service on which `wood` has stored a sample, and the way to its database."""
    async with proxy_to(url) as proxy:
        reached = replace(settings, database=DatabaseSettings(url=proxy.url, patience=patience))
        async with running(build(reached)) as client:
            await register(client)
            async with talking(client) as talk:
                assert (await talk.send(sample()))["type"] == "DATA_RETURN"
            yield client, proxy


class TestSlowDatabase:
    """Samples whose storing takes its time."""

    async def test_the_order_of_the_answers(self, settings: Any, database_url: str) -> None:
        """What is asked while a sample is being stored is answered after it, not before."""
        async with _by_a_proxy(settings, database_url) as (client, proxy):
            now = clock.epoch()
            sent = [{"type": "CLIENT_DATA", "data": sample(now - number), "client_id": CLIENT_ID} for number in (1, 2)]
            async with talking(client) as talk:
                proxy.flowing.clear()
                for message in (sent[0], {"type": "HELLO"}, "nonsense", sent[1], {"type": "WORK_TIME"}):
                    await talk.say(message)
                hearing = asyncio.create_task(talk.hear())
                async with talking(client):  # others are not held up
                    assert not hearing.done()
                proxy.flowing.set()
                heard = [await hearing] + [await talk.hear() for _ in range(4)]
            assert [each["type"] for each in heard] == ["DATA_RETURN", "WELCOME", "ERROR", "DATA_RETURN", "WORK_TIME"]
            assert [heard[at]["payload"]["data"] for at in (0, 3)] == [message["data"] for message in sent]

    async def test_the_database_is_away(self, settings: Any, database_url: str) -> None:
        """The client is told that nothing was stored, and the connection lives on."""
        async with _by_a_proxy(settings, database_url, patience=2.0) as (client, proxy):
            async with talking(client) as talk:
                proxy.cut()
                refused = await talk.ask({"type": "CLIENT_DATA", "data": sample(), "client_id": CLIENT_ID})
                assert (refused["type"], refused["problem"]) == ("ERROR", "unavailable")
                proxy.up = True
                async with asyncio.timeout(20):
                    while (await talk.send(sample()))["type"] == "ERROR":
                        pass
            assert len(await report(client)) == 2

    async def test_a_client_that_leaves(self, settings: Any, database_url: str) -> None:
        """What it sent is stored all the same, and its answer disturbs nobody."""
        async with _by_a_proxy(settings, database_url) as (client, proxy):
            proxy.flowing.clear()
            async with talking(client) as talk:
                await talk.say({"type": "CLIENT_DATA", "data": sample(id=77), "client_id": CLIENT_ID})
            proxy.flowing.set()

            async def stored() -> bool:
                return len(await report(client)) == 2

            await until(stored)
            async with talking(client) as talk:
                assert (await talk.send(sample()))["type"] == "DATA_RETURN"


async def test_what_the_database_refuses(client: Any, database_url: str) -> None:
    """The sender is told, and the next sample is stored."""
    await register(client)
    connection = await asyncpg.connect(database_url)
    await connection.execute("ALTER TABLE host_samples ADD CONSTRAINT odd CHECK (cpu <> 77)")
    await connection.close()
    async with talking(client) as talk:
        refused = await talk.send(sample(cpu_load=77))
        assert (refused["type"], refused["problem"]) == ("ERROR", "internal")
        assert (await talk.send(sample()))["type"] == "DATA_RETURN"
    assert len(await report(client)) == 1


async def test_stop_ends_conversations(settings: Any) -> None:
    """Clients are told that the service goes away (RFC 6455, 1001), and it does not wait for them."""

    service = build(replace(settings))
    async with running(service) as client:
        async with talking(client) as talk:
            service.announce_stop()
            async with asyncio.timeout(20):
                assert (await talk.socket.receive()).type is aiohttp.WSMsgType.CLOSE
                assert talk.socket.close_code == 1001
                await service.drain(20)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.ws_connect("/echo")


_CLOSED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


class TestUnproved:
    """Clients that have not proved who they are."""

    @pytest.mark.parametrize("token", [None, "abc"])
    async def test_a_silent_client_is_disconnected(self, with_settings: Any, token: str | None) -> None:
        """One that says nothing does not keep its place, with and without a token of the service."""
        client = await with_settings(token=token, hosts=HostsSettings(prove_timeout=0.1))
        async with client.ws_connect("/echo") as socket:
            assert (await socket.receive(20)).type in _CLOSED

    async def test_a_greeting_proves_nothing_where_a_token_is_wanted(self, with_settings: Any) -> None:
        """A client that greets again and again is disconnected at its first deadline."""
        client = await with_settings(token="abc", hosts=HostsSettings(prove_timeout=0.5))
        async with talking(client) as talk, asyncio.timeout(20):
            while (await talk.socket.receive()).type not in _CLOSED:
                await talk.say({"type": "HELLO"})

    async def test_a_client_that_proved_itself_stays(self, with_settings: Any) -> None:
        """A silent newcomer takes no place of a client with a valid client_id, of a token, or of a greeted one."""
        hosts = HostsSettings(prove_timeout=1000, unproved=2, unproved_by_address=2)
        client = await with_settings(token="abc", hosts=hosts)
        token = {"headers": {"Authorization": "Bearer abc"}}
        await register(client, **token)
        async with talking(client) as machine, talking(client, **token) as watcher:
            assert (await machine.send(sample()))["type"] == "DATA_RETURN"
            silent = [await client.ws_connect("/echo") for _ in range(3)]
            assert (await silent[0].receive(20)).type in _CLOSED
            assert (await machine.send(sample()))["type"] == "DATA_RETURN"
            assert (await watcher.ask({"type": "HELLO"}))["type"] == "WELCOME"
            for socket in silent:
                await socket.close()

    async def test_a_peer_that_answers_no_ping_is_dropped(self, with_settings: Any) -> None:
        """A client that has vanished without a word is not counted as connected any more."""
        client = await with_settings(hosts=HostsSettings(heartbeat=0.1))
        async with client.ws_connect("/echo", autoping=False) as socket, asyncio.timeout(20):
            await socket.send_json({"type": "HELLO"})
            while (await socket.receive()).type not in _CLOSED:
                pass
