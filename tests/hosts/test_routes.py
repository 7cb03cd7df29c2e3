"""The routes of the room over HTTP and WebSocket, as existing clients and others use them."""

from __future__ import annotations

import asyncio
import csv
import io
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest
from yarl import URL

from smartmob import __version__
from smartmob.app import build
from smartmob.kernel import clock
from smartmob.settings import HostsSettings
from tests.conftest import running
from tests.hosts.samples import CLIENT_ID, client_id, register, report, sample, talking
from tests.waiting import until

SEED = {"cpu_load": 25.9, "mem": 6172, "storage": 95888, "time": 1646650624}
AUTH = {"Authorization": CLIENT_ID}
TOKEN = {"Authorization": "Bearer abc"}
UNAUTHORIZED = (401, {"error": "authorization error"})


async def _answer(response: Any) -> tuple[int, Any]:
    async with response as answer:
        return answer.status, await answer.json(content_type=None)


def _path(name: str) -> URL:
    return URL(f"/client/{quote(name, safe='')}", encoded=True)


class TestRegistration:
    """POST /client."""

    @pytest.mark.parametrize(("path", "key"), [("/client", "pass"), ("/client/", "password")])
    async def test_the_seeds(self, client: Any, path: str, key: str) -> None:
        """A new name gets an id and hears its name; the second time it gets the id alone."""
        document = {"username": "wood", key: "123"}
        assert await _answer(client.post(path, json=document)) == (
            *(200, {"client_id": "d29vZDoxMjM=", "registration": "wood"}),
        )
        assert await _answer(client.post(path, json=document)) == (200, {"client_id": "d29vZDoxMjM="})

    async def test_a_wrong_password(self, client: Any) -> None:
        """A name that is known has its one password."""
        await register(client)
        assert await _answer(client.post("/client", json={"username": "wood", "pass": "asd"})) == UNAUTHORIZED

    async def test_names_that_are_none(self, client: Any) -> None:
        """What is empty, does not begin with a letter or could not be told from its password is refused."""
        for name in ("", "123", " wood", "a:b", "a\nb", "-"):
            answer = await _answer(client.post("/client", json={"username": name, "pass": "x"}))
            assert answer == (401, {"error": "unsupportable username"}), name

    async def test_other_forms(self, client: Any) -> None:
        """A form is as good as JSON, and JSON needs no Content-Type: `curl --data` says that it is a form."""
        assert (await client.post("/client", data={"username": "a", "password": "x"})).status == 200
        body = b'{"username": "b", "password": "x"}'
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await client.post("/client", data=body, headers=headers)).status == 200

    async def test_what_does_not_fit(self, client: Any) -> None:
        """It is said what is missing, in the shape that the clients read."""
        for body in (
            *(b"", b"{", b"[]", b"{}", b'{"username": 5, "pass": "x"}', b'{"username": "a"}', b"\xff=\xff", b"a=%00"),
            *(b'{"username": "a", "pass": ""}', b'{"username": "a", "pass": "\\u0000"}'),
            b'{"username": "a", "pass": null}',
        ):
            status, document = await _answer(client.post("/client", data=body))
            assert (status, list(document)) == (400, ["error"]), body

    async def test_other_methods(self, client: Any) -> None:
        """They are not offered."""
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            for path in ("/client", "/client/wood"):
                assert (await client.request(method, path)).status == 405

    async def test_the_password_is_not_stored(self, client: Any, database: Any) -> None:
        """What is in the database does not help to log in."""
        await register(client, password="hunter2hunter2")
        row = await database.fetchrow("SELECT * FROM hosts WHERE name = 'wood'")
        assert b"hunter2" not in b"".join(value for value in row.values() if isinstance(value, bytes))
        assert len(row["salt"]) == 16
        assert len(row["secret"]) == 32


