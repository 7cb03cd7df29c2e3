"""Reads the answers of a server within limits, and gives reasons of failures in words."""

from __future__ import annotations

import os
import ssl
from typing import Any

import orjson

from smartmob.client import refusals
from smartmob.client.http_connection import ResponseHead
from smartmob.client.limits import LIMITS
from smartmob.errors import RemoteError

_LONGEST_TYPE = 200  # characters
_NO_JSON = "the server answered something that is not JSON; is it a smartmob service?"


def is_service(answer: ResponseHead) -> bool:
    """Return whether the header Server of an answer is that of a service."""
    return answer.headers.get("server", "").startswith(refusals.SERVER_NAME)


def shown_type(answer: ResponseHead) -> str:
    """Return the media type of an answer for a message."""
    return answer.content_type[:_LONGEST_TYPE]


def check_line(line: bytes | bytearray) -> None:
    """Check the length of a line; raises RemoteError."""
    if len(line) > LIMITS.line_bytes:
        raise RemoteError(f"the server sent a line of more than {LIMITS.line_bytes} bytes")


def os_reason(error: OSError | UnicodeError) -> str:
    """Return why a connection could not be opened."""
    if isinstance(error, UnicodeError):
        return "the name of the machine is not valid"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    # The messages of asyncio contain addresses; errors of name resolution and TLS have no errno of the system.
    if error.errno is None or error.errno <= 0 or isinstance(error, ssl.SSLError):
        return error.strerror or str(error)
    return os.strerror(error.errno)


async def whole(answer: ResponseHead, max_bytes: int) -> bytes:
    """Return a body; raises RemoteError for more than `max_bytes` bytes."""
    body = bytearray()
    async for chunk in answer.chunks():
        body += chunk
        if len(body) > max_bytes:
            raise RemoteError(too_large(max_bytes))
    return bytes(body)


def too_large(max_bytes: int | None = None) -> str:
    """Return the sentence about an answer that is too large."""
    return f"the server's answer has more than {max_bytes or LIMITS.document_bytes} bytes"


def counted(size: int, chunk: bytes, max_bytes: int) -> int:
    """Return the number of bytes received including `chunk`; raises RemoteError for more than `max_bytes`."""
    size += len(chunk)
    if size > max_bytes:
        raise RemoteError(too_large(max_bytes))
    return size


def json_of(text: bytes | str) -> Any:
    """Return the document in a text; raises RemoteError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise RemoteError(_NO_JSON) from None


def parsed(answer: ResponseHead, body: bytes, url: str) -> Any:
    """Return the document in the answer of the server at `url`; raises RemoteError."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if not is_service(answer):
            raise refusals.NotSmartmob(url, f"it sends {shown_type(answer)}") from None
        raise RemoteError(_NO_JSON) from None


def check_type(answer: ResponseHead, wanted: str, url: str) -> None:
    """Check that a body has the media type that was requested of the server at `url`; raises RemoteError."""
    if answer.content_type != wanted:
        sent = shown_type(answer)
        if not is_service(answer):
            raise refusals.NotSmartmob(url, f"it sends {sent} instead of {wanted}")
        raise RemoteError(f"the server answered {sent} where {wanted} was asked for")


def reason_of(error: BaseException) -> str:
    """Return why a connection broke."""
    if isinstance(error, TimeoutError):
        return "the server said nothing for too long"
    return str(error) or type(error).__name__
