"""Answers of any length, sent in chunks while they are produced."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from smartmob.kernel.http.response_headers import REQUEST_ID_HEADER, add_security_headers
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.observability.log import REQUEST_ID

log = get_logger()


async def stream(
    request: web.Request,
    chunks: AsyncIterator[bytes],
    media_type: str,
    name: str | None = None,
    extra_headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Send `chunks` as they come, with `extra_headers`; a browser saves them as a file if `name` is given.

    An error before the first chunk becomes an ordinary error answer. After a later error the connection is cut, so
    that the client does not mistake a part for the whole.
    """
    headers = {"Content-Type": media_type, REQUEST_ID_HEADER: REQUEST_ID.get() or "", **(extra_headers or {})}
    add_security_headers(headers, request.secure)
    if name is not None:
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    iterator = aiter(chunks)
    first = await anext(iterator, b"")
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        await response.write(first)
        async for chunk in iterator:
            await response.write(chunk)
        await response.write_eof()
    except ConnectionError:
        pass  # the client has disconnected
    except Exception as error:
        log.error("http.stream_broken", path=request.path, exc_info=error)
        if request.transport is not None:
            request.transport.abort()
    return response