class TestClosedRegistration:
    """Registration needs the token of the service where it has one, and can be closed or opened."""

    async def test_with_a_token(self, with_settings: Any) -> None:
        """Nobody registers without it; who is registered goes on without it."""
        client = await with_settings(token="abc")
        status, document = await _answer(client.post("/client", json={"username": "wood", "pass": "123"}))
        assert status == 403
        assert "token" in document["error"]
        await register(client, headers=TOKEN)
        assert await register(client) == CLIENT_ID
        assert (await client.post("/client/wood", data=sample(), headers=AUTH)).status == 202
        assert len(await report(client)) == 1
        async with talking(client) as talk:
            assert (await talk.send(sample()))["type"] == "DATA_RETURN"

    async def test_the_rest_needs_it(self, with_settings: Any) -> None:
        """A machine's id opens nothing but its own routes, and the token opens every one."""
        client = await with_settings(token="abc")
        await register(client, headers=TOKEN)
        for path in (
            "/hosts/",
            "/hosts/wood",
            "/hosts/wood/samples",
            "/monitor/cpu/load",
            "/api/monitor/cpu/load",
            "/api",
        ):
            assert (await client.get(path, headers=AUTH)).status == 401
            assert (await client.get(path, headers=TOKEN)).status == 200
        basic = {"Authorization": f"Basic {client_id('ci', 'abc')}"}
        for headers in (TOKEN, basic):
            assert (await client.post("/client/wood", data=sample(), headers=headers)).status == 202
            assert (await client.get("/client/wood/time", headers=headers)).status == 200
        assert (await client.get("/client/nobody/time", headers=TOKEN)).status == 404

    async def test_watching_needs_it(self, with_settings: Any) -> None:
        """A stranger is told nothing of the machine's load; who has proven to be a machine is."""
        client = await with_settings(token="abc")
        await register(client, headers=TOKEN)
        wish = {"type": "SUBSCRIBE", "request_id": "1", "data": ["CPU"], "interval": 1}
        refusal = {"type": "ERROR", "reason": "incorrect username or password"}
        async with talking(client) as talk:
            assert await talk.ask(wish) == refusal
            assert await talk.ask(wish | {"client_id": "x"}) == refusal
            assert (await talk.ask(wish | {"client_id": CLIENT_ID}))["type"] == "SUBSCRIBED"
        async with talking(client) as talk:
            await talk.send(sample())
            assert (await talk.ask(wish))["type"] == "SUBSCRIBED"
        async with talking(client, headers=TOKEN) as talk:
            assert (await talk.ask(wish))["type"] == "SUBSCRIBED"

    async def test_an_open_monitor(self, with_settings: Any) -> None:
        """Existing clients that only look can be let in."""
        client = await with_settings(token="abc", hosts=HostsSettings(open_monitor=True))
        assert (await client.get("/monitor/cpu/load")).status == 200
        async with talking(client) as talk:
            wish = {"type": "SUBSCRIBE", "request_id": "1", "data": ["CPU"], "interval": 1}
            assert (await talk.ask(wish))["type"] == "SUBSCRIBED"
        assert (await client.get("/hosts/")).status == 401

    @pytest.mark.parametrize("opened", [False, True])
    async def test_closed_and_open(self, with_settings: Any, opened: bool) -> None:
        """A setting closes it without a token and opens it with one."""
        client = await with_settings(registration=opened, token="abc" if opened else None)
        status = (await client.post("/client", json={"username": "wood", "pass": "123"})).status
        assert status == (200 if opened else 403)


