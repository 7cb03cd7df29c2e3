"""What every request passes, asked over a real connection."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import structlog
from yarl import URL

from smartmob.kernel.auth.authenticator import COOKIE, TokenAuthenticator
from tests.kernel.raw import Wire
from tests.waiting import until

JSON_TYPE = {"Content-Type": "application/json"}
HTML = {"Accept": "text/html,*/*"}


class TestRequestId:
    """The name of a request in answers and lines."""

    async def test_one_is_made(self, tiny_client: Any) -> None:
        """Each request without an id gets one of its own."""
        ids = [(await tiny_client.get("/hello")).headers["X-Request-Id"] for _ in range(3)]

        assert len(set(ids)) == 3

    @pytest.mark.parametrize("given", ["a", "0" * 128, "550e8400-e29b-41d4-a716-446655440000", "A.b_c:d/e+f=g@h"])
    async def test_one_is_taken_over(self, tiny_client: Any, given: str) -> None:
        """An id of the client is echoed, on good answers and on errors, and stands in the problem."""
        for path in ("/hello", "/plain", "/unknown", "/raise/not-found"):
            response = await tiny_client.get(path, headers={"X-Request-Id": given})

            assert response.headers["X-Request-Id"] == given
            if response.status >= 400:
                assert (await response.json(content_type=None))["request_id"] == given

    @pytest.mark.parametrize("given", ["", " ", "a b", "0" * 129, 'a"b', "ü", "a,b", "<script>", "a\tb"])
    async def test_garbage_is_replaced(self, tiny_client: Any, line: Wire, given: str) -> None:
        """What could do harm in a log or a header is not taken over."""
        line.get("/hello", f"X-Request-Id: {given}")

        found = (await line.reply()).headers["X-Request-Id"]

        assert found
        assert found != given

    async def test_it_is_in_the_lines_logged_meanwhile(self, serving: Any, tmp_path: Path, configured: Any) -> None:
        """Each line that a handler logs has the id of its own request, however many run at once."""
        path = tmp_path / "log"
        logs = configured("json", True, f"file://{path}")
        client, _, _ = await serving(access_log=logs.access)
        ids = [f"id-{number}" for number in range(20)]

        await asyncio.gather(*(client.get("/hello", headers={"X-Request-Id": each}) for each in ids))
        await until(lambda: len(path.read_bytes().splitlines()) == 40)

        events = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        assert sorted(event["request"] for event in events if event["event"] == "greeted") == sorted(ids)
        access = [event for event in events if event["event"] == "http.access"]
        assert sorted(event["request"] for event in access) == sorted(ids)
        assert {(event["method"], event["path"], event["outcome"]) for event in access} == {("GET", "/hello", 200)}
        assert all(event["duration"] > 0 for event in access)


class TestErrors:
    """What goes wrong becomes a problem."""

    @pytest.mark.parametrize(
        ("method", "path", "status", "name"),
        [
            ("GET", "/unknown", 404, "not-found"),
            ("GET", "/", 404, "not-found"),
            ("POST", "/hello", 405, "method-not-allowed"),
            ("OPTIONS", "/hello", 405, "method-not-allowed"),
            ("PROPFIND", "/hello", 405, "method-not-allowed"),
            ("GET", "/raise/not-found", 404, "not-found"),
            ("GET", "/raise/unavailable", 503, "unavailable"),
            ("GET", "/raise/invalid", 400, "invalid-input"),
            ("GET", "/raise/gone", 410, "gone"),
            ("GET", "/raise/bug", 500, "internal"),
            ("GET", "/raise/timeout", 500, "internal"),
        ],
    )
    async def test_the_shape(self, tiny_client: Any, method: str, path: str, status: int, name: str) -> None:
        """Each has the members of RFC 9457, its media type and its address, the router's own included."""
        with structlog.testing.capture_logs():
            response = await tiny_client.request(method, path)
        problem = await response.json(content_type=None)

        assert (response.status, response.content_type) == (status, "application/problem+json")
        assert set(problem) - {"errors"} == {"type", "title", "status", "detail", "instance", "request_id"}
        assert (problem["type"], problem["status"], problem["instance"]) == (
            f"urn:smartmob:problem:{name}",
            status,
            path,
        )
        assert problem["request_id"] == response.headers["X-Request-Id"]

    async def test_their_headers(self, tiny_client: Any) -> None:
        """What is offered, when to try again."""
        assert (await tiny_client.post("/hello")).headers["Allow"] == "GET, HEAD"
        assert (await tiny_client.get("/raise/unavailable")).headers["Retry-After"] == "3"

    async def test_a_bug(self, tiny_client: Any) -> None:
        """The answer tells nothing of it; the log has the traceback, the address and the method."""
        with structlog.testing.capture_logs() as lines:
            text = await (await tiny_client.get("/raise/bug")).text()

        assert "hunter2" not in text
        assert "Traceback" not in text
        (logged,) = lines
        assert (logged["event"], logged["path"], logged["method"]) == ("http.failed", "/raise/bug", "GET")
        assert str(logged["exc_info"]) == "password=hunter2"
        assert logged["exc_info"].__traceback__ is not None

    async def test_an_expected_error_is_no_bug(self, tiny_client: Any) -> None:
        """What a client did wrong is not logged as our failure."""
        with structlog.testing.capture_logs() as lines:
            for name in ("not-found", "unavailable", "invalid", "gone"):
                await tiny_client.get(f"/raise/{name}")
            await tiny_client.get("/unknown")

        assert lines == []

    @pytest.mark.parametrize(("name", "status"), [("found", 302), ("not-modified", 304)])
    async def test_what_is_no_error(self, tiny_client: Any, name: str, status: int) -> None:
        """A redirect that is raised stays one, with its headers and no body."""
        response = await tiny_client.get(f"/raise/{name}", allow_redirects=False)

        assert (response.status, await response.read()) == (status, b"")
        assert response.headers.get("Location") == ("/hello" if status == 302 else None)

    async def test_an_expectation_that_we_do_not_know(self, line: Wire) -> None:
        """It is passed over, or refused in the same shape as everything else."""
        line.get("/hello", "Expect: miracles", "X-Request-Id: id-1")

        reply = await line.reply()

        assert reply.headers["X-Request-Id"] == "id-1"
        assert (reply.status, reply.headers["Content-Type"].partition(";")[0]) in (
            (200, "application/json"),
            (417, "application/problem+json"),
        )

    @pytest.mark.parametrize(
        "target", [b"/\xff", b"/%ff", b"/\xc3\xbc", b"/%00", b"/hello?\xff=\xff", b"/a%2Fb", b"//x"]
    )
    async def test_odd_addresses(self, line: Wire, target: bytes) -> None:
        """Whatever bytes an address has, the answer is a client's error or the page, never ours."""
        with structlog.testing.capture_logs() as lines:
            line.send(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            reply = await line.reply()

        assert reply.status in (200, 400, 404)
        assert [line for line in lines if line["log_level"] != "info"] == []

    @pytest.mark.parametrize("request_line", ["OPTIONS * HTTP/1.1", "GET http://localhost/hello HTTP/1.1"])
    async def test_other_forms_of_address(self, line: Wire, request_line: str) -> None:
        """The other forms that HTTP knows are answered in order."""
        line.send(f"{request_line}\nHost: localhost\n\n")

        assert (await line.reply()).status in (200, 400, 404, 405)


class TestAdmission:
    """Who may pass the entrance."""

    async def test_the_token(self, serving: Any) -> None:
        """Without it a request is refused with the ways to show it; each of them opens."""
        client, _, _ = await serving(token="abc")

        refused = await client.get("/hello")
        assert (refused.status, refused.content_type) == (401, "application/problem+json")
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await client.get("/hello", headers={"Authorization": "Bearer abc"})).status == 200
        assert (await client.get("/hello", headers={"Authorization": "Basic Y2k6YWJj"})).status == 200
        cookie = TokenAuthenticator("abc").cookie()
        assert (await client.get("/hello", headers={"Cookie": f"{COOKIE}={cookie}"})).status == 200
        assert (await client.get("/hello", headers={"Cookie": f"a=b; {COOKIE}={cookie}; c=d"})).status == 200
        assert (await client.get("/hello", headers={"Cookie": f"{COOKIE}={cookie}x"})).status == 401

    async def test_before_everything_else(self, serving: Any) -> None:
        """Who has no token does not learn which addresses there are, and nothing is done for it."""
        client, _, _ = await serving(token="abc")

        for method, path in (("GET", "/unknown"), ("POST", "/hello"), ("POST", "/things"), ("GET", "/raise/bug")):
            assert (await client.request(method, path)).status == 401

    async def test_public_addresses(self, serving: Any) -> None:
        """They need none, and only exactly they."""
        client, _, _ = await serving(token="abc")

        assert (await client.get("/plain")).status == 200
        assert (await client.get("/plain?x=/hello")).status == 200
        assert (await client.get("/plain/")).status == 401

    async def test_public_addresses_with_places(self, serving: Any) -> None:
        """Whatever stands in the place of a public address, it needs no token, and no other address gets in by it."""
        client, _, _ = await serving(token="abc")

        for path in ("/open/a", "/open/a%2Fb", "/open/{name}"):
            assert (await client.get(URL(path, encoded=True))).status == 200
        for path in ("/part/a", "/part/{name}", "/open/a/b", "/open/"):
            assert (await client.get(URL(path, encoded=True))).status == 401

    @pytest.mark.parametrize(
        ("headers", "moved"), [(HTML, True), ({"Accept": "application/json"}, False), ({"Accept": "*/*"}, False)]
    )
    async def test_a_browser_is_shown_the_way(self, serving: Any, headers: dict[str, str], moved: bool) -> None:
        """It is sent to the login page, a program gets the error."""
        client, _, _ = await serving(token="abc")

        response = await client.get("/hello", headers=headers, allow_redirects=False)

        assert response.status == (303 if moved else 401)
        assert response.headers.get("Location") == ("/login?next=/hello" if moved else None)
        assert (await client.post("/things", headers=headers)).status == 401

    @pytest.mark.parametrize(
        "path", ["/part/a%2Fb", "/part/a&b=c", "/part/a+b", "/search?text=x&page=2", "/part/a%26b"]
    )
    async def test_and_back(self, serving: Any, path: str) -> None:
        """The way leads back to exactly the page that was asked for."""
        client, _, _ = await serving(token="abc")
        asked = URL(path, encoded=True)

        response = await client.get(asked, headers=HTML, allow_redirects=False)

        assert URL(response.headers["Location"]).query["next"] == path

    @pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80", ""])
    @pytest.mark.parametrize("path", ["/hello", "/plain", "/unknown"])
    async def test_a_foreign_host(self, tiny_client: Any, host: str, path: str) -> None:
        """A request for another name is refused everywhere, public addresses included."""
        response = await tiny_client.get(path, headers={"Host": host})

        assert response.status == 403
        assert (await response.json(content_type=None))["type"] == "urn:smartmob:problem:not-allowed"

    async def test_no_host(self, line: Wire) -> None:
        """So is one that names nobody."""
        line.send("GET /hello HTTP/1.1\n\n")

        assert (await line.reply()).status in (400, 403)

    @pytest.mark.parametrize(("origin", "status"), [("http://evil.example", 403), ("null", 403), (None, 201)])
    async def test_a_foreign_page(self, tiny_client: Any, origin: str | None, status: int) -> None:
        """It cannot change anything."""
        headers = JSON_TYPE | ({"Origin": origin} if origin else {})

        response = await tiny_client.post("/things", data=b'{"name": "x"}', headers=headers)

        assert response.status == status

    @pytest.mark.parametrize("name", ["websocket", "WebSocket"])
    async def test_a_websocket_of_a_foreign_page(self, tiny_client: Any, name: str) -> None:
        """A WebSocket is asked like a request that changes things, though it is a GET."""
        own = f"http://127.0.0.1:{tiny_client.port}"
        async with tiny_client.ws_connect("/socket", headers={"Upgrade": name, "Origin": own}) as connection:
            assert await connection.receive_str() == "hello"

        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await tiny_client.ws_connect("/socket", headers={"Upgrade": name, "Origin": "http://evil.example"})

        assert caught.value.status == 403


