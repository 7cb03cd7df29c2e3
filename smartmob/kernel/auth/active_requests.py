"""Requests that a stored token has let in, for as long as they are under way: they end when the token does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from smartmob.kernel.auth.model import Principal


class ActiveRequests:
    """Who is in. A WebSocket may stay for days, so it is not enough to look at a token when somebody comes."""

    def __init__(self) -> None:
        self._inside: dict[asyncio.Task[object], tuple[Principal, web.Request]] = {}

    async def accompany(
        self,
        visitor: Principal,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Return what `handler` answers; what has begun may be cut off until then."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is handled outside of a task")
        self._inside[task] = visitor, request
        try:
            return await handler(request)
        finally:
            del self._inside[task]

    def expel(self, holds: Callable[[bytes], bool]) -> None:
        """Cut off answers that have begun and whose token does not hold: WebSockets, and what streams.

        A request without any answer yet was let in while the token held, and is answered.
        """
        for visitor, request in self._inside.values():
            transport = request.transport
            if transport is not None and request.writer.output_size > 0 and not holds(visitor.digest):
                transport.abort()
