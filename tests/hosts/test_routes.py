"""The routes below /client, as the clients of flask-system-monitor use them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from smartmob.feature_settings import HostsSettings
from smartmob.kernel.runtime import clock
from tests.hosts.samples import CLIENT_ID, answered, client_id, register, report, sample, talking

SEED = {"cpu_load": 25.9, "mem": 6172, "storage": 95888, "time": 1646650624}
AUTH = {"Authorization": CLIENT_ID}
TOKEN = {"Authorization": "Bearer abc"}
UNAUTHORIZED = (401, {"error": "authorization error"})


def _path(name: str) -> URL:
    return URL(f"/client/{quote(name, safe='')}", encoded=True)


class TestRegistration:
    """POST /client."""

    @pytest.mark.parametrize(("path", "key"), [("/client", "pass"), ("/client/", "password")])
    async def test_a_name_gets_its_client_id(self, client: Any, path: str, key: str) -> None:
        """A new name gets a client id and its name; the second time it gets the client id alone."""
        document = {"username": "wood", key: "123"}
        assert await answered(client.post(path, json=document)) == (
            *(200, {"client_id": "d29vZDoxMjM=", "registration": "wood"}),
        )
        assert await answered(client.post(path, json=document)) == (200, {"client_id": "d29vZDoxMjM="})

    async def test_a_wrong_password_is_refused(self, client: Any) -> None:
        """A registered name has one password."""
        await register(client)
        assert await answered(client.post("/client", json={"username": "wood", "pass": "asd"})) == UNAUTHORIZED

    async def test_an_invalid_name_is_refused(self, client: Any) -> None:
        """Names that are empty, do not begin with a letter or contain a colon are refused."""
        for name in ("", "123", " wood", "a:b", "a\nb", "-"):
            answer = await answered(client.post("/client", json={"username": name, "pass": "x"}))
            assert answer == (401, {"error": "unsupportable username"}), name

    async def test_a_form_and_json_are_accepted(self, client: Any) -> None:
        """JSON is accepted without its Content-Type: `curl --data` sends that of a form."""
        assert (await client.post("/client", data={"username": "a", "password": "x"})).status == 200
        body = b'{"username": "b", "password": "x"}'
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await client.post("/client", data=body, headers=headers)).status == 200

    async def test_invalid_credentials_are_refused_with_a_reason(self, client: Any) -> None:
        """The error names what is missing, in the form of the seed."""
        for body in (
            *(b"", b"{", b"[]", b"{}", b'{"username": 5, "pass": "x"}', b'{"username": "a"}', b"\xff=\xff", b"a=%00"),
            *(b'{"username": "a", "pass": ""}', b'{"username": "a", "pass": "\\u0000"}'),
            b'{"username": "a", "pass": null}',
        ):
            status, document = await answered(client.post("/client", data=body))
            assert (status, list(document)) == (400, ["error"]), body

    async def test_other_methods_are_not_allowed(self, client: Any) -> None:
        """They get 405."""
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            for path in ("/client", "/client/wood"):
                assert (await client.request(method, path)).status == 405

    async def test_the_password_is_not_stored(self, client: Any, database: Any) -> None:
        """The columns of the database do not contain the password or the client id."""
        await register(client, password="hunter2hunter2")
        row = await database.fetchrow("SELECT * FROM hosts WHERE name = 'wood'")
        assert b"hunter2" not in b"".join(value for value in row.values() if isinstance(value, bytes))
        assert len(row["salt"]) == 16
        assert len(row["secret"]) == 32


class TestClosedRegistration:
    """Registration needs the token of the service where there is one, and can be closed or opened."""

    async def test_registration_needs_the_token(self, with_settings: Any) -> None:
        """Without the token registration is refused; registered machines do not need it."""
        client = await with_settings(token="abc")
        assert await answered(client.post("/client", json={"username": "wood", "pass": "123"})) == UNAUTHORIZED
        await register(client, headers=TOKEN)
        assert await register(client) == CLIENT_ID
        assert (await client.post("/client/wood", data=sample(), headers=AUTH)).status == 202
        assert len(await report(client)) == 1
        async with talking(client) as talk:
            assert (await talk.send(sample()))["type"] == "DATA_RETURN"

    async def test_a_client_id_opens_its_own_routes_only(self, with_settings: Any) -> None:
        """The client id of a machine opens its own routes; the token opens all."""
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

    async def test_subscriptions_need_the_token_or_a_client_id(self, with_settings: Any) -> None:
        """A client without either gets no load; one with the client id of a machine does."""
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

    async def test_an_open_monitor_needs_no_token(self, with_settings: Any) -> None:
        """With the setting, existing clients can read the load without authentication."""
        client = await with_settings(token="abc", hosts=HostsSettings(open_monitor=True))
        assert (await client.get("/monitor/cpu/load")).status == 200
        async with talking(client) as talk:
            wish = {"type": "SUBSCRIBE", "request_id": "1", "data": ["CPU"], "interval": 1}
            assert (await talk.ask(wish))["type"] == "SUBSCRIBED"
        assert (await client.get("/hosts/")).status == 401

    @pytest.mark.parametrize("opened", [False, True])
    async def test_a_setting_opens_or_closes_registration(self, with_settings: Any, opened: bool) -> None:
        """It closes registration without a token and opens it with one."""
        client = await with_settings(registration=opened, token="abc" if opened else None)
        status = (await client.post("/client", json={"username": "wood", "pass": "123"})).status
        assert status == (200 if opened else 401)


class TestSamples:
    """POST /client/{username}."""

    @pytest.mark.parametrize(("header", "kind"), [(CLIENT_ID, "data"), (f"Basic {CLIENT_ID}", "json")])
    async def test_a_sample_is_stored_and_returned_as_numbers(self, client: Any, header: str, kind: str) -> None:
        """As a form and as JSON, with a client id alone and with HTTP Basic."""
        await register(client)
        headers = {"Authorization": header}
        assert await answered(client.post("/client/wood", **{kind: SEED}, headers=headers)) == (202, SEED)
        assert await answered(client.get("/client/wood/time", headers=headers)) == (
            *(200, {"end": 1646650624, "start": 1646650624}),
        )
        assert await report(client) == [{"cpu": 25.9, "mem": 6172, "storage": 95888, "unix_time": 1646650624}]

    async def test_only_the_time_is_required(self, client: Any) -> None:
        """Missing values are null in the report."""
        await register(client)
        now = int(clock.epoch())
        assert (await client.post("/client/wood", data={"cpu": 1.5, "unix_time": now}, headers=AUTH)).status == 202
        assert await report(client) == [{"cpu": 1.5, "mem": None, "storage": None, "unix_time": now}]
        status, document = await answered(client.post("/client/wood", data={"cpu": 1.5}, headers=AUTH))
        assert (status, list(document)) == (400, ["error"])
        assert "time" in document["error"]

    async def test_empty_data_has_the_error_of_the_seed(self, client: Any) -> None:
        """The error text is that of the seed."""
        await register(client)
        for body in (b"", b"{}", b" { } ", b"null", b"[]"):
            for headers in (AUTH, AUTH | {"Content-Type": "application/json"}):
                answer = await answered(client.post("/client/wood", data=body, headers=headers))
                assert answer == (400, {"error": "incorrect data size"}), body

    async def test_an_invalid_sample_is_refused_with_a_reason(self, client: Any) -> None:
        """Nothing is stored, and the next sample is accepted."""
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
                status, document = await answered(answer)
                assert (status, list(document)) == (400, ["error"]), change
                assert words in document["error"] or kind == "json"
        assert (await client.post("/client/wood", json=sample(), headers=AUTH)).status == 202
        assert len(await report(client)) == 1

    async def test_a_sample_of_another_machine_is_refused(self, client: Any) -> None:
        """Without a client id, with a wrong one, and with that of another machine."""
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
                assert await answered(client.request(method, path, data=data, headers=headers)) == UNAUTHORIZED

    async def test_machines_of_any_name_have_their_own_samples(self, client: Any) -> None:
        """Slashes, blanks and letters of any script in names lead to the samples of that machine only."""
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
    """The time of the samples of a machine, and the samples of a span."""

    async def test_a_machine_without_samples_has_an_empty_report(self, client: Any) -> None:
        """The written time is an error of the seed, the report is empty."""
        await register(client)
        for method in ("GET", "POST"):
            answer = await answered(client.request(method, "/client/wood/time", headers=AUTH))
            assert answer == (406, {"error": "log is empty"})
        assert await report(client) == []

    async def test_a_report_includes_both_ends(self, client: Any) -> None:
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
                status, document = await answered(client.request(method, path, headers=AUTH))
                assert (status, [row["cpu"] for row in document["payload"]]) == (200, seconds)

    async def test_invalid_ends_have_the_error_of_the_seed(self, client: Any) -> None:
        """Ends that are not finite numbers are refused."""
        await register(client)
        for query in ("start=a", "end=b", "start=badargument&end=badargumenttwo", "start=1e400", "end=nan"):
            answer = await answered(client.get(f"/client/wood/time/report?{query}", headers=AUTH))
            assert answer == (400, {"error": "value error"})
