"""Error answers: the only table that maps exceptions to `application/problem+json` documents (RFC 9457)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import orjson
from aiohttp import web

from smartmob import errors, field_hints
from smartmob.kernel.http.json_response import JSONResponse

MEDIA_TYPE = "application/problem+json"

MAX_PATH_CHARACTERS = 200
"""The longest JSON path of a field that an answer shows; longer ones are cut."""

_MAX_TEXT_CHARACTERS = 1_000
_MAX_FAULTS = 50  # items of the member `errors`

_KINDS: tuple[tuple[type[errors.SmartmobError], HTTPStatus, str], ...] = (
    # The first row whose class matches is used, so a subclass stands before its base class.
    (errors.TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large"),
    (errors.InvalidInput, HTTPStatus.BAD_REQUEST, "invalid-input"),
    (errors.NotFound, HTTPStatus.NOT_FOUND, "not-found"),
    (errors.Conflict, HTTPStatus.CONFLICT, "conflict"),
    (errors.NotAuthenticated, HTTPStatus.UNAUTHORIZED, "not-authenticated"),
    (errors.NotAllowed, HTTPStatus.FORBIDDEN, "not-allowed"),
    (errors.TooSlow, HTTPStatus.REQUEST_TIMEOUT, "too-slow"),
    (errors.TooManyTries, HTTPStatus.TOO_MANY_REQUESTS, "too-many-tries"),
    (errors.Unavailable, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
)
_HTTP_NAMES = {
    400: "invalid-input",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
    417: "expectation-failed",
    426: "upgrade-required",
}
_TITLES = {
    "invalid-input": "Invalid input",
    "too-large": "Content too large",
    "not-found": "Not found",
    "method-not-allowed": "Method not allowed",
    "conflict": "Conflict with the current state",
    "not-authenticated": "Authentication required",
    "not-allowed": "Not allowed",
    "too-slow": "Request timeout",
    "too-many-tries": "Too many failed attempts",
    "unavailable": "Service unavailable",
    "internal": "Internal server error",
}
_MISSING = re.compile(r"Object missing required field `(.+?)`")
_AT = re.compile(r"(.*?) - at `(.+?)`", re.DOTALL)


def name_of(error: BaseException) -> tuple[int, str]:
    """Return the HTTP status and the problem's name for `error`; WebSocket and ZeroMQ frames use the same names."""
    for kind, status, name in _KINDS:
        if isinstance(error, kind):
            return int(status), name
    if isinstance(error, web.HTTPException):
        return error.status, _HTTP_NAMES.get(error.status, error.reason.lower().replace(" ", "-"))
    return 500, "internal"


def body_of(error: BaseException, instance: str, request_id: str) -> dict[str, Any]:
    """Return the members of the problem document for `error`."""
    status, name = name_of(error)
    body: dict[str, Any] = {
        "type": f"urn:smartmob:problem:{name}",
        "title": _TITLES.get(name, HTTPStatus(status).phrase),
        "status": status,
        "detail": _short(_detail(error, status), _MAX_TEXT_CHARACTERS),
        "instance": _short(instance, _MAX_TEXT_CHARACTERS),
        "request_id": request_id,
    }
    if isinstance(error, errors.InvalidInput) and error.faults:
        body["errors"] = [
            {"where": _short(fault.where, MAX_PATH_CHARACTERS), "message": _short(fault.message, _MAX_TEXT_CHARACTERS)}
            for fault in error.faults[:_MAX_FAULTS]
        ]
    return body


def _short(text: str, max_characters: int) -> str:
    """Cut a text to `max_characters`, so that an answer never repeats a large input at its full length."""
    return text if len(text) <= max_characters else f"{text[: max_characters - 1]}…"


def _detail(error: BaseException, status: int) -> str:
    if isinstance(error, errors.SmartmobError):
        return str(error)
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"{error.method} is not allowed here; allowed: {', '.join(sorted(error.allowed_methods))}."
    if isinstance(error, web.HTTPNotFound):
        return "There is nothing at this address; GET /docs lists all addresses."
    if isinstance(error, web.HTTPException):
        return error.text or error.reason
    return "This is a bug; the log of the service has the details under the request id." if status == 500 else ""


def response(
    error: BaseException, instance: str, request_id: str, extra: Mapping[str, Any] | None = None
) -> JSONResponse:
    """Return the answer for `error`; `extra` holds further members of the document."""
    body = body_of(error, instance, request_id) | dict(extra or {})
    answer = JSONResponse(orjson.dumps(body), body["status"], MEDIA_TYPE)
    headers = answer.headers
    if isinstance(error, errors.Unavailable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif isinstance(error, errors.NotAuthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="smartmob", Basic realm="smartmob", charset="UTF-8"'
    elif isinstance(error, web.HTTPMethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    return answer


def invalid(
    error: msgspec.MsgspecError | UnicodeDecodeError | RecursionError, prefix: str = "$", *,
    kind: Any = None, data: bytes = b"",
) -> errors.InvalidInput:  # fmt: skip
    """Return msgspec's error as an InvalidInput that names the bad field by its JSON path, beginning with `prefix`.

    With the type `kind` that the JSON `data` does not fit, the message says what the type expects.
    """
    if isinstance(error, RecursionError):
        return errors.InvalidInput.at(prefix, "the body is nested too deeply")
    if not isinstance(error, msgspec.ValidationError):
        # msgspec raises UnicodeDecodeError up to 0.22, and from 0.23 its own error with a text.
        bad_text = isinstance(error, UnicodeDecodeError) or "UTF-8" in str(error)
        message = "it is not UTF-8" if bad_text else str(error)
        return errors.InvalidInput.at(prefix, f"the body is not valid JSON: {message}")
    message, where = str(error), "$"
    if match := _AT.fullmatch(message):
        message, where = match[1], match[2]
    if kind is not None:
        try:
            document = msgspec.json.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as malformed:
            return invalid(malformed, prefix)  # after the field that does not fit
        message, where = field_hints.explained(message, where, kind, document)
    where = prefix + where[1:]
    if match := _MISSING.fullmatch(message):
        message, where = "this field is required", f"{where}.{match[1]}"
    return errors.InvalidInput.at(where, message)
