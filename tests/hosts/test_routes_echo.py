"""The WebSocket /echo, as existing clients and the reporting agent use it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import asyncpg
import pytest
import structlog

from smartmob.app import build
from smartmob.feature_settings import DatabaseSettings, HostsSettings
from smartmob.hosts.protocol import Echo
from smartmob.kernel.db.database import Database
from smartmob.kernel.http.json_depth import MAX_LEVELS
from smartmob.kernel.runtime import clock
from tests.conftest import running
from tests.hosts.samples import CLIENT_ID, answered, client_id, register, report, sample, talking
from tests.kernel.proxy import Proxy, proxy_to
from tests.serving import built_with_database
from tests.waiting import SECONDS, until


class TestEcho:
    """The WebSocket /echo."""

    async def test_samples_of_a_seed_client_are_answered_in_order_and_stored(self, client: Any) -> None:
        """A client that sends HELLO before each sample gets its answers in order, and the samples are stored."""
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

    async def test_an_error_does_not_end_the_connection(self, client: Any) -> None:
        """Each wrong message gets its error, and a valid sample after them is stored."""
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

    async def test_bytes_that_are_no_utf8_are_answered_and_the_connection_lives_on(self, client: Any) -> None:
        """A binary frame gets the error of the protocol wherever the bytes are; a text frame closes with 1007."""
        await register(client)
        head = b'{"type": "CLIENT_DATA", "client_id": "' + CLIENT_ID.encode() + b'", "data": {"time": 1651155333, '
        async with talking(client) as talk:
            for body in (b'"x": "\xff\xfe"}}', b'"\xed\xa0\x80": 1}}', b'"cpu": 1}, "z": "\xc3"}'):
                await talk.socket.send_bytes(head + body)
                assert await talk.hear() == {"type": "ERROR", "reason": "Data type incorrect, please use json"}
            await talk.socket.send_bytes(head + b'"cpu": 7}}')
            assert (await talk.hear())["payload"]["data"] == {"time": 1651155333, "cpu": 7}
        async with talking(client) as talk:
            await talk.socket.send_frame(b'{"type": "\xff"}', aiohttp.WSMsgType.TEXT)
            closed = await talk.socket.receive(timeout=SECONDS)
            assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.INVALID_TEXT)
        assert [row["cpu"] for row in await report(client)] == [7]

    async def test_fields_that_are_not_stored_are_told(self, client: Any) -> None:
        """Unknown fields and NaN leave the other figures; they are logged once, and named in the machine's document."""
        await register(client)
        with structlog.testing.capture_logs() as logs:
            async with talking(client) as talk:
                for _ in range(3):
                    data = {**sample(mem=5), "cpu_percent": 1, "cpu_load": float("nan")}
                    # As Python's json writes it; orjson writes null for NaN.
                    await talk.say(json.dumps({"type": "CLIENT_DATA", "data": data, "client_id": CLIENT_ID}))
                    assert "NaN" in await talk.socket.receive_str()
            async with client.get("/hosts/wood") as response:
                latest = (await response.json())["latest"]
            for _ in range(3):
                data = {"time": sample()["time"] + 1, "mem": 6, "disk": 1}
                async with client.post("/client/wood", json=data, headers={"Authorization": CLIENT_ID}) as response:
                    assert response.status == 202
                    assert response.headers["X-Unread-Fields"] == "disk"
        assert (latest["cpu"], latest["mem"], latest["unread"]) == (None, 5, ["cpu_percent", "cpu_load"])
        told = [event["fields"] for event in logs if event["event"] == "hosts.fields_unread"]
        assert told == [["cpu_load", "cpu_percent"], ["disk"]]

    async def test_json_that_is_nested_too_deeply_is_refused(self, client: Any) -> None:
        """It is answered as a message that is not JSON, one level less is accepted, and the connection stays open."""
        async with client.ws_connect("/echo") as socket:
            for levels, answer in ((MAX_LEVELS, "ERROR"), (MAX_LEVELS - 1, "WELCOME")):
                await socket.send_str('{"type": "HELLO", "more": ' + "[" * levels + "]" * levels + "}")
                assert (await socket.receive_json())["type"] == answer

    async def test_a_removed_machine_is_not_authenticated_any_more(self, client: Any) -> None:
        """A connection is authenticated only as long as the machine exists, and only for the client id that it sent."""
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

    async def test_messages_sent_without_waiting_are_answered_in_order(self, client: Any) -> None:
        """A client that does not wait for answers gets all of them, in order."""
        await register(client)
        now = int(clock.epoch()) - 1000
        async with talking(client) as talk:
            for number in range(300):
                await talk.say({"type": "CLIENT_DATA", "data": sample(now + number), "client_id": CLIENT_ID})
            times = [(await talk.hear())["payload"]["data"]["time"] for _ in range(300)]
        assert times == list(range(now, now + 300))
        assert len(await report(client)) == 300

    async def test_events_come_at_once_and_each_interval_until_unsubscribed(self, client: Any) -> None:
        """The first event comes at once, others each interval until the end; ids belong to the connection."""
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

    async def test_a_closed_connection_leaves_no_subscription(self, client: Any) -> None:
        """A connection leaves no subscription behind, however it ends."""

        async def subscribers() -> bool:
            async with client.get("/metrics") as response:
                return "smartmob_hosts_watchers 0.0" in await response.text()

        for abrupt in (False, True):
            async with talking(client) as talk:
                await talk.ask({"type": "SUBSCRIBE", "request_id": 1, "data": ["CPU"], "interval": 0.1})
                assert not await subscribers()
                if abrupt:
                    talk.socket._response.connection.transport.abort()
            await until(subscribers)

    async def test_backfill_is_stored_once(self, client: Any) -> None:
        """Samples that are sent twice are recognised by their ids; invalid ones are reported."""
        await register(client)
        now = int(clock.epoch()) - 1000
        samples = [sample(now + number, id=number) for number in range(50)] + [sample(5, id=1)]
        async with talking(client) as talk:
            for _ in range(2):
                answer = await talk.ask({"type": "BACKFILL", "samples": samples, "client_id": CLIENT_ID})
                assert (answer["payload"]["stored"], len(answer["payload"]["refused"])) == (50, 1)
            assert (await talk.ask({"type": "BACKFILL", "samples": samples, "client_id": "x"}))["type"] == "ERROR"
        assert len(await report(client)) == 50

    async def test_a_clock_offset_is_shown_with_the_machine(self, client: Any) -> None:
        """After an exchange of timestamps the measured offset is shown with the machine."""
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

    async def test_a_message_that_is_too_long_closes_the_connection(self, with_settings: Any) -> None:
        """The connection is closed with code 1009 (RFC 6455)."""
        client = await with_settings(hosts=HostsSettings(max_message=2048))
        async with talking(client) as talk:
            await talk.say('{"type": "HELLO", "x": "' + "x" * 4096 + '"}')
            assert (await talk.socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert talk.socket.close_code == 1009

    async def test_a_client_that_sends_too_fast_is_slowed_down(self, with_settings: Any) -> None:
        """It is read more slowly, and no message is lost or overtakes another."""
        client = await with_settings(hosts=HostsSettings(message_rate=100))
        await register(client)
        now = int(clock.epoch()) - 1000
        async with talking(client) as talk:
            for number in range(120):
                await talk.say({"type": "CLIENT_DATA", "data": sample(now + number), "client_id": CLIENT_ID})
            times = [(await talk.hear())["payload"]["data"]["time"] for _ in range(120)]
        assert times == list(range(now, now + 120))

    async def test_a_connection_above_the_limit_is_refused(self, with_settings: Any) -> None:
        """It is refused before the handshake, and accepted when another connection was closed."""
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

    async def test_an_ordinary_request_is_asked_to_upgrade(self, client: Any) -> None:
        """A request without a WebSocket handshake gets 426."""
        status, problem = await answered(client.get("/echo"))
        assert (status, problem["type"]) == (426, "urn:smartmob:problem:upgrade-required")

    async def test_a_page_of_another_site_may_not_connect(self, client: Any) -> None:
        """A handshake with a foreign Origin is refused."""
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.ws_connect("/echo", headers={"Origin": "http://evil.example"})
        assert caught.value.status == 403


@asynccontextmanager
async def _by_a_proxy(settings: Any, url: str) -> AsyncIterator[tuple[Any, Proxy, Database]]:
    """Give a client of a service on which `wood` has stored a sample, and the way to its database."""
    async with proxy_to(url) as proxy:
        reached = replace(settings, database=DatabaseSettings(url=proxy.url, patience=60.0))
        service, database = built_with_database(reached)
        async with running(service) as client:
            await register(client)
            async with talking(client) as talk:
                assert (await talk.send(sample()))["type"] == "DATA_RETURN"
            yield client, proxy, database


class TestSlowDatabase:
    """Samples that are stored slowly or not at all."""

    async def test_a_message_waits_for_the_answer_of_the_sample_before(self, settings: Any, database_url: str) -> None:
        """A message that comes while a sample is being stored is answered after it."""
        async with _by_a_proxy(settings, database_url) as (client, proxy, _):
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

    async def test_a_message_waits_while_a_client_id_is_verified(self, settings: Any, database_url: str) -> None:
        """A message that needs no database is not answered before one that waits for it."""
        async with _by_a_proxy(settings, database_url) as (client, proxy, _), talking(client) as talk:
            assert (await talk.send(sample()))["type"] == "DATA_RETURN"
            proxy.flowing.clear()
            await talk.say({"type": "CLIENT_DATA", "data": sample(), "client_id": client_id("other")})
            async with talking(client):  # so the service waits for the database now
                await talk.say({"type": "HELLO"})
            proxy.flowing.set()
            assert [(await talk.hear())["type"] for _ in range(2)] == ["ERROR", "WELCOME"]

    async def test_a_sample_without_database_is_reported_as_not_stored(self, settings: Any, database_url: str) -> None:
        """The client gets an error, and the connection stays open."""
        async with _by_a_proxy(settings, database_url) as (client, proxy, database):
            async with talking(client) as talk:
                proxy.cut()
                database.patience = 2.0
                refused = await talk.ask({"type": "CLIENT_DATA", "data": sample(), "client_id": CLIENT_ID})
                assert (refused["type"], refused["problem"]) == ("ERROR", "unavailable")
                proxy.up, database.patience = True, 60.0
                async with asyncio.timeout(SECONDS):
                    while (await talk.send(sample()))["type"] == "ERROR":
                        pass
            assert len(await report(client)) == 2

    async def test_a_sample_is_stored_although_its_client_has_left(self, settings: Any, database_url: str) -> None:
        """The sample is stored, and its answer is dropped silently."""
        async with _by_a_proxy(settings, database_url) as (client, proxy, _):
            proxy.flowing.clear()
            async with talking(client) as talk:
                await talk.say({"type": "CLIENT_DATA", "data": sample(id=77), "client_id": CLIENT_ID})
            proxy.flowing.set()

            async def stored() -> bool:
                return len(await report(client)) == 2

            await until(stored)
            async with talking(client) as talk:
                assert (await talk.send(sample()))["type"] == "DATA_RETURN"


async def test_a_sample_that_the_database_refuses_is_reported(client: Any, database_url: str) -> None:
    """The sender gets an error, and the next sample is stored."""
    await register(client)
    connection = await asyncpg.connect(database_url)
    await connection.execute("ALTER TABLE host_samples ADD CONSTRAINT odd CHECK (cpu <> 77)")
    await connection.close()
    async with talking(client) as talk:
        refused = await talk.send(sample(cpu_load=77))
        assert (refused["type"], refused["problem"]) == ("ERROR", "internal")
        assert (await talk.send(sample()))["type"] == "DATA_RETURN"
    assert len(await report(client)) == 1


async def test_a_fault_of_the_service_closes_the_connection_and_is_logged(client: Any, monkeypatch: Any) -> None:
    """An unexpected error while a sample is handled is logged with its traceback, and the client gets the code 1011."""
    await register(client)
    with structlog.testing.capture_logs() as logged:
        async with talking(client) as talk:
            assert (await talk.send(sample()))["type"] == "DATA_RETURN"
            monkeypatch.setattr(Echo, "handle", lambda *_: [][0])
            await talk.say({"type": "HELLO"})
            assert (await talk.socket.receive(SECONDS)).type is aiohttp.WSMsgType.CLOSE
            assert talk.socket.close_code == 1011
        await until(lambda: any("exc_info" in entry for entry in logged))
    assert [type(entry["exc_info"]) for entry in logged if "exc_info" in entry] == [IndexError]


async def test_stopping_closes_all_connections(settings: Any) -> None:
    """Clients get the close code 1001 (RFC 6455), and the service does not wait for them."""

    service = build(replace(settings))
    async with running(service) as client:
        async with talking(client) as talk:
            service.announce_stop()
            async with asyncio.timeout(SECONDS):
                assert (await talk.socket.receive()).type is aiohttp.WSMsgType.CLOSE
                assert talk.socket.close_code == 1001
                await service.drain(20)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.ws_connect("/echo")


_CLOSED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


class TestUnproved:
    """Clients that have not authenticated."""

    @pytest.mark.parametrize("token", [None, "abc"])
    async def test_a_silent_client_is_disconnected(self, with_settings: Any, token: str | None) -> None:
        """A client that sends nothing is disconnected, with and without a token of the service."""
        client = await with_settings(token=token, hosts=HostsSettings(prove_timeout=0.1))
        async with client.ws_connect("/echo") as socket:
            assert (await socket.receive(20)).type in _CLOSED

    async def test_hello_does_not_authenticate_where_a_token_is_required(self, with_settings: Any) -> None:
        """A client that sends HELLO again and again is disconnected at its first deadline."""
        client = await with_settings(token="abc", hosts=HostsSettings(prove_timeout=0.5))
        async with talking(client) as talk, asyncio.timeout(SECONDS):
            while (await talk.socket.receive()).type not in _CLOSED:
                await talk.say({"type": "HELLO"})

    async def test_an_authenticated_client_is_not_displaced(self, with_settings: Any) -> None:
        """A silent new client does not displace one with a client id or a token, or with HELLO where that is enough."""
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

    async def test_a_peer_that_answers_no_ping_is_disconnected(self, with_settings: Any) -> None:
        """A client that has vanished is not counted as connected any more."""
        client = await with_settings(hosts=HostsSettings(heartbeat=0.1))
        async with client.ws_connect("/echo", autoping=False) as socket, asyncio.timeout(SECONDS):
            await socket.send_json({"type": "HELLO"})
            while (await socket.receive()).type not in _CLOSED:
                pass