class TestSamples:
    """POST /client/{username}."""

    @pytest.mark.parametrize(("header", "kind"), [(CLIENT_ID, "data"), (f"Basic {CLIENT_ID}", "json")])
    async def test_the_seeds(self, client: Any, header: str, kind: str) -> None:
        """A form and JSON, a bare id and HTTP Basic: it is stored, and returned as numbers."""
        await register(client)
        headers = {"Authorization": header}
        assert await _answer(client.post("/client/wood", **{kind: SEED}, headers=headers)) == (202, SEED)
        assert await _answer(client.get("/client/wood/time", headers=headers)) == (
            *(200, {"end": 1646650624, "start": 1646650624}),
        )
        assert await report(client) == [{"cpu": 25.9, "mem": 6172, "storage": 95888, "unix_time": 1646650624}]

    async def test_any_but_the_time_may_be_missing(self, client: Any) -> None:
        """What was not sent is null in the report."""
        await register(client)
        now = int(clock.epoch())
        assert (await client.post("/client/wood", data={"cpu": 1.5, "unix_time": now}, headers=AUTH)).status == 202
        assert await report(client) == [{"cpu": 1.5, "mem": None, "storage": None, "unix_time": now}]
        status, document = await _answer(client.post("/client/wood", data={"cpu": 1.5}, headers=AUTH))
        assert (status, list(document)) == (400, ["error"])
        assert "time" in document["error"]

    async def test_nothing(self, client: Any) -> None:
        """Empty data has the seed's error."""
        await register(client)
        for body in (b"", b"{}", b" { } ", b"null", b"[]"):
            for headers in (AUTH, AUTH | {"Content-Type": "application/json"}):
                answer = await _answer(client.post("/client/wood", data=body, headers=headers))
                assert answer == (400, {"error": "incorrect data size"}), body

    async def test_what_does_not_fit(self, client: Any) -> None:
        """It is said why, nothing is stored, and the next sample is taken as if nothing had been."""
        await register(client)
        for change, words in (
            ({"mem": "x"}, "value error"),
            ({"mem": "nan"}, "mem"),
            ({"cpu_load": -1}, "cpu"),
            ({"time": 1e12}, "in the future"),
            ({"time": 10}, "in the past"),
            ({"time": "soon"}, "value error"),
        ):
            for kind in ("data", "json"):
                answer = client.post("/client/wood", **{kind: sample() | change}, headers=AUTH)
                status, document = await _answer(answer)
                assert (status, list(document)) == (400, ["error"]), change
                assert words in document["error"] or kind == "json"
        assert (await client.post("/client/wood", json=sample(), headers=AUTH)).status == 202
        assert len(await report(client)) == 1

    async def test_who_is_not_that_machine(self, client: Any) -> None:
        """No id, a wrong one, and the id of another machine."""
        await register(client)
        await register(client, "other")
        for header in (None, "", "Basic afgjn123", client_id("wood", "124"), client_id("other"), "Bearer x"):
            headers = {} if header is None else {"Authorization": header}
            for method, path in (
                *(("POST", "/client/wood"), ("GET", "/client/wood/time"), ("POST", "/client/wood/time")),
                *(
                    ("GET", "/client/wood/time/report"),
                    ("POST", "/client/wood/time/report"),
                    ("POST", "/client/nobody"),
                ),
            ):
                data = sample() if path.count("/") == 2 else None
                assert await _answer(client.request(method, path, data=data, headers=headers)) == UNAUTHORIZED

    async def test_odd_names(self, client: Any) -> None:
        """A machine of any name has its own samples, and only those."""
        await register(client, "a")
        for name in ("rack7.lab", "a/b", "a/time", "a b", "ünï", "机器", "a?b#c", "a%2Fb", "a+b&c=d", "a..", "a\\b"):
            headers = {"Authorization": await register(client, name)}
            assert (await client.post(_path(name), data=sample(cpu_load=7), headers=headers)).status == 202
            async with client.get(URL(f"{_path(name)}/time/report", encoded=True), headers=headers) as response:
                assert [row["cpu"] for row in (await response.json())["payload"]] == [7]
            async with client.get(URL(f"/hosts/{quote(name, safe='')}", encoded=True)) as response:
                assert (await response.json())["name"] == name
        assert await report(client, "a", client_id("a")) == []


class TestReports:
    """The span that was stored, and what is in it."""

    async def test_nothing_stored(self, client: Any) -> None:
        """The log is empty, a report too."""
        await register(client)
        for method in ("GET", "POST"):
            answer = await _answer(client.request(method, "/client/wood/time", headers=AUTH))
            assert answer == (406, {"error": "log is empty"})
        assert await report(client) == []

    async def test_a_span(self, client: Any) -> None:
        """Both ends are included, empty ones are open, and the order is that of time, by GET and by POST."""
        await register(client)
        now = int(clock.epoch()) - 100
        for second in (2, 0, 3, 1):
            await client.post("/client/wood", data=sample(now + second, cpu_load=second), headers=AUTH)
        for query, seconds in (
            ({"start": now + 1, "end": now + 2}, [1, 2]),
            ({"start": "", "end": ""}, [0, 1, 2, 3]),
            ({}, [0, 1, 2, 3]),
            ({"start": now + 2}, [2, 3]),
            ({"end": f"{now}.5"}, [0]),
            ({"start": now + 3, "end": now}, []),
        ):
            for method in ("GET", "POST"):
                path = URL("/client/wood/time/report").with_query(query)
                status, document = await _answer(client.request(method, path, headers=AUTH))
                assert (status, [row["cpu"] for row in document["payload"]]) == (200, seconds)

    async def test_bounds_that_are_no_numbers(self, client: Any) -> None:
        """They have the seed's error."""
        await register(client)
        for query in ("start=a", "end=b", "start=badargument&end=badargumenttwo", "start=1e400", "end=nan"):
            answer = await _answer(client.get(f"/client/wood/time/report?{query}", headers=AUTH))
            assert answer == (400, {"error": "value error"})


