"""Handlers of the routes for machines: register, send samples, query stored samples.

Errors that seed 001 defines have its form, `{"error": text}`.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from functools import wraps
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import hdrs, web

from smartmob.errors import InvalidInput, NotAuthenticated, TooManyTries
from smartmob.hosts import client_ids, model
from smartmob.hosts.fields import Container, FileSystem, StaleField, message_fields
from smartmob.hosts.service import HostsService, UnsupportableName
from smartmob.kernel.auth.authenticator import TokenAuthenticator
from smartmob.kernel.auth.events import Credential
from smartmob.kernel.auth.model import CONTROL, INGEST, READ, Role
from smartmob.kernel.db.database import Record
from smartmob.kernel.http import json_depth
from smartmob.kernel.http.bodies import BodyReader, decode, form, parameter, query
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.peer_address import peer_address
from smartmob.kernel.http.routing import JSON, Handler
from smartmob.kernel.http.stream_response import stream
from smartmob.kernel.runtime.times import from_seconds

UNREAD_HEADER = "X-Unread-Fields"
"""The header of an answer to a sample that names the fields of the sample that were not stored, percent-encoded."""
_UNAUTHORIZED = "authorization error"
_UNSUPPORTABLE = "unsupportable username"
_EMPTY = "incorrect data size"
_VALUE = "value error"
_LOG_EMPTY = "log is empty"


class Credentials(msgspec.Struct, frozen=True):
    """The name and the password of a machine; some clients send the password as `pass`."""

    username: str
    password: str | None = None
    pass_: str | None = msgspec.field(default=None, name="pass")


Sample = msgspec.defstruct(
    "Sample",
    [
        *message_fields(float | str),
        ("id", int | str | None, None),
        ("cores", list[float | str] | None, None),
        ("temperatures", dict[str, float | str] | None, None),
        ("stale", dict[str, StaleField] | None, None),
        ("container", Container | None, None),
        ("totals", dict[str, float] | None, None),
        ("file_systems", dict[str, FileSystem] | None, None),
        ("unread", list[str] | None, None),
    ],
    frozen=True,
    module=__name__,
    namespace={"__doc__": "A sample; numbers may be strings. One of `time` and `unix_time` is required."},
)


class Registered(msgspec.Struct, frozen=True, omit_defaults=True):
    """The client id of a machine; `registration` is its name if it is new."""

    client_id: str
    registration: str | None = None


class WrittenTime(msgspec.Struct, frozen=True):
    """The times of the first and the last sample."""

    start: float
    end: float


class ReportRow(msgspec.Struct, frozen=True):
    """A sample in a report."""

    cpu: float | None
    mem: float | None
    storage: float | None
    unix_time: float


class SampleReport(msgspec.Struct, frozen=True):
    """The samples of a span, in the order of time."""

    payload: list[ReportRow]


class SpanQuery(msgspec.Struct, frozen=True):
    """The ends of a span in seconds since 1970; an empty one is open."""

    start: str = ""
    end: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """An error in the form of seed 001."""

    error: str


_CREDENTIALS = msgspec.json.Decoder(Credentials)
_SAMPLE = msgspec.json.Decoder(model.SampleData, strict=False)


def _refuses(handler: Handler) -> Handler:
    """Return a handler whose errors have the form of seed 001."""

    @wraps(handler)
    async def refusing(*arguments: Any) -> web.StreamResponse:
        try:
            return await handler(*arguments)
        except UnsupportableName:
            return _refusal(401, _UNSUPPORTABLE)
        except NotAuthenticated:
            return _refusal(401, _UNAUTHORIZED)
        except TooManyTries as error:
            refusal = _refusal(429, str(error))
            refusal.headers[hdrs.RETRY_AFTER] = str(math.ceil(error.retry_after))
            return refusal
        except InvalidInput as error:
            if type(error) is not InvalidInput:
                raise
            return _refusal(400, str(error))

    return refusing


def _refusal(status: int, text: str) -> web.StreamResponse:
    return json_response(Refusal(text), status)


class Reporting:
    """Handlers of the routes below /client. With `registration` None, it is open unless the service has a token."""

    def __init__(
        self, service: HostsService, bodies: BodyReader, tokens: TokenAuthenticator, registration: bool | None
    ) -> None:
        self._service = service
        self._bodies = bodies
        self._tokens = tokens
        self._open = not tokens.required if registration is None else registration

    @property
    def handlers(self) -> dict[str, Handler]:
        """Return the handlers by name."""
        methods: tuple[Callable[[web.Request], Awaitable[web.StreamResponse]], ...] = (
            self.register,
            self.sample,
            self.written_time,
            self.report,
        )
        return {method.__name__: _refuses(method) for method in methods}

    async def register(self, request: web.Request) -> web.StreamResponse:
        given = decode(_CREDENTIALS, _as_json(await self._bodies.read(request)))
        password = given.password if given.password is not None else given.pass_
        if not client_ids.is_name(given.username):
            raise UnsupportableName
        if not password or len(password) > client_ids.LONGEST_PASSWORD or "\0" in password:
            raise InvalidInput.at("$.password", f"a text of 1 to {client_ids.LONGEST_PASSWORD} characters is required")
        secret = f"{request.headers.get(hdrs.AUTHORIZATION)}\0{given.username}\0{password}"
        shown = Credential(request.remote, secret, "password", request.path)
        client_id, is_new = await self._tokens.tries.check(
            shown,
            lambda: self._service.register(
                given.username, password, may_register=self._open or self._may(request, INGEST, CONTROL)
            ),
        )
        return json_response(Registered(client_id, given.username if is_new else None))

    async def sample(self, request: web.Request) -> web.StreamResponse:
        name = await self._name(request, INGEST, CONTROL)
        body = await self._bodies.read(request)
        if _is_empty(body):
            return _refusal(400, _EMPTY)
        data = model.form_data(form(body)) if _is_form(body) else _sample(body)
        if data.unread:
            self._service.log_unread(name, (data,))
        await self._service.store(name, (data,))
        peer = peer_address(request)
        self._service.addresses.seen(name, None if peer is None else peer.address)
        answer = json_response(model.as_numbers(data), 202)
        if data.unread:
            answer.headers[UNREAD_HEADER] = ", ".join(quote(field, safe="") for field in data.unread)
        return answer

    async def written_time(self, request: web.Request) -> web.StreamResponse:
        span = await self._service.queries.sample_span(await self._name(request, READ, CONTROL))
        if span is None:
            return _refusal(406, _LOG_EMPTY)
        start, end = (model.plain_number(moment.timestamp()) for moment in span)
        return json_response(WrittenTime(start, end))

    async def report(self, request: web.Request) -> web.StreamResponse:
        name = await self._name(request, READ, CONTROL)
        asked = query(request, SpanQuery)
        try:
            first, last = _bound(asked.start), _bound(asked.end)
        except InvalidInput:
            return _refusal(400, _VALUE)
        return await stream(request, _payload(self._service.queries.report(name, first, last)), JSON)

    async def _name(self, request: web.Request, *roles: Role) -> str:
        """Return the machine in the path if the request has its client id or a token with one of the roles."""
        name = parameter(request, "username")
        given = request.headers.get(hdrs.AUTHORIZATION)
        cookie = self._tokens.cookie_of(request.cookies, request.secure)
        if given is None and cookie is None:
            raise NotAuthenticated  # without credentials it does not count as a wrong try

        async def has_token() -> bool:
            if self._may(request, *roles):
                return True
            await self._service.authenticate(client_ids.authorization_id(given), name)
            return False

        shown = Credential(request.remote, f"{given}\0{cookie}\0{name}", "header", request.path)
        if await self._tokens.tries.check(shown, has_token):
            await self._service.queries.host(name)
        return name

    def _may(self, request: web.Request, *roles: Role) -> bool:
        cookie = self._tokens.cookie_of(request.cookies, request.secure)
        return self._tokens.allows(request.headers.get(hdrs.AUTHORIZATION), cookie, *roles)


def _sample(body: bytes) -> model.SampleData:
    """Return the sample in a JSON body, read as Python's `json` reads it (NaN is allowed). Raises InvalidInput."""
    json_depth.check(body)
    if b"\\u0000" in body:
        decode(_SAMPLE, body)  # decoding refuses it
    try:
        return model.read_sample(json.loads(body.decode().removeprefix("\ufeff")))
    except InvalidInput:
        decode(_SAMPLE, body)  # the error names the field by its path
        raise
    except (ValueError, RecursionError) as error:
        decode(_SAMPLE, body)
        raise InvalidInput.at("$", str(error)) from None


def _is_empty(body: bytes) -> bool:
    text = body.strip()
    return text in (b"", b"{}", b"[]", b"null") or (text[:1] == b"{" and text[1:-1].isspace())


def _is_form(body: bytes) -> bool:
    """Return whether a body is a form; JSON is accepted with any Content-Type, as `curl --data` sends it."""
    return not body.lstrip().startswith((b"{", b"["))


FORM = "application/x-www-form-urlencoded"


def _as_json(body: bytes) -> bytes:
    """Return the fields of a form as JSON; a body that is JSON is returned unchanged."""
    return msgspec.json.encode(form(body)) if _is_form(body) and body.strip() else body


def _bound(text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        return from_seconds("start", float(text))
    except ValueError:
        raise InvalidInput(_VALUE) from None


async def _payload(batches: AsyncIterator[list[Record]]) -> AsyncIterator[bytes]:
    before = '{"payload":['
    async for rows in batches:
        yield (before + ",".join([row[0] for row in rows])).encode()
        before = ","
    yield b"]}" if before == "," else b'{"payload":[]}'
