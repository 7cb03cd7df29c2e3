"""The routes of the service itself: is it well, what does it offer, and who may come in."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable
from functools import cache, cached_property
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import msgspec
import orjson
from aiohttp import hdrs, web

from smartmob import __version__
from smartmob.errors import NotAuthenticated, TooManyTries, Unavailable
from smartmob.kernel.auth.authenticator import COOKIE, COOKIE_SECONDS, TokenAuthenticator
from smartmob.kernel.http import openapi, problems
from smartmob.kernel.http.json_response import JSONResponse
from smartmob.kernel.http.requests import BodyReader, form, json_response
from smartmob.kernel.http.routing import HTML, TEXT, Answer, Body, Route, RouteTable, answer
from smartmob.kernel.observability.health import Readiness
from smartmob.kernel.observability.log import REQUEST_ID
from smartmob.kernel.observability.prometheus import CONTENT_TYPE, MetricsRegistry

_PAGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # With no-referrer a browser would send the login form with `Origin: null`, which is nobody's own.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_LOGIN_BYTES = 16 * 1024


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """The service lives; its version is told to whoever may ask for more."""

    status: str
    version: str = ""


class Ready(msgspec.Struct, frozen=True):
    """What each check says; only whether it fails, to whoever may not ask for more."""

    status: str
    checks: dict[str, str]


class LoginForm(msgspec.Struct, frozen=True):
    """What the login page sends."""

    token: str
    next: str = "/"


class LoginQuery(msgspec.Struct, frozen=True):
    """Where to go after signing in."""

    next: str = "/"


FORM = "application/x-www-form-urlencoded"


class KernelRoutes:
    """Handlers of the service's own routes."""

    def __init__(
        self, readiness: Readiness, figures: MetricsRegistry, tokens: TokenAuthenticator, bodies: BodyReader
    ) -> None:
        self._readiness = readiness
        self._figures = figures
        self._tokens = tokens
        self._bodies = bodies
        self._tables: tuple[RouteTable, ...] = ()

    def table(self) -> RouteTable:
        """Return the routes."""
        page = answer(str, "A page.", HTML)
        moved = Answer("Go on at Location.")
        return RouteTable(
            "service",
            (
                Route(
                    "GET", "/health", self.health, "health", "Is the service alive?",
                    {200: answer(Health)}, public=True,
                ),
                Route(
                    "GET", "/ready", self.ready, "ready", "Can the service do its work now?",
                    {200: answer(Ready)}, public=True,
                ),
                Route(
                    "GET", "/metrics", self.metrics, "prometheus", "The service's own figures as Prometheus text.",
                    {200: answer(str, "The figures.", TEXT)},
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
                    body=Body({FORM: LoginForm}, limit=_LOGIN_BYTES), public=True,
                ),
                Route("POST", "/logout", self.logout, "logout", "Sign out.", {303: moved}, public=True),
            ),
        )  # fmt: skip

    def describe(self, tables: Iterable[RouteTable]) -> None:
        """Serve the document of these routes."""
        self._tables = tuple(tables)

    @cached_property
    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document of all routes."""
        return openapi.document(self._tables, self._tokens.cookie_name(secure=False))

    async def health(self, request: web.Request) -> web.StreamResponse:
        return json_response(Health("ok", __version__ if self._has_token(request) else ""))

    async def ready(self, request: web.Request) -> web.StreamResponse:
        checks = await self._readiness.ask()
        if all(said == "ok" for said in checks.values()):
            return json_response(Ready("ready", dict(checks)))
        if not self._has_token(request):
            # The reasons have names of machines, folders and databases in them.
            checks = {name: said if said == "ok" else "fails" for name, said in checks.items()}
        failing = "; ".join(f"{name}: {said}" for name, said in checks.items() if said != "ok")
        return problems.response(Unavailable(failing), request.path, REQUEST_ID.get() or "", {"checks": checks})

    def _has_token(self, request: web.Request) -> bool:
        """Return whether a valid token is shown, or none is needed; a wrong one counts as at every other route."""
        cookie = self._tokens.cookie_of(request.cookies, request.secure)
        try:
            self._tokens.admit(request.headers.get(hdrs.AUTHORIZATION), cookie, request.remote, request.path)
        except (NotAuthenticated, TooManyTries):
            return False
        return True

    async def metrics(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=self._figures.text(), headers={"Content-Type": CONTENT_TYPE})

    async def openapi(self, _: web.Request) -> web.StreamResponse:
        return JSONResponse(orjson.dumps(self.document, option=orjson.OPT_INDENT_2))

    async def docs(self, _: web.Request) -> web.StreamResponse:
        return _page("docs.html", document=self.document, phrases=_phrases())

    async def login_page(self, request: web.Request) -> web.StreamResponse:
        return _page("login.html", next=_local(request.query.get("next", "/")), wrong="")

    async def login(self, request: web.Request) -> web.StreamResponse:
        given = form(await self._bodies.read(request))
        target = _local(given.get("next", "/"))
        try:
            visitor = self._tokens.sign_in(given.get("token", ""), request.remote, request.path)
        except TooManyTries as error:
            page = _page("login.html", status=429, next=target, wrong=str(error))
            page.headers["Retry-After"] = str(math.ceil(error.retry_after))
            return page
        except NotAuthenticated:
            return _page("login.html", status=403, next=target, wrong="That is not the token of this service.")
        response = web.Response(status=303, headers={"Location": target})
        response.set_cookie(
            self._tokens.cookie_name(request.secure), self._tokens.cookie(visitor), max_age=COOKIE_SECONDS,
            httponly=True, samesite="Strict", secure=request.secure, path="/",
        )  # fmt: skip
        return response

    async def logout(self, request: web.Request) -> web.StreamResponse:
        response = web.Response(status=303, headers={"Location": "/login"})
        for name in (self._tokens.cookie_name(request.secure), COOKIE):
            response.del_cookie(name, path="/", secure=request.secure)
        return response


def _local(target: str) -> str:
    """Return `target` if it is a path of this service, else the start page: nobody is sent to another site."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    foreign = parts.scheme or parts.netloc or not target.startswith("/") or target.startswith(("//", "/\\"))
    return "/" if foreign or not target.isprintable() else target


def _phrases() -> dict[str, str]:
    return {str(int(status)): status.phrase for status in HTTPStatus}


@cache
def _templates() -> Any:
    # Only the few requests for pages need it.
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("smartmob.kernel.http", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )


def _page(template: str, status: int = 200, **values: object) -> web.StreamResponse:
    text = _templates().get_template(template).render(version=__version__, **values)
    headers = {**_PAGE_HEADERS, "Content-Security-Policy": _policy()}
    return web.Response(text=text, status=status, content_type=HTML, charset="utf-8", headers=headers)


@cache
def _policy() -> str:
    """Return what a browser may do with a page: it carries its style sheet, let in by its hash, and loads nothing."""
    style = hashlib.sha256(_templates().get_template("page.css").render().encode()).digest()
    return (
        f"default-src 'none'; style-src 'sha256-{base64.b64encode(style).decode()}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
