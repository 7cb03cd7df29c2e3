"""The request gate: what happens to every request before its handler and after it.

It gives the request an id, authorises it, refuses unknown query arguments, turns errors into answers, and writes the
access log.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError
from multidict import CIMultiDictProxy

from smartmob.errors import InvalidInput, NotAllowed, NotAuthenticated, SmartmobError
from smartmob.kernel.auth.authenticator import PRINCIPAL, HostRules, TokenAuthenticator
from smartmob.kernel.auth.model import CONTROL, Principal
from smartmob.kernel.auth.reservation_guard import HEADER, RESERVATION, ReservationGuard
from smartmob.kernel.http import html_pages, problems, ws_upgrade
from smartmob.kernel.http.bodies import wants_html
from smartmob.kernel.http.forwarding import ForwardedClient, TrustedProxies
from smartmob.kernel.http.json_response import JSONResponse
from smartmob.kernel.http.response_headers import REQUEST_ID_HEADER, add_security_headers
from smartmob.kernel.http.routing import REFUSED, Route
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.observability.log import REQUEST_ID, AccessLog, FinishedRequest
from smartmob.kernel.runtime.replica_reads import ReplicaReads
from smartmob.settings import Settings

log = get_logger()

BUCKET_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram of request durations."""

_MAX_UNREAD_BYTES = 64 * 1024
_CLIENT_CLOSED_STATUS = 499  # nginx's status for its log: the client has closed the connection and sees no answer
_QUOTED = re.compile(r"[:'\"\n]")
_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


class RequestStats:
    """Counts active and finished requests. Requests that finish in one turn of the loop are logged together."""

    def __init__(self, access_log: AccessLog) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        """Finished requests by method and status."""
        self.durations = [0] * (len(BUCKET_SECONDS) + 1)
        """Finished requests by bucket; the last bucket has no upper bound."""
        self.seconds = 0.0
        """The sum of all durations."""
        self.active = 0
        self._access_log = access_log
        self._pending: list[FinishedRequest] = []
        self._drained: asyncio.Event | None = None

    def add(self, finished: FinishedRequest) -> None:
        """Count one finished request and log it in the next turn of the loop."""
        self._pending.append(finished)
        if len(self._pending) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    @property
    def stopping(self) -> bool:
        """Return whether connections are closed after their present request."""
        return self._drained is not None

    async def drain(self, seconds: float) -> None:
        """Close connections after their present request; wait until no request is active, at most `seconds`."""
        self._drained = asyncio.Event()
        if self.active:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._drained.wait()

    def request_ended(self) -> None:
        """Count one active request less."""
        self.active -= 1
        if not self.active and self._drained is not None:
            self._drained.set()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        self.requests.update([(method, status) for method, _, status, _, _ in pending])
        for _, _, _, duration, _ in pending:
            self.durations[bisect_left(BUCKET_SECONDS, duration)] += 1
            self.seconds += duration
        self._access_log(pending)


_LONGEST_SHOWN_NAME = 100
"""Characters of an unknown argument's name that the error shows."""


class Proxies(Protocol):
    """The reverse proxies or workers between a client and this process."""

    def client(self, peer: str | None, headers: CIMultiDictProxy[str]) -> ForwardedClient | None:
        """Return the client of a request that came from the address `peer`, or None if that is the client itself."""


Audit = Callable[[web.Request, Route, web.StreamResponse], None]
"""Records a request of an authorised client and its answer."""


def _not_audited(_: web.Request, __: Route, ___: web.StreamResponse) -> None:
    """Record nothing."""


def trusted_proxies(settings: Settings) -> TrustedProxies:
    """Return the reverse proxies that are named in the settings."""
    return TrustedProxies(settings.trusted_proxy, settings.proxy_header)


