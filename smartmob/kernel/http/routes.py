"""The routes of the service itself: health, readiness, Prometheus metrics, the OpenAPI document, and the login."""

from __future__ import annotations

import math
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import msgspec
import orjson
from aiohttp import hdrs, web

from smartmob import __version__
from smartmob.errors import NotAuthenticated, TooManyTries, Unavailable
from smartmob.kernel.auth.authenticator import COOKIE, COOKIE_SECONDS, TokenAuthenticator
from smartmob.kernel.http import html_pages, openapi, problems
from smartmob.kernel.http.bodies import BodyReader, form, parameter
from smartmob.kernel.http.json_response import JSONResponse, json_response
from smartmob.kernel.http.routing import HTML, TEXT, Answer, Body, Route, RouteTable, answer
from smartmob.kernel.observability.health import OK, Readiness, passes
from smartmob.kernel.observability.log import REQUEST_ID
from smartmob.kernel.observability.prometheus import CONTENT_TYPE, MetricsRegistry

_MAX_LOGIN_BYTES = 16 * 1024


class ServiceHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """The service is alive; `version` is shown only to clients that may read more."""

    status: str
    version: str = ""


class Ready(msgspec.Struct, frozen=True):
    """The result of each readiness check. Clients without a token see only whether a check fails, not why."""

    status: str
    checks: dict[str, str]


class LoginForm(msgspec.Struct, frozen=True):
    """The form of the login page."""

    token: str
    next: str = "/"


class LoginQuery(msgspec.Struct, frozen=True):
    """The query of the login page: the path to open after the login."""

    next: str = "/"


FORM = "application/x-www-form-urlencoded"


class KernelRoutes:
    """Handlers of the service's own routes."""

    def __init__(
        self,
        readiness: Readiness,
        metrics: MetricsRegistry,
        tokens: TokenAuthenticator,
        bodies: BodyReader,
        *tables: RouteTable,
    ) -> None:
        self._readiness = readiness
        self._metrics = metrics
        self._tokens = tokens
        self._bodies = bodies
        self.tables = (self._table(), *tables)
        """The own table and those of the features."""

    def _table(self) -> RouteTable:
        """Return the route table."""
        page = answer(str, "A page.", HTML)
        moved = Answer("Continue at Location.")
        return RouteTable(
            "service",
            (
                Route(
                    "GET", "/health", self.health, "health", "Is the service alive?",
                    {200: answer(ServiceHealth)}, public=True,
                ),
                Route(
                    "GET", "/ready", self.ready, "ready", "Can the service do its work now?",
                    {200: answer(Ready)}, public=True,
                ),
                Route(
                    "GET", "/metrics", self.metrics, "prometheus", "The service's own metrics as Prometheus text.",
                    {200: answer(str, "The metrics.", TEXT)},
                ),
                Route(
                    "GET", "/openapi.json", self.openapi, "openapi", "This document.",
                    {200: answer(dict[str, Any])},
                ),
                Route("GET", "/docs", self.docs, "docs", "This document as a page.", {200: page}),
                Route(
                    "GET", "/login", self.login_page, "login_page", "The page to sign in with the token.",
                    {200: page}, query=LoginQuery, public=True,
                ),
                Route(
                    "POST", "/login", self.login, "login", "Sign in: the answer sets the session cookie.",
                    {
                        303: moved,
                        403: answer(str, "The token is wrong.", HTML),
                        429: answer(str, "Too many wrong tokens came from this address.", HTML),
                    },
                    body=Body({FORM: LoginForm}, limit=_MAX_LOGIN_BYTES), public=True,
                ),
                Route("POST", "/logout", self.logout, "logout", "Sign out.", {303: moved}, public=True),
                Route(
                    "GET", "/page-scripts/{name}", self.script, "page_script", "A script of these pages.",
                    {200: Answer("The script."), 404: Answer("Not found.")}, public=True,
                ),
            ),
        )  # fmt: skip

    @cached_property
    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document of all routes."""
        return openapi.document(self.tables, self._tokens.cookie_name(secure=False))

    async def health(self, request: web.Request) -> web.StreamResponse:
        return json_response(ServiceHealth("ok", __version__ if self._has_token(request) else ""))

    async def ready(self, request: web.Request) -> web.StreamResponse:
        checks = await self._readiness.run_checks()
        if not self._has_token(request):
            # The reasons and notes contain names of machines, folders and databases.
            checks = {name: OK if passes(result) else "fails" for name, result in checks.items()}
        if all(passes(result) for result in checks.values()):
            return json_response(Ready("ready", dict(checks)))
        failing = "; ".join(f"{name}: {result}" for name, result in checks.items() if not passes(result))
        return problems.response(Unavailable(failing), request.path, REQUEST_ID.get() or "", {"checks": checks})

    def _has_token(self, request: web.Request) -> bool:
        """Return whether the request shows a valid token or needs none; a wrong token counts as a failed attempt."""
        cookie = self._tokens.cookie_of(request.cookies, request.secure)
        try:
            self._tokens.authenticate_limited(
                request.headers.get(hdrs.AUTHORIZATION), cookie, request.remote, request.path
            )
        except (NotAuthenticated, TooManyTries):
            return False
        return True

    async def metrics(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def openapi(self, _: web.Request) -> web.StreamResponse:
        return JSONResponse(orjson.dumps(self.document, option=orjson.OPT_INDENT_2))

    async def docs(self, _: web.Request) -> web.StreamResponse:
        return html_pages.page(
            "docs.html", groups=openapi.groups(self.document), document=self.document, phrases=_phrases()
        )

    async def login_page(self, request: web.Request) -> web.StreamResponse:
        return html_pages.page("login.html", next=_local(request.query.get("next", "/")), wrong="")

    async def login(self, request: web.Request) -> web.StreamResponse:
        given = form(await self._bodies.read(request))
        target = _local(given.get("next", "/"))
        try:
            principal = self._tokens.sign_in(given.get("token", ""), request.remote, request.path)
        except TooManyTries as error:
            page = html_pages.page("login.html", status=429, next=target, wrong=str(error))
            page.headers["Retry-After"] = str(math.ceil(error.retry_after))
            return page
        except NotAuthenticated:
            return html_pages.page("login.html", status=403, next=target, wrong="This is not a token of this service.")
        response = web.Response(status=303, headers={"Location": target})
        response.set_cookie(
            self._tokens.cookie_name(request.secure), self._tokens.cookie(principal), max_age=COOKIE_SECONDS,
            httponly=True, samesite="Strict", secure=request.secure, path="/",
        )  # fmt: skip
        return response

    async def script(self, request: web.Request) -> web.StreamResponse:
        return html_pages.script(parameter(request, "name"))

    async def logout(self, request: web.Request) -> web.StreamResponse:
        response = web.Response(status=303, headers={"Location": "/login"})
        for name in (self._tokens.cookie_name(request.secure), COOKIE):
            response.del_cookie(name, path="/", secure=request.secure)
        return response


def _local(target: str) -> str:
    """Return `target` if it is a path of this service, else the start page, so that no login leads to another site."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    foreign = parts.scheme or parts.netloc or not target.startswith("/") or target.startswith(("//", "/\\"))
    return "/" if foreign or not target.isprintable() else target


def _phrases() -> dict[str, str]:
    return {str(int(status)): status.phrase for status in HTTPStatus}
