"""The routes of tokens."""

from __future__ import annotations

import msgspec
from aiohttp import web

from smartmob.kernel.auth.model import CONTROL, MadeToken, NewToken, TokenEntry
from smartmob.kernel.auth.token_service import TokenService
from smartmob.kernel.http.requests import BodyReader, decode, json_response, parameter
from smartmob.kernel.http.routing import Answer, Route, RouteTable, answer, body

_TOKEN_BYTES = 64 * 1024


class TokenList(msgspec.Struct, frozen=True):
    """Tokens in the order of their names."""

    tokens: list[TokenEntry]


def table(keeper: TokenService, bodies: BodyReader) -> RouteTable:
    """Return the routes."""
    h = _Handlers(keeper, bodies)
    return RouteTable(
        "access",
        (
            Route(
                *("GET", "/tokens", h.tokens, "tokens", "The tokens beside the service's own."),
                {200: answer(TokenList)},
                roles=(CONTROL,),
            ),
            Route(
                *("POST", "/tokens", h.add, "add_token", "Make a token; the answer is the only place that shows it."),
                {201: answer(MadeToken), 409: Answer("There is one of that name, or the service has no token itself.")},
                body(NewToken, limit=_TOKEN_BYTES),
            ),
            Route(
                *("DELETE", "/tokens/{name}", h.revoke, "revoke_token", "Let a token hold no longer."),
                {204: Answer("It lets nobody in any more."), 404: Answer("There is no such token.")},
            ),
        ),
    )


class _Handlers:
    """Handlers of tokens."""

    def __init__(self, keeper: TokenService, bodies: BodyReader) -> None:
        self._keeper = keeper
        self._bodies = bodies
        self._new = msgspec.json.Decoder(NewToken)

    async def tokens(self, _: web.Request) -> web.StreamResponse:
        return json_response(TokenList(await self._keeper.entries()))

    async def add(self, request: web.Request) -> web.StreamResponse:
        made = await self._keeper.add(decode(self._new, await self._bodies.read(request)))
        response = json_response(made, 201)
        response.headers["Cache-Control"] = "no-store"
        return response

    async def revoke(self, request: web.Request) -> web.StreamResponse:
        await self._keeper.revoke(parameter(request, "name"))
        return web.Response(status=204)
