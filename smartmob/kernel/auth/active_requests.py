"""The requests that are being answered, by the stored token that authorised them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from smartmob.kernel.auth.model import Principal


class ActiveRequests:
    """The active requests with their principals.

    A WebSocket can stay open for days, so revoking a token must also cut the connections that it has opened.
    """

    def __init__(self) -> None:
        self._requests: dict[asyncio.Task[object], tuple[Principal, web.Request]] = {}

    async def track(
        self,
        principal: Principal,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Return the answer of `handler`; until then `abort_invalid` may cut the connection."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is handled outside of a task")
        self._requests[task] = principal, request
        try:
            return await handler(request)
        finally:
            del self._requests[task]

    def abort_invalid(self, is_valid: Callable[[bytes], bool]) -> None:
        """Cut WebSockets and streams whose token, named by its digest, is not valid any more.

        A request whose answer has not begun was authorised in time, and is answered.
        """
        for principal, request in self._requests.values():
            transport = request.transport
            if transport is not None and request.writer.output_size > 0 and not is_valid(principal.digest):
                transport.abort()