class TestMonitor:
    """The load of the service's own machine."""

    @pytest.mark.parametrize("prefix", ["", "/api"])
    async def test_shapes(self, client: Any, prefix: str) -> None:
        """Every address answers in the shape of the seed, below both prefixes."""

        async def get(path: str) -> dict[str, Any]:
            status, document = await _answer(client.get(f"{prefix}/monitor/{path}"))
            assert status == 200
            return dict(document)

        assert 0 <= (await get("cpu/load"))["load"] <= 100
        assert list(await get("cpu/info")) == ["physical cores count", "logical cores count", "cores frequency"]
        memory = await get("memory/info?units=MB")
        assert sorted(memory) == [
            *("active", "available", "buffers", "cached", "free", "inactive", "percent", "shared", "slab", "total"),
            "used",
        ]
        assert all(isinstance(value, int) for name, value in memory.items() if name != "percent")
        assert await get("memory/total?units=MB") == {"total": memory["total"], "units": "MB"}
        storage = await get("storage/info")
        assert (list(storage), storage["units"]) == (["total", "used", "percent", "free", "units"], "GB")
        assert await get("storage/total") == {name: storage[name] for name in ("total", "used", "units")}

    async def test_units(self, client: Any) -> None:
        """Each is 1,024 of the one before, rounded down; others are refused."""
        totals = [
            (await _answer(client.get(f"/monitor/memory/total?units={units}")))[1]["total"]
            for units in ("B", "KB", "MB", "GB", "TB")
        ]
        assert [total // 1024 for total in totals[:-1]] == totals[1:]
        for path in ("memory/info", "memory/total", "storage/info", "storage/total"):
            for units in ("PB", "gb", ""):
                status, problem = await _answer(client.get(f"/monitor/{path}?units={units}"))
                assert status == 400
                assert "Bad units provided" in problem["detail"]

    async def test_about(self, client: Any) -> None:
        """What answers, and since when it works."""
        for path in ("/api", "/api/"):
            assert await _answer(client.get(path)) == (200, {"name": "system monitor", "version": __version__})
        _, document = await _answer(client.get("/api/start_time"))
        assert document["type"] == "WORK_TIME"
        assert list(document["payload"]) == ["start_work", "actual_time"]

    async def test_prometheus_and_the_file(self, client: Any, settings: Any) -> None:
        """The same figures are told to Prometheus, and written to the file each second."""
        async with client.get("/metrics") as response:
            text = await response.text()
        assert "smartmob_host_cpu_percent " in text
        assert 'smartmob_writer_rows_total{writer="hosts"}' in text
        file = settings.data_dir / "server_system_load.csv"
        await until(lambda: file.exists() and len(file.read_text().splitlines()) > 1)


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
        _, host = await _answer(client.get("/hosts/wood"))
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
        status, problem = await _answer(client.get("/echo"))
        assert (status, problem["type"]) == (426, "urn:smartmob:problem:upgrade-required")

    async def test_a_foreign_page(self, client: Any) -> None:
        """A page of another site may not connect."""
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.ws_connect("/echo", headers={"Origin": "http://evil.example"})
        assert caught.value.status == 403


class TestHistory:
    """GET /hosts/."""

    async def _fill(self, client: Any, seconds: int = 100) -> int:
        await register(client)
        now = int(clock.epoch()) - 2 * seconds
        samples = [sample(now + second, cpu_load=second, id=second) for second in range(seconds)]
        async with talking(client) as talk:
            await talk.ask({"type": "BACKFILL", "samples": samples, "client_id": CLIENT_ID})
        return now

    async def test_machines(self, client: Any) -> None:
        """All of them in the order of their names, the service's own among them, page by page."""
        names = [f"rack{number}" for number in range(5)]
        for name in names:
            await register(client, name)
        _, everything = await _answer(client.get("/hosts/"))
        assert sorted(host["name"] for host in everything["hosts"] if not host["own"]) == names
        assert len([host for host in everything["hosts"] if host["own"]]) == 1
        found, path = [], "/hosts?limit=2"
        while path is not None:
            _, page = await _answer(client.get(path))
            found += [host["name"] for host in page["hosts"]]
            path = page.get("next_url")
        assert found == [host["name"] for host in everything["hosts"]]

    async def test_raw_samples(self, client: Any) -> None:
        """Where they fit, the samples themselves."""
        now = await self._fill(client)
        _, history = await _answer(client.get(f"/hosts/wood/samples?from={now + 10}&to={now + 20}"))
        assert (history["host"], history["width"], len(history["points"])) == ("wood", 0, 10)
        assert history["points"][0]["cpu"] == {"min": 10, "avg": 10, "max": 10}
        assert history["points"][0]["load"] is None

    async def test_buckets(self, client: Any) -> None:
        """Otherwise at most so many points, in which no sample is missing and none counted twice."""
        now = await self._fill(client)
        for points in (1, 7, 20, 99):
            path = f"/hosts/wood/samples?from={now}&to={now + 100}&points={points}"
            _, history = await _answer(client.get(path))
            assert 1 <= len(history["points"]) <= points or points == 1
            assert sum(point["samples"] for point in history["points"]) == 100
            assert history["width"] == history["points"][0]["width"] > 0
            assert min(point["cpu"]["min"] for point in history["points"]) == 0
            assert max(point["cpu"]["max"] for point in history["points"]) == 99

    async def test_other_forms(self, client: Any) -> None:
        """NDJSON and CSV by Accept: all samples, or points where a number is given."""
        now = await self._fill(client)
        path = f"/hosts/wood/samples?from={now}&to={now + 100}"
        async with client.get(path, headers={"Accept": "application/x-ndjson"}) as response:
            lines = [orjson.loads(line) for line in (await response.read()).splitlines()]
        assert [line["cpu"]["avg"] for line in lines] == list(range(100))
        async with client.get(f"{path}&points=5", headers={"Accept": "text/csv"}) as response:
            assert response.content_type == "text/csv"
            rows = list(csv.DictReader(io.StringIO(await response.text())))
        assert len(rows) <= 5
        assert sum(int(row["samples"]) for row in rows) == 100
        assert rows[0]["load_avg"] == ""

    async def test_what_does_not_fit(self, client: Any) -> None:
        """It is 400 with the name of the argument."""
        await register(client)
        for query in (
            *("from=x", "to=2026-01-01T00:00:00", "from=5&to=5", "from=6&to=5", "points=0", "points=x"),
            "points=1000000",
        ):
            status, problem = await _answer(client.get(f"/hosts/wood/samples?{query}"))
            assert status == 400
            assert problem["errors"][0]["where"] in query

    async def test_unknown(self, client: Any) -> None:
        """A machine that nobody knows is 404 everywhere."""
        for method, path in (("GET", "/hosts/x"), ("GET", "/hosts/x/samples"), ("DELETE", "/hosts/x")):
            assert (await _answer(client.request(method, path)))[0] == 404
        assert (await _answer(client.get("/hosts/?after=zzz")))[0] == 400

    async def test_removal(self, client: Any) -> None:
        """A machine goes with its samples, and cannot log in any more."""
        await self._fill(client)
        assert await _answer(client.delete("/hosts/wood")) == (200, {"host": "wood"})
        assert await _answer(client.post("/client/wood", data=sample(), headers=AUTH)) == UNAUTHORIZED
        await register(client)
        assert await report(client) == []


async def test_stop_ends_conversations(settings: Any) -> None:
    """Clients are told that the service goes away (RFC 6455, 1001), and it does not wait for them."""

    service = build(replace(settings))
    async with running(service) as client:
        async with talking(client) as talk:
            service.stopping()
            async with asyncio.timeout(20):
                assert (await talk.socket.receive()).type is aiohttp.WSMsgType.CLOSE
                assert talk.socket.close_code == 1001
                await service.finish(20)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.ws_connect("/echo")
