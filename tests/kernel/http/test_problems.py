"""Error answers: statuses, names and members of the problem document."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from aiohttp import web

from smartmob import errors
from smartmob.kernel.http import problems

KNOWN = [
    (errors.InvalidInput("x"), 400, "invalid-input"),
    (errors.TooLarge("x"), 413, "too-large"),
    (errors.NotFound("x"), 404, "not-found"),
    (errors.Conflict("x"), 409, "conflict"),
    (errors.NotAuthenticated(), 401, "not-authenticated"),
    (errors.NotAllowed("x"), 403, "not-allowed"),
    (errors.TooSlow("x"), 408, "too-slow"),
    (errors.Unavailable("x"), 503, "unavailable"),
    (web.HTTPNotFound(), 404, "not-found"),
    (web.HTTPMethodNotAllowed("PUT", ["GET"]), 405, "method-not-allowed"),
    (web.HTTPRequestEntityTooLarge(1, 2), 413, "too-large"),
    (web.HTTPBadRequest(), 400, "invalid-input"),
    (web.HTTPExpectationFailed(), 417, "expectation-failed"),
    (web.HTTPUnsupportedMediaType(), 415, "unsupported-media-type"),
    (web.HTTPTooManyRequests(), 429, "too-many-requests"),
    (errors.SmartmobError("x"), 500, "internal"),
    (errors.DatabaseError("x"), 500, "internal"),
    (ValueError("x"), 500, "internal"),
]
every_error = pytest.mark.parametrize(
    ("error", "status", "name"), KNOWN, ids=lambda value: type(value).__name__ if isinstance(value, Exception) else ""
)


@every_error
def test_each_error_has_its_status_and_name(error: Exception, status: int, name: str) -> None:
    """Each error has one status and one name, the same in every protocol."""
    assert problems.name_of(error) == (status, name)


@every_error
def test_a_problem_has_all_members(error: Exception, status: int, name: str) -> None:
    """The document has the members of RFC 9457 and the request id."""
    body = problems.body_of(error, "/metrics/", "id-1")

    assert set(body) == {"type", "title", "status", "detail", "instance", "request_id"}
    assert body["type"] == f"urn:smartmob:problem:{name}"
    assert (body["status"], body["instance"], body["request_id"]) == (status, "/metrics/", "id-1")
    assert body["title"]
    assert body["detail"]


@every_error
def test_the_answer_has_status_type_and_document(error: Exception, status: int, name: str) -> None:
    """The answer has the status, the media type and the document."""
    answer = problems.response(error, "/x", "id-1")

    assert answer.status == status
    assert answer._media_type == "application/problem+json"
    assert orjson.loads(answer.body) == problems.body_of(error, "/x", "id-1")


def test_the_message_of_our_error_is_the_detail() -> None:
    """The message of a SmartmobError is the detail."""
    assert problems.body_of(errors.Conflict("it exists"), "/", "i")["detail"] == "it exists"


def test_a_bug_is_not_shown() -> None:
    """The message of an unexpected exception is not in the answer."""
    body = problems.body_of(RuntimeError("password=hunter2"), "/", "i")

    assert "hunter2" not in str(body)
    assert "request id" in body["detail"]


def test_a_405_names_the_allowed_methods() -> None:
    """The detail and the header name the allowed methods."""
    error = web.HTTPMethodNotAllowed("PUT", ["POST", "GET"])

    assert problems.body_of(error, "/", "i")["detail"] == "PUT is not allowed here; allowed: GET, POST."
    assert problems.response(error, "/", "i").headers["Allow"] == "GET, POST"


def test_a_404_names_the_list_of_routes() -> None:
    """The detail of an unknown path names /docs."""
    assert "/docs" in problems.body_of(web.HTTPNotFound(), "/", "i")["detail"]


@pytest.mark.parametrize(
    ("error", "detail"), [(web.HTTPGone(text="moved away"), "moved away"), (web.HTTPGone(text=""), "Gone")]
)
def test_the_text_of_an_aiohttp_error_is_the_detail(error: web.HTTPException, detail: str) -> None:
    """The text of an error of aiohttp, or else its reason, is the detail."""
    assert problems.body_of(error, "/", "i")["detail"] == detail


@pytest.mark.parametrize(("seconds", "header"), [(1.0, "1"), (0.0, "1"), (2.1, "3"), (30, "30")])
def test_retry_after_has_whole_seconds(seconds: float, header: str) -> None:
    """Retry-After is rounded up to whole seconds, at least one."""
    answer = problems.response(errors.Unavailable("x", retry_after=seconds), "/", "i")

    assert answer.headers == {"Retry-After": header}


def test_a_401_names_the_schemes() -> None:
    """A 401 names the accepted schemes."""
    header = problems.response(errors.NotAuthenticated(), "/", "i").headers["WWW-Authenticate"]

    assert 'Bearer realm="smartmob"' in header
    assert 'Basic realm="smartmob", charset="UTF-8"' in header


def test_a_problem_can_have_further_members() -> None:
    """A route can add members to the document."""
    answer = problems.response(errors.Unavailable("x"), "/ready", "i", {"checks": {"database": "away"}})

    assert orjson.loads(answer.body)["checks"] == {"database": "away"}


def test_each_bad_field_is_listed() -> None:
    """Each fault is listed with its path and its message."""
    faults = (errors.Fault("$.a", "is wrong"), errors.Fault("$.b[3]", "is wrong too"))

    body = problems.body_of(errors.InvalidInput("two fields", faults), "/", "i")

    assert body["errors"] == [
        {"where": "$.a", "message": "is wrong"},
        {"where": "$.b[3]", "message": "is wrong too"},
    ]


class Inner(msgspec.Struct):
    """A part of an input."""

    size: int


class Outer(msgspec.Struct):
    """An input."""

    name: str
    parts: list[Inner] = []
    sizes: dict[str, int] = {}


@pytest.mark.parametrize(
    ("data", "where", "said"),
    [
        (b"{}", "$.name", "this field is required"),
        (b'{"name": 3}', "$.name", "Expected `str`, got `int`"),
        (b'{"name": "a", "parts": [{"size": 1}, {}]}', "$.parts[1].size", "this field is required"),
        (b'{"name": "a", "parts": [{"size": "x"}]}', "$.parts[0].size", "Expected `int`, got `str`"),
        (b'{"name": "a", "sizes": {"x": null}}', "$.sizes[...]", "Expected `int`, got `null`"),
        (b"[]", "$", "Expected `object`, got `array`"),
        (b"", "$", "the body is not valid JSON: Input data was truncated"),
        (b'{"name": ', "$", "the body is not valid JSON: Input data was truncated"),
        (b"{'name': 1}", "$", "the body is not valid JSON: JSON is malformed"),
    ],
)
def test_errors_of_msgspec_name_the_path(data: bytes, where: str, said: str) -> None:
    """The bad field is named by its path, and invalid JSON is named as such."""
    with pytest.raises(msgspec.MsgspecError) as caught:
        msgspec.json.decode(data, type=Outer)

    fault = problems.invalid(caught.value).faults[0]

    assert fault.where == where
    assert fault.message.startswith(said)


def test_query_arguments_are_named_without_a_root() -> None:
    """A query argument is named without the dollar sign of a body."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"name": "a", "parts": [{"size": "x"}]}, Outer)

    assert problems.invalid(caught.value, "").faults[0].where == ".parts[0].size"


@pytest.mark.parametrize("name", ["a - at `b`", "`", "a` - at `$.x`"])
def test_field_names_like_messages_do_not_confuse(name: str) -> None:
    """A field whose name looks like a message of msgspec is handled."""
    kind: Any = msgspec.defstruct("Odd", [("x", int, msgspec.field(name=name))])
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(b"{}", type=kind)

    assert problems.invalid(caught.value).faults[0].message


def test_invalid_utf_8_is_named() -> None:
    """Bytes that are not UTF-8 are named as such."""
    with pytest.raises(UnicodeDecodeError) as caught:
        b"\xff".decode()

    assert str(problems.invalid(caught.value)) == "$: the body is not valid JSON: it is not UTF-8"


def test_long_texts_are_cut() -> None:
    """Long inputs are cut in every member of the answer."""
    sent = "x" * 1_000_000
    error = errors.InvalidInput.at(sent, sent)
    body = problems.body_of(error, f"/{sent}", "id")
    assert len(orjson.dumps(body)) < 20_000
    (fault,) = body["errors"]
    for text in (body["detail"], body["instance"], fault["where"], fault["message"]):
        assert text.endswith("\u2026")
    assert problems.body_of(errors.NotFound("short"), "/here", "id")["detail"] == "short"
