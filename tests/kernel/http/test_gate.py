"""The request gate, over real connections."""

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
    """Request ids in answers and log lines."""

    async def test_a_request_without_an_id_gets_one(self, tiny_client: Any) -> None:
        """Each request without an id gets a different one."""
        ids = [(await tiny_client.get("/hello")).headers["X-Request-Id"] for _ in range(3)]

        assert len(set(ids)) == 3

    @pytest.mark.parametrize("given", ["a", "0" * 128, "550e8400-e29b-41d4-a716-446655440000", "A.b_c:d/e+f=g@h"])
    async def test_the_id_of_the_client_is_kept(self, tiny_client: Any, given: str) -> None:
        """A valid id of the client is returned in good answers, in errors and in their bodies."""
        for path in ("/hello", "/plain", "/unknown", "/raise/not-found"):
            response = await tiny_client.get(path, headers={"X-Request-Id": given})

            assert response.headers["X-Request-Id"] == given
            if response.status >= 400:
                assert (await response.json(content_type=None))["request_id"] == given

    @pytest.mark.parametrize("given", ["", " ", "a b", "0" * 129, 'a"b', "ü", "a,b", "<script>", "a\tb"])
    async def test_an_invalid_id_is_replaced(self, tiny_client: Any, line: Wire, given: str) -> None:
        """An id that could do harm in a log or a header is replaced."""
        line.get("/hello", f"X-Request-Id: {given}")

        found = (await line.reply()).headers["X-Request-Id"]

        assert found
        assert found != given

    async def test_every_log_line_has_the_id_of_its_request(
        self, serving: Any, tmp_path: Path, configured: Any
    ) -> None:
        """Each line that a handler logs has the id of its own request, with many requests at once."""
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
    """Errors become problem documents."""

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
    async def test_every_error_is_a_problem_document(
        self, tiny_client: Any, method: str, path: str, status: int, name: str
    ) -> None:
        """Each error, including those of the router, has the members of RFC 9457 and the media type."""
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

    async def test_errors_have_their_headers(self, tiny_client: Any) -> None:
        """405 has Allow, and 503 has Retry-After."""
        assert (await tiny_client.post("/hello")).headers["Allow"] == "GET, HEAD"
        assert (await tiny_client.get("/raise/unavailable")).headers["Retry-After"] == "3"

    async def test_a_bug_is_logged_and_not_shown(self, tiny_client: Any) -> None:
        """The answer shows nothing of an unexpected error; the log has the traceback, the path and the method."""
        with structlog.testing.capture_logs() as lines:
            text = await (await tiny_client.get("/raise/bug")).text()

        assert "hunter2" not in text
        assert "Traceback" not in text
        (logged,) = lines
        assert (logged["event"], logged["path"], logged["method"]) == ("http.failed", "/raise/bug", "GET")
        assert str(logged["exc_info"]) == "password=hunter2"
        assert logged["exc_info"].__traceback__ is not None

    async def test_an_expected_error_is_not_logged(self, tiny_client: Any) -> None:
        """Errors that a client caused are not logged as errors of the service."""
        with structlog.testing.capture_logs() as lines:
            for name in ("not-found", "unavailable", "invalid", "gone"):
                await tiny_client.get(f"/raise/{name}")
            await tiny_client.get("/unknown")

        assert lines == []

    @pytest.mark.parametrize(("name", "status"), [("found", 302), ("not-modified", 304)])
    async def test_a_raised_redirect_stays_a_redirect(self, tiny_client: Any, name: str, status: int) -> None:
        """A raised redirect keeps its status and headers and has no body."""
        response = await tiny_client.get(f"/raise/{name}", allow_redirects=False)

        assert (response.status, await response.read()) == (status, b"")
        assert response.headers.get("Location") == ("/hello" if status == 302 else None)

    async def test_an_unknown_expectation_is_ignored_or_refused(self, line: Wire) -> None:
        """An unknown value of Expect gets the answer, or 417 as a problem document."""
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
    async def test_strange_bytes_in_a_path_are_no_bug(self, line: Wire, target: bytes) -> None:
        """A path of any bytes gets 200, 400 or 404."""
        with structlog.testing.capture_logs() as lines:
            line.send(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            reply = await line.reply()

        assert reply.status in (200, 400, 404)
        assert [line for line in lines if line["log_level"] != "info"] == []

    @pytest.mark.parametrize("request_line", ["OPTIONS * HTTP/1.1", "GET http://localhost/hello HTTP/1.1"])
    async def test_other_request_targets_are_answered(self, line: Wire, request_line: str) -> None:
        """The asterisk form and the absolute form (RFC 9112, section 3.2) are answered."""
        line.send(f"{request_line}\nHost: localhost\n\n")

        assert (await line.reply()).status in (200, 400, 404, 405)


class TestQuery:
    """Arguments in the query."""

    async def test_an_unknown_argument_is_named_with_the_known_ones(self, tiny_client: Any) -> None:
        """The error says which arguments the address takes, and nothing is done."""
        for path, takes in (("/search?text=a&pgae=2", "it takes page, text"), ("/hello?x", "it takes none")):
            response = await tiny_client.get(path)
            detail = (await response.json(content_type=None))["detail"]
            assert (response.status, takes in detail) == (400, True), detail

    async def test_rights_come_before_arguments(self, serving: Any) -> None:
        """A client without a token learns nothing about the arguments of an address."""
        client, _, _ = await serving(token="abc")
        assert (await client.get("/hello?x=1")).status == 401


class TestAuthorisation:
    """Which requests reach a handler."""

    async def test_each_form_of_the_token_is_accepted(self, serving: Any) -> None:
        """Bearer, Basic and the cookie are accepted; without them the answer is 401 with the schemes."""
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

    async def test_without_a_token_nothing_else_is_checked(self, serving: Any) -> None:
        """Without a token every path and method gets 401."""
        client, _, _ = await serving(token="abc")

        for method, path in (("GET", "/unknown"), ("POST", "/hello"), ("POST", "/things"), ("GET", "/raise/bug")):
            assert (await client.request(method, path)).status == 401

    async def test_a_public_path_needs_no_token(self, serving: Any) -> None:
        """A public path needs no token; similar paths do."""
        client, _, _ = await serving(token="abc")

        assert (await client.get("/plain")).status == 200
        assert (await client.get("/plain?x=/hello")).status == 400  # no 401: only the argument is unknown
        assert (await client.get("/plain/")).status == 401

    async def test_a_public_path_with_parameters_needs_no_token(self, serving: Any) -> None:
        """Any value of a parameter in a public path needs no token; similar paths do."""
        client, _, _ = await serving(token="abc")

        for path in ("/open/a", "/open/a%2Fb", "/open/{name}"):
            assert (await client.get(URL(path, encoded=True))).status == 200
        for path in ("/part/a", "/part/{name}", "/open/a/b", "/open/"):
            assert (await client.get(URL(path, encoded=True))).status == 401

    @pytest.mark.parametrize(
        ("headers", "moved"), [(HTML, True), ({"Accept": "application/json"}, False), ({"Accept": "*/*"}, False)]
    )
    async def test_only_a_browser_is_redirected_to_the_login(
        self, serving: Any, headers: dict[str, str], moved: bool
    ) -> None:
        """A GET of a browser is redirected to the login page; a program gets 401."""
        client, _, _ = await serving(token="abc")

        response = await client.get("/hello", headers=headers, allow_redirects=False)

        assert response.status == (303 if moved else 401)
        assert response.headers.get("Location") == ("/login?next=/hello" if moved else None)
        assert (await client.post("/things", headers=headers)).status == 401

    @pytest.mark.parametrize(
        "path", ["/part/a%2Fb", "/part/a&b=c", "/part/a+b", "/search?text=x&page=2", "/part/a%26b"]
    )
    async def test_the_login_page_knows_the_requested_path(self, serving: Any, path: str) -> None:
        """The redirect contains exactly the requested path and query."""
        client, _, _ = await serving(token="abc")
        asked = URL(path, encoded=True)

        response = await client.get(asked, headers=HTML, allow_redirects=False)

        assert URL(response.headers["Location"]).query["next"] == path

    @pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80", ""])
    @pytest.mark.parametrize("path", ["/hello", "/plain", "/unknown"])
    async def test_a_foreign_host_is_refused(self, tiny_client: Any, host: str, path: str) -> None:
        """A request for another host name is refused on every path, public ones included."""
        response = await tiny_client.get(path, headers={"Host": host})

        assert response.status == 403
        assert (await response.json(content_type=None))["type"] == "urn:smartmob:problem:not-allowed"

    async def test_a_request_without_host_is_refused(self, line: Wire) -> None:
        """A request without the header Host is refused."""
        line.send("GET /hello HTTP/1.1\n\n")

        assert (await line.reply()).status in (400, 403)

    @pytest.mark.parametrize(("origin", "status"), [("http://evil.example", 403), ("null", 403), (None, 201)])
    async def test_a_foreign_origin_cannot_change_anything(
        self, tiny_client: Any, origin: str | None, status: int
    ) -> None:
        """A changing request with a foreign Origin is refused."""
        headers = JSON_TYPE | ({"Origin": origin} if origin else {})

        response = await tiny_client.post("/things", data=b'{"name": "x"}', headers=headers)

        assert response.status == status

    @pytest.mark.parametrize("name", ["websocket", "WebSocket"])
    async def test_a_foreign_origin_cannot_open_a_websocket(self, tiny_client: Any, name: str) -> None:
        """A WebSocket handshake with a foreign Origin is refused, though its method is GET."""
        own = f"http://127.0.0.1:{tiny_client.port}"
        async with tiny_client.ws_connect("/socket", headers={"Upgrade": name, "Origin": own}) as connection:
            assert await connection.receive_str() == "hello"

        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await tiny_client.ws_connect("/socket", headers={"Upgrade": name, "Origin": "http://evil.example"})

        assert caught.value.status == 403


class TestRequestStats:
    """Counters of requests."""

    async def test_each_finished_request_is_counted_once(self, serving: Any) -> None:
        """Each request is counted by method and status, with its duration, and passed to the access log."""
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

    async def test_drain_waits_for_active_requests(self, serving: Any) -> None:
        """`drain` returns after all active requests are answered, with `Connection: close`."""
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

    async def test_drain_returns_at_its_time_limit(self, serving: Any) -> None:
        """`drain` returns at its time limit although a request is active."""
        client, handlers, request_stats = await serving()
        asking = asyncio.create_task(client.get("/wait"))
        await until(lambda: handlers.waiting)

        await request_stats.drain(0.05)

        assert request_stats.active == 1
        handlers.go.set()
        await asking

    async def test_drain_without_requests_returns_at_once(self, serving: Any) -> None:
        """`drain` has nothing to wait for without active requests."""
        _, _, request_stats = await serving()

        await request_stats.drain(60)