class TestTraffic:
    """What is counted."""

    async def test_finished_requests(self, serving: Any) -> None:
        """Each is counted once by method and status, with its duration, and handed to the access log."""
        seen: list[Any] = []
        client, _, request_stats = await serving(access_log=seen.extend)
        with structlog.testing.capture_logs():
            for method, path in (("GET", "/hello"), ("GET", "/hello"), ("POST", "/hello"), ("GET", "/raise/bug")):
                await client.request(method, path)
        await until(lambda: len(seen) == 4)

        assert request_stats.requests == {("GET", 200): 2, ("POST", 405): 1, ("GET", 500): 1}
        assert sum(request_stats.durations) == 4
        assert request_stats.seconds > 0
        assert [entry[:3] for entry in seen] == [
            ("GET", "/hello", 200), ("GET", "/hello", 200), ("POST", "/hello", 405), ("GET", "/raise/bug", 500),
        ]  # fmt: skip

    async def test_requests_under_way(self, serving: Any) -> None:
        """Who waits for the end waits until the last of them has been answered."""
        client, handlers, request_stats = await serving()
        asking = [asyncio.create_task(client.get("/wait")) for _ in range(3)]
        await until(lambda: handlers.waiting == 3)
        assert request_stats.active == 3
        finishing = asyncio.create_task(request_stats.drain(60))
        await until(lambda: request_stats.stopping)
        assert not finishing.done()

        handlers.go.set()
        await finishing

        assert [response.status for response in await asyncio.gather(*asking)] == [200] * 3
        assert [response.headers.get("Connection") for response in await asyncio.gather(*asking)] == ["close"] * 3

    async def test_the_end_does_not_wait_for_ever(self, serving: Any) -> None:
        """When the time is up, what is still under way does not matter."""
        client, handlers, request_stats = await serving()
        asking = asyncio.create_task(client.get("/wait"))
        await until(lambda: handlers.waiting)

        await request_stats.drain(0.05)

        assert request_stats.active == 1
        handlers.go.set()
        await asking

    async def test_an_end_without_requests(self, serving: Any) -> None:
        """There is nothing to wait for."""
        _, _, request_stats = await serving()

        await request_stats.drain(60)