class RequestGate(msgspec.Struct, frozen=True):
    """Decides whether a request reaches its handler, and answers it if not.

    `public` holds the paths that need no token, `routes` maps each route of aiohttp to our own, and `proxies` are the
    reverse proxies that are trusted. `replica_reads` is None unless the database has a replica.
    """

    tokens: TokenAuthenticator
    hosts: HostRules
    public: frozenset[str]
    request_stats: RequestStats
    routes: Mapping[web.AbstractRoute, Route] = msgspec.field(default_factory=dict)
    new_request_id: Callable[[], str] = msgspec.field(default_factory=lambda: _request_ids())
    proxies: Proxies = msgspec.field(default_factory=TrustedProxies)
    audit: Audit = _not_audited
    guard: ReservationGuard = msgspec.field(default_factory=ReservationGuard)
    replica_reads: ReplicaReads | None = None

    def authorise(self, request: web.Request, forwarded_host: str | None = None) -> Principal | None:
        """Return the principal of the token that the request shows, or None if it needs no token.

        `forwarded_host` is the Host of the client's own request if a trusted proxy states it. Raises NotAllowed or
        NotAuthenticated.
        """
        headers = request.headers
        upgrade = headers.get(hdrs.UPGRADE)
        # aiohttp strips the value too, so a WebSocket for aiohttp is one here as well.
        is_websocket = upgrade is not None and upgrade.strip().lower() == "websocket"
        self.hosts.check(request.method, headers, is_websocket, request.secure, forwarded_host)
        if not self.tokens.required or self._is_public(request):
            return None
        principal = self._authenticate(request)
        PRINCIPAL.set(principal)
        if principal.role != CONTROL or principal.only_nodes:
            try:
                self._check_role(request, principal, is_websocket)
            except NotAllowed:
                request[REFUSED] = True
                raise
        return principal

    def _authenticate(self, request: web.Request) -> Principal:
        cookie = self.tokens.cookie_of(request.cookies, request.secure)
        return self.tokens.authenticate_limited(
            request.headers.get(hdrs.AUTHORIZATION), cookie, request.remote, request.path
        )

    def _check_role(self, request: web.Request, principal: Principal, is_websocket: bool) -> None:
        route = self.routes.get(request.match_info.route)
        if route is None and request.match_info.http_exception is not None:
            return  # the router answers 404
        if route is None:
            raise NotAllowed(f"a token with the role {principal.role} may not use this")
        if principal.only_nodes and not route.of_nodes:
            raise NotAllowed(
                f"the token {principal.token} is limited to some nodes: it may use only /api/v1/nodes/NAME/service of "
                "those nodes"
            )
        allowed = route.socket_roles if is_websocket and route.socket_roles else route.allowed
        if principal.role not in allowed:
            raise NotAllowed(
                f"the token {principal.token or 'given'} has the role {principal.role}, but this needs "
                f"the role {' or '.join(allowed)}. `smartmob token add` creates tokens"
            )

    def _check_query(self, request: web.Request) -> None:
        """Raise InvalidInput for the first query argument that the route does not have."""
        route = self.routes.get(request.match_info.route)
        if route is None or route.any_query:
            return  # without a route, the router answers 404
        known = route.query_names
        for name in request.query:
            if name not in known:
                takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
                raise InvalidInput.at(name[:_LONGEST_SHOWN_NAME], f"this address has no such query argument; {takes}")

    def _is_public(self, request: web.Request) -> bool:
        resource = request.match_info.route.resource
        return (request.path if resource is None else resource.canonical) in self.public

    def middleware(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        """Return the application's only middleware."""
        perf_counter, request_stats, new_request_id = time.perf_counter, self.request_stats, self.new_request_id
        replica_reads = self.replica_reads

        @web.middleware
        async def handle(request: web.Request, handler: Any) -> web.StreamResponse:
            started = perf_counter()
            headers = request.headers
            given = headers.get(REQUEST_ID_HEADER)
            request_id = given if given is not None and _VALID_REQUEST_ID.fullmatch(given) else new_request_id()
            REQUEST_ID.set(request_id)
            request_stats.active += 1
            route: Route | None = None
            try:
                forwarded = self.proxies.client(request.remote, headers)
                if forwarded is not None:
                    request = _as_seen_by_proxy(request, forwarded)
                principal = self.authorise(request, None if forwarded is None else forwarded.host)
                if replica_reads is not None:
                    upgrades = hdrs.UPGRADE in request.headers
                    replica_reads.begin(request.method, request.remote, websocket=upgrades)
                route = self.routes.get(request.match_info.route)
                if request.rel_url.raw_query_string:
                    self._check_query(request)
                if (shown := headers.get(HEADER)) is not None:
                    RESERVATION.set(shown)
                if route is not None and route.starts_work:
                    self.guard.check()
                response: web.StreamResponse
                if principal is None or principal.token is None:
                    response = await handler(request)
                else:
                    response = await self.tokens.active_requests.track(principal, request, handler)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                if REFUSED in request:
                    route = self.routes.get(request.match_info.route)
                response = await _failed(request, error, request_id)
            finally:
                request_stats.request_ended()
            if request_stats.stopping or (not request.content.is_eof() and not _is_rest_small(request)):
                response.force_close()
            if not response.prepared:
                response.headers[REQUEST_ID_HEADER] = request_id
                add_security_headers(response.headers, request.secure)
            if route is not None:
                self.audit(request, route, response)
            request_stats.add((request.method, request.path, response.status, perf_counter() - started, request_id))
            return response

        return handle

    def reject(self, request: web.BaseRequest, error: Exception) -> JSONResponse:
        """Return the answer to a request that reached no handler, because it is not HTTP or could not be read."""
        request_id = self.new_request_id()
        REQUEST_ID.set(request_id)
        if isinstance(error, HttpProcessingError):
            reason = malformed_reason(error)
            response = problems.response(InvalidInput(f"this is not an HTTP request: {reason}"), "", request_id)
        else:
            reason = None
            log.error("http.failed", method=request.method, path=request.path, exc_info=error)
            response = problems.response(error, request.path, request_id)
        response.headers[REQUEST_ID_HEADER] = request_id
        add_security_headers(response.headers, request.secure)
        # Bytes without an HTTP method, such as TLS and port scanners send, would only fill the log.
        if not isinstance(error, BadHttpMethod):
            if reason is not None:
                log.info("http.malformed", reason=reason)
            self.request_stats.add((request.method, request.path, response.status, 0.0, request_id))
        return response


def _as_seen_by_proxy(request: web.Request, client: ForwardedClient) -> web.Request:
    """Return the request with the address, the scheme and the Host that a trusted proxy states."""
    return request.clone(
        remote=client.address,
        scheme=client.scheme or request.scheme,
        host=client.host or request.host,
    )


def _is_rest_small(request: web.Request) -> bool:
    """Return whether the unread part of a body is so small that the connection can be used again after it."""
    length = request.content_length
    return length is not None and length <= _MAX_UNREAD_BYTES and hdrs.EXPECT not in request.headers


def malformed_reason(error: HttpProcessingError) -> str:
    """Return what is wrong with a request, without its content, which may be a secret."""
    return _QUOTED.split(error.message, maxsplit=1)[0].strip() or "it is malformed"


def _request_ids() -> Callable[[], str]:
    """Return a source of request ids.

    The random prefix makes them unique across services and restarts; a UUID for each request takes a hundred times
    as long.
    """
    prefix, numbers = secrets.token_hex(6), itertools.count(1)
    return lambda: f"{prefix}-{next(numbers):x}"


async def _failed(request: web.Request, error: Exception, request_id: str) -> web.StreamResponse:
    """Return the answer to a request whose handler raised `error`; a WebSocket is closed with the reason."""
    socket = await ws_upgrade.close_failed(request, error)
    if socket is None:
        return _error_response(request, error, request_id)
    if not isinstance(error, SmartmobError | ConnectionError):
        log.error("http.failed", method=request.method, path=request.path, exc_info=error)
    return socket


def _error_response(request: web.Request, error: Exception, request_id: str) -> web.StreamResponse:
    """Return the answer to a request that failed with `error`; log unexpected errors with their traceback."""
    if isinstance(error, NotAuthenticated) and request.method == "GET" and wants_html(request):
        return web.Response(status=303, headers={"Location": f"/login?next={quote(str(request.rel_url), safe='/')}"})
    if isinstance(error, web.HTTPNotFound) and request.method == "GET" and wants_html(request):
        return html_pages.missing(request.path)
    if isinstance(error, web.HTTPException) and error.status < 400:
        return web.Response(status=error.status, headers=error.headers)
    if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
        return web.Response(status=_CLIENT_CLOSED_STATUS)
    if not isinstance(error, SmartmobError | web.HTTPException):
        log.error("http.failed", method=request.method, path=request.path, exc_info=error)
    return problems.response(error, request.path, request_id)
