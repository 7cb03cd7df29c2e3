"""The routes of tokens."""

from __future__ import annotations

import msgspec
from aiohttp import web

from smartmob.kernel.auth.model import CONTROL, MadeToken, NewToken, TokenEntry
from smartmob.kernel.auth.token_service import TokenService
from smartmob.kernel.http.bodies import BodyReader, decode, parameter
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import AUDITED, Answer, Route, RouteTable, answer, body

_MAX_TOKEN_BYTES = 64 * 1024


class TokenList(msgspec.Struct, frozen=True):
    """Tokens in the order of their names."""

    tokens: list[TokenEntry]


def table(service: TokenService, bodies: BodyReader) -> RouteTable:
    """Return the route table."""
    h = _Handlers(service, bodies)
    return RouteTable(
        "access",
        (
            Route(
                "GET",
                "/tokens",
                h.tokens,
                "tokens",
                "All tokens except the service's own.",
                {200: answer(TokenList)},
                roles=(CONTROL,),
            ),
            Route(
                "POST",
                "/tokens",
                h.add,
                "add_token",
                "Create a token; it cannot be shown again.",
                {201: answer(MadeToken), 409: Answer("The name is taken, or the service itself has no token.")},
                body(NewToken, limit=_MAX_TOKEN_BYTES),
            ),
            Route(
                "DELETE",
                "/tokens/{name}",
                h.revoke,
                "revoke_token",
                "Revoke a token.",
                {204: Answer("The token is not valid any more."), 404: Answer("There is no such token.")},
            ),
        ),
    )


class _Handlers:
    """The handlers of the token routes."""

    def __init__(self, service: TokenService, bodies: BodyReader) -> None:
        self._service = service
        self._bodies = bodies
        self._new = msgspec.json.Decoder(NewToken)

    async def tokens(self, _: web.Request) -> web.StreamResponse:
        return json_response(TokenList(await self._service.entries()))

    async def add(self, request: web.Request) -> web.StreamResponse:
        new = decode(self._new, await self._bodies.read(request))
        request[AUDITED] = f"{new.name} {new.role}"
        made = await self._service.add(new)
        response = json_response(made, 201)
        response.headers["Cache-Control"] = "no-store"
        return response

    async def revoke(self, request: web.Request) -> web.StreamResponse:
        await self._service.revoke(parameter(request, "name"))
        return web.Response(status=204)
