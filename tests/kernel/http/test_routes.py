"""The routes of the service itself."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from markupsafe import escape
from prometheus_client.parser import text_string_to_metric_families

from smartmob import __version__
from smartmob.errors import Unavailable
from smartmob.kernel.auth.authenticator import HostRules, TokenAuthenticator
from smartmob.kernel.http import openapi
from smartmob.kernel.http.bodies import BodyReader
from smartmob.kernel.http.gate import RequestGate, RequestStats
from smartmob.kernel.http.routes import KernelRoutes
from smartmob.kernel.http.routing import Route, mount, public_paths
from smartmob.kernel.observability.health import Readiness, database_check
from smartmob.kernel.observability.prometheus import MetricsRegistry, http_metrics
from tests.kernel.proxy import Proxy
from tests.kernel.raw import wire
from tests.kernel.tiny import Tiny
from tests.serving import ServiceServer

HTML = {"Accept": "text/html"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TOKEN = "s3cret ü&="
COOKIE = TokenAuthenticator(TOKEN).cookie_name(secure=False)


@pytest.fixture(name="kernel")
async def _kernel() -> AsyncIterator[Callable[..., Any]]:
    """Return a function that serves the routes of the kernel and of the tiny application: `await kernel(token="x")`."""
    async with AsyncExitStack() as stack:

        async def serve(token: str | None = None, readiness: Readiness | None = None) -> Any:
            mounted: dict[web.AbstractRoute, Route] = {}
            tokens, request_stats = TokenAuthenticator(token), RequestStats(lambda _: None)
            bodies = BodyReader(1_000_000, 20.0, routes=mounted)
            metrics = MetricsRegistry()
            metrics.add(http_metrics(request_stats))
            routes = KernelRoutes(readiness or Readiness(), metrics, tokens, bodies, Tiny(bodies).table())
            gate = RequestGate(tokens, HostRules("127.0.0.1"), public_paths(routes.tables), request_stats)
            app = web.Application(middlewares=[gate.middleware()])
            mounted |= mount(app, routes.tables)
            return await stack.enter_async_context(TestClient(ServiceServer(app, gate)))

        yield serve


async def _away() -> None:
    raise Unavailable("nobody is there")


async def _well() -> None:
    """Pass."""


class TestHealth:
    """Health and readiness."""

    async def test_the_version_needs_a_token(self, kernel: Any) -> None:
        """Without a token /health answers only that the service is alive, with a token also the version."""
        client = await kernel(token="abc")
        response = await client.get("/health")
        trusted = await client.get("/health", headers={"Authorization": "Bearer abc"})

        assert (response.status, await response.json()) == (200, {"status": "ok"})
        assert (trusted.status, await trusted.json()) == (200, {"status": "ok", "version": __version__})

    async def test_without_a_token_of_the_service_the_version_is_shown(self, kernel: Any) -> None:
        """If the service has no token, /health always shows the version."""
        response = await (await kernel(None)).get("/health")

        assert await response.json() == {"status": "ok", "version": __version__}

    async def test_reasons_of_failed_checks_need_a_token(self, kernel: Any) -> None:
        """Without a token /ready shows which check fails but not why: a reason may name machines and folders."""
        readiness = Readiness()
        readiness.add("database", _away)
        client = await kernel("abc", readiness)

        stranger = await client.get("/ready")
        trusted = await client.get("/ready", headers={"Authorization": "Bearer abc"})

        assert (stranger.status, trusted.status) == (503, 503)
        assert "nobody" not in await stranger.text()
        assert (await stranger.json(content_type=None))["checks"] == {"service": "ok", "database": "fails"}
        assert (await trusted.json(content_type=None))["checks"] == {"service": "ok", "database": "nobody is there"}

    async def test_ready_without_a_token_when_all_checks_pass(self, kernel: Any) -> None:
        """/ready answers 200 without a token when every check passes."""
        readiness = Readiness()
        readiness.add("disk", _well)

        response = await (await kernel("abc", readiness)).get("/ready")

        assert response.status == 200
        assert await response.json() == {"status": "ready", "checks": {"service": "ok", "disk": "ok"}}

    async def test_a_failed_check_is_a_503_problem(self, kernel: Any) -> None:
        """A failed check gives 503 with the results of all checks, as a problem document."""
        readiness = Readiness()
        readiness.add("database", _away)
        readiness.add("disk", _well)

        response = await (await kernel(None, readiness)).get("/ready")
        problem = await response.json(content_type=None)

        assert (response.status, response.content_type) == (503, "application/problem+json")
        assert int(response.headers["Retry-After"]) >= 1
        assert "database: nobody is there" in problem["detail"]
        assert problem["checks"] == {"service": "ok", "database": "nobody is there", "disk": "ok"}
        assert problem["request_id"] == response.headers["X-Request-Id"]

    async def test_a_stopping_service_is_not_ready_but_alive(self, kernel: Any) -> None:
        """While the service stops, /ready fails and /health does not."""
        readiness = Readiness()
        client = await kernel(None, readiness)
        readiness.stopping = True

        response = await client.get("/ready")

        assert response.status == 503
        assert (await response.json(content_type=None))["checks"]["service"] == "stopping"
        assert (await client.get("/health")).status == 200

    async def test_readiness_follows_the_database(self, kernel: Any, opened: Any, proxy: Proxy) -> None:
        """/ready fails while the database is unavailable, and passes again by itself."""
        readiness = Readiness()
        readiness.add("database", database_check(await opened(proxy.url)))
        client = await kernel(None, readiness)
        assert (await client.get("/ready")).status == 200

        proxy.cut()
        response = await client.get("/ready")
        assert response.status == 503
        assert "not available" in (await response.json(content_type=None))["checks"]["database"]

        proxy.up = True
        assert (await client.get("/ready")).status == 200


class TestMetrics:
    """`GET /metrics`, without a slash."""

    async def test_metrics_have_the_format_of_prometheus(self, kernel: Any) -> None:
        """The answer has the media type of Prometheus and counts the requests."""
        client = await kernel()
        await client.get("/hello")

        response = await client.get("/metrics")
        families = {family.name: family for family in text_string_to_metric_families(await response.text())}

        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        counts = {tuple(sample.labels.values()): sample.value for sample in families["smartmob_http_requests"].samples}
        assert counts["GET", "200"] == 1

    async def test_metrics_need_the_token(self, kernel: Any) -> None:
        """With a token set, /metrics needs it."""
        assert (await (await kernel(token="abc")).get("/metrics")).status == 401


class TestDescription:
    """The OpenAPI document and its page."""

    async def test_every_route_is_in_the_document(self, kernel: Any) -> None:
        """The document has each operation of the router, and no other."""
        client = await kernel()
        document = await (await client.get("/openapi.json")).json()

        described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
        offered = {
            (route.method, route.resource.canonical)
            for route in client.app.router.routes()
            if route.method != "HEAD" and route.resource is not None
        }
        assert document["openapi"] == "3.1.0"
        assert described == offered

    async def test_the_page_lists_every_operation(self, kernel: Any) -> None:
        """The page has every operation with its summary and types."""
        client = await kernel()
        document = await (await client.get("/openapi.json")).json()
        response = await client.get("/docs")
        page = await response.text()

        assert (response.status, response.content_type) == (200, "text/html")
        for path, item in document["paths"].items():
            for method, operation in item.items():
                assert f'id="{operation["operationId"]}"' in page
                assert f"{method.upper()}</span><code>{path}</code><span>{escape(operation['summary'])}" in page
        features = {operation["tags"][0] for item in document["paths"].values() for operation in item.values()}
        assert page.count('<h2 id="feature-') == len(features)
        for name in document["components"]["schemas"]:
            assert f'id="{name}"' in page

    async def test_an_operation_of_several_paths_is_listed_once(self) -> None:
        """Operations of a feature with one method and summary are one entry, which has the other paths."""
        one = {"tags": ["metrics"], "summary": "Store a metric."}
        other = {"tags": ["hosts"], "summary": "Store a metric."}
        document = {"paths": {"/metrics/": {"post": one}, "/metrics": {"post": one, "get": one}, "/x": {"post": other}}}
        found = {
            feature: [(listed.method, listed.path, [path for path, _ in listed.also]) for listed in operations]
            for feature, operations in openapi.groups(document).items()
        }
        assert found == {
            "metrics": [("post", "/metrics/", ["/metrics"]), ("get", "/metrics", [])],
            "hosts": [("post", "/x", [])],
        }

    async def test_a_browser_gets_a_page_at_an_unknown_address(self, kernel: Any) -> None:
        """The page leads on; other clients get the problem document."""
        client = await kernel()
        response = await client.get("/nothing<b>", headers={"Accept": "text/html"})
        page = await response.text()
        assert (response.status, response.content_type) == (404, "text/html")
        assert "There is no page at this address" in page
        assert "/nothing&lt;b&gt;" in page
        assert 'href="/console/"' in page
        assert (await client.get("/nothing")).content_type == "application/problem+json"
        posted = await client.post("/nothing", headers={"Accept": "text/html"})
        assert posted.content_type == "application/problem+json"

    async def test_pages_run_only_scripts_of_the_service(self, kernel: Any) -> None:
        """A page loads nothing but its own script, is in no frame, runs no inline script and is not cached."""
        client = await kernel()
        for path in ("/docs", "/login"):
            response = await client.get(path)
            headers = response.headers
            (style,) = re.findall(r"<style>(.*?)</style>", await response.text(), re.DOTALL)
            allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert f"style-src 'sha256-{allowed}';" in headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert "script-src 'self';" in headers["Content-Security-Policy"]
            (source,) = re.findall(r"<script[^>]* src=\"(.*?)\"", await response.text())
            script = await client.get(source)
            assert (script.status, script.content_type) == (200, "text/javascript")
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] == "no-store"
        assert (await client.get("/page-scripts/other.js")).status == 404


# Where a browser would go that is told to go there, and none of it is here.
ELSEWHERE = [
    "https://evil.example",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "http:evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example",
    "",
    "?x=1",
    "//[",
    "//[::1",
    "https://[evil",
    "/\r\nSet-Cookie: a=b",
    "/\x00",
    "//evil\u2100.example",
]
HERE = [
    "/",
    "/docs",
    "/docs?x=1&y=2",
    "/items/a%2Fb",
    "/items/wörld",
    "/a//b",
    "/a?next=//evil.example",
    "/a:b",
    "/a@b",
]


class TestLogin:
    """Signing in with the token."""

    async def test_the_login_page_keeps_the_next_path(self, kernel: Any) -> None:
        """The page asks for the token and contains the path to go to."""
        response = await (await kernel(TOKEN)).get("/login", params={"next": "/docs?x=1"})
        page = await response.text()

        assert (response.status, response.content_type) == (200, "text/html")
        assert 'name="token" type="password"' in page
        assert 'name="next" value="/docs?x=1"' in page
        assert "not the token" not in page
        assert TOKEN not in page

    async def test_the_right_token_sets_a_protected_cookie(self, kernel: Any) -> None:
        """The answer redirects and sets a cookie that scripts and other sites cannot use, and that is accepted."""
        client = await kernel(TOKEN)

        response = await client.post("/login", data={"token": TOKEN, "next": "/docs"}, allow_redirects=False)

        assert (response.status, response.headers["Location"]) == (303, "/docs")
        cookie = response.cookies[COOKIE]
        assert cookie["httponly"] is True
        assert cookie["samesite"] == "Strict"
        assert cookie["path"] == "/"
        assert int(cookie["max-age"]) > 3600
        assert cookie["domain"] == ""
        assert TOKEN not in cookie.value
        shown = {"Cookie": f"{COOKIE}={cookie.value}"}
        assert (await client.get("/docs", headers=shown)).status == 200

    @pytest.mark.parametrize("token", ["", "wrong", "s3cret", TOKEN + "x", TOKEN.upper()])
    async def test_a_wrong_token_shows_the_page_again(self, kernel: Any, token: str) -> None:
        """The page says that the token is wrong, sets no cookie and does not repeat the token."""
        client = await kernel(TOKEN)

        response = await client.post("/login", data={"token": token, "next": "/docs"}, allow_redirects=False)
        page = await response.text()

        assert response.status == 403
        assert "This is not a token" in page
        assert 'value="/docs"' in page
        assert COOKIE not in response.cookies
        assert "wrong" not in page.replace('class="wrong"', "").replace(".wrong", "")

    async def test_without_a_token_of_the_service_no_token_is_right(self, kernel: Any) -> None:
        """If the service has no token, every token is wrong."""
        client = await kernel()
        for token in ("", "None", "x"):
            assert (await client.post("/login", data={"token": token}, allow_redirects=False)).status == 403

    @pytest.mark.parametrize("target", ELSEWHERE)
    async def test_the_login_redirects_to_no_other_site(self, kernel: Any, target: str) -> None:
        """Any value of `next` that is another site leads to the start page."""
        client = await kernel(TOKEN)

        response = await client.post("/login", data={"token": TOKEN, "next": target}, allow_redirects=False)
        shown = await client.get("/login", params={"next": target})

        assert (response.status, response.headers["Location"]) == (303, "/")
        assert 'name="next" value="/"' in await shown.text()

    @pytest.mark.parametrize("target", HERE)
    async def test_the_login_redirects_to_the_requested_page(self, kernel: Any, target: str) -> None:
        """A path of this service is where the login redirects to."""
        response = await (await kernel(TOKEN)).post(
            "/login", data={"token": TOKEN, "next": target}, allow_redirects=False
        )

        assert (response.status, response.headers["Location"]) == (303, target)

    async def test_the_next_path_is_escaped_in_the_page(self, kernel: Any) -> None:
        """A path cannot inject markup into the page."""
        page = await (await (await kernel(TOKEN)).get("/login", params={"next": '/"><script>x</script>'})).text()

        assert "<script>" not in page

    async def test_a_foreign_page_cannot_sign_in_or_out(self, kernel: Any) -> None:
        """A login or logout with a foreign Origin is refused."""
        client = await kernel(TOKEN)
        for path in ("/login", "/logout"):
            response = await client.post(path, data={"token": TOKEN}, headers={"Origin": "http://evil.example"})

            assert response.status == 403
            assert response.cookies == {}

    async def test_logout_deletes_both_cookies(self, kernel: Any) -> None:
        """The logout deletes the cookie with the present and with the old name."""
        response = await (await kernel(TOKEN)).post("/logout", allow_redirects=False)

        assert (response.status, response.headers["Location"]) == (303, "/login")
        assert set(response.cookies) == {COOKIE, "smartmob_session"}
        for cookie in response.cookies.values():
            assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", "0", "/")


class TestForms:
    """The form of the login page."""

    async def test_a_form_may_arrive_after_its_headers(self, kernel: Any) -> None:
        """A form that arrives after the headers is read."""
        client = await kernel("abc")
        body = b"token=abc&next=/docs"
        async with wire(client.port) as line:
            line.send(f"POST /login HTTP/1.1\nHost: localhost\nContent-Type: {FORM['Content-Type']}\n")
            line.send(f"Content-Length: {len(body)}\n\n{body[:5].decode()}")
            await line.writer.drain()
            # The rest goes when the first part has been seen: a request for another page is answered after it was.
            assert (await client.get("/health")).status == 200
            line.send(body[5:])

            assert (await line.reply()).headers["Location"] == "/docs"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"token=\xff\xfe",
            b"token=%ff",
            b'{"token": "abc"}',
            b"&&&===%%%",
            b"token=" + b"x" * 20_000,
            b"tokenabc",
        ],
        ids=lambda body: repr(body[:24]),
    )
    async def test_an_invalid_form_is_refused(self, kernel: Any, body: bytes) -> None:
        """An invalid form gets an error of 400 to 499 and signs in no client."""
        client = await kernel("abc")

        response = await client.post("/login", data=body, headers=FORM, allow_redirects=False)

        assert 400 <= response.status < 500
        assert COOKIE not in response.cookies

    @pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", f"{FORM['Content-Type']}; charset=nonsense"])
    async def test_a_form_with_a_wrong_type_is_no_bug(self, kernel: Any, kind: str) -> None:
        """A form with a wrong Content-Type causes no 500."""
        client = await kernel("abc")

        response = await client.post("/login", data=b"token=abc", headers={"Content-Type": kind}, allow_redirects=False)

        assert response.status < 500
