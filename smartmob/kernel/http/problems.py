"""Errors as answers: the one table from exceptions to `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import orjson
from aiohttp import web

from smartmob import errors
from smartmob.kernel.http.json_response import JSONResponse

MEDIA_TYPE = "application/problem+json"

LONGEST_PLACE = 200
"""Characters of a field's path that an answer shows."""

_LONGEST_TEXT = 1_000
_MOST_FAULTS = 50

_KINDS: tuple[tuple[type[errors.SmartmobError], HTTPStatus, str], ...] = (
    # The first line whose class fits counts, so a subclass stands before its base.
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
    "invalid-input": "The input does not fit",
    "too-large": "The input is too large",
    "not-found": "There is no such thing",
    "method-not-allowed": "The method is not offered here",
    "conflict": "The request does not fit the present state",
    "not-authenticated": "A token is needed",
    "not-allowed": "The request is not allowed",
    "too-slow": "The request did not arrive in time",
    "too-many-tries": "Too many proofs were refused",
    "unavailable": "The service cannot do this now",
    "internal": "The service made a mistake",
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
        "detail": _short(_detail(error, status), _LONGEST_TEXT),
        "instance": _short(instance, _LONGEST_TEXT),
        "request_id": request_id,
    }
    if isinstance(error, errors.InvalidInput) and error.faults:
        body["errors"] = [
            {"where": _short(fault.where, LONGEST_PLACE), "message": _short(fault.message, _LONGEST_TEXT)}
            for fault in error.faults[:_MOST_FAULTS]
        ]
    return body


def _short(text: str, most: int) -> str:
    """Return a text of at most `most` characters: what was sent is not sent back at its full length."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _detail(error: BaseException, status: int) -> str:
    if isinstance(error, errors.SmartmobError):
        return str(error)
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"{error.method} is not offered here; offered: {', '.join(sorted(error.allowed_methods))}."
    if isinstance(error, web.HTTPNotFound):
        return "There is nothing at this address; GET /docs lists what there is."
    if isinstance(error, web.HTTPException):
        return error.text or error.reason
    return "This is a bug; the log of the service tells more under the request id." if status == 500 else ""


def response(
    error: BaseException, instance: str, request_id: str, extra: Mapping[str, Any] | None = None
) -> JSONResponse:
    """Return the answer for `error`."""
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
    error: msgspec.MsgspecError | UnicodeDecodeError | RecursionError, prefix: str = "$"
) -> errors.InvalidInput:
    """Return the refusal for what msgspec says of an input; the bad field is named as a JSON path."""
    if isinstance(error, RecursionError):
        return errors.InvalidInput.at(prefix, "the body is nested too deeply")
    if not isinstance(error, msgspec.ValidationError):
        said = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        return errors.InvalidInput.at(prefix, f"the body is not valid JSON: {said}")
    said, where = str(error), prefix
    if match := _AT.fullmatch(said):
        said, where = match[1], prefix + match[2][1:]
    if match := _MISSING.fullmatch(said):
        said, where = "this field is required", f"{where}.{match[1]}"
    return errors.InvalidInput.at(where, said)
