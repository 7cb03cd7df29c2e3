"""The OpenAPI document, generated from routes and their Structs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from aiohttp import web

from smartmob import __version__
from smartmob.kernel.http.openapi import document, documented_path
from smartmob.kernel.http.routing import CSV, JSON, NDJSON, Answer, Body, Route, RouteTable, answer, body


class Part(msgspec.Struct):
    """A part of a thing."""

    size: int


class Thing(msgspec.Struct):
    """A thing."""

    name: str
    parts: list[Part] = []


class Search(msgspec.Struct):
    """The query of a search."""

    text: str
    page: int = 1
    flags: str | None = None


async def _handler(_: web.Request) -> web.StreamResponse:
    raise AssertionError


def _route(method: str = "GET", path: str = "/things/", **changes: Any) -> Route:
    given: dict[str, Any] = {"answers": {200: answer(list[Thing], "All of them.")}} | changes
    return Route(method, path, _handler, "things", "List the things.", **given)


def _operation(route: Route, **changes: Any) -> dict[str, Any]:
    path = documented_path(route.path)
    found: dict[str, dict[str, Any]] = document([RouteTable("feature", (route,), **changes)])["paths"][path]
    return found[route.method.lower()]


def test_the_document_has_version_and_security_schemes() -> None:
    """The document has the versions of OpenAPI and of the service, and the security schemes."""
    made = document([])

    assert made["openapi"] == "3.1.0"
    assert made["info"]["version"] == __version__
    assert made["paths"] == {}
    assert set(made["components"]["securitySchemes"]) == {"bearer", "basic", "cookie"}
    # The empty one: a service without a token asks for none.
    assert made["security"] == [{"bearer": []}, {"basic": []}, {"cookie": []}, {}]


@pytest.mark.parametrize(
    ("path", "documented"),
    [
        ("/", "/"),
        ("/things/{name}", "/things/{name}"),
        ("/things/{name:[a-z]+}/parts/{size:\\d+}", "/things/{name}/parts/{size}"),
        ("/{a}/{b}", "/{a}/{b}"),
        ("/things/{hash:[0-9a-f]{32}}/parts", "/things/{hash}/parts"),
    ],
)
def test_patterns_are_left_out_of_paths(path: str, documented: str) -> None:
    """The patterns of the router do not appear in documented paths."""
    assert documented_path(path) == documented


def test_each_method_has_its_operation() -> None:
    """Each method of a path has an operation with its name, summary and feature."""
    made = document([RouteTable("feature", (_route(), _route("POST", body=body(Thing))))])

    item = made["paths"]["/things/"]
    assert set(item) == {"get", "post"}
    assert (item["get"]["operationId"], item["get"]["summary"], item["get"]["tags"]) == (
        "things",
        "List the things.",
        ["feature"],
    )


def test_path_parameters_are_required_texts() -> None:
    """Each parameter in a path is a required text."""
    parameters = _operation(_route(path="/things/{name}/{size:\\d+}"))["parameters"]

    assert [(each["name"], each["in"], each["required"]) for each in parameters] == [
        ("name", "path", True),
        ("size", "path", True),
    ]


def test_query_parameters_come_from_the_struct() -> None:
    """Each field of the Struct is a parameter, required if it has no default, with its type."""
    parameters = {each["name"]: each for each in _operation(_route(query=Search))["parameters"]}

    assert {name: each["required"] for name, each in parameters.items()} == {
        "text": True,
        "page": False,
        "flags": False,
    }
    assert all(each["in"] == "query" for each in parameters.values())
    assert parameters["page"]["schema"]["type"] == "integer"


def test_a_body_has_its_types_and_its_errors() -> None:
    """A route with a body documents its types by media type, and the errors of bodies."""
    operation = _operation(_route("POST", body=Body({JSON: Thing, NDJSON: Part}, required=False)))

    assert operation["requestBody"] == {
        "required": False,
        "content": {
            JSON: {"schema": {"$ref": "#/components/schemas/Thing"}},
            NDJSON: {"schema": {"$ref": "#/components/schemas/Part"}},
        },
    }
    assert {"408", "413"} <= set(operation["responses"])


def test_alternative_types_are_any_of() -> None:
    """A body of one of several types is documented with `anyOf`."""
    operation = _operation(_route("POST", body=body((Thing, list[Thing]))))

    schema = operation["requestBody"]["content"][JSON]["schema"]
    assert [each.get("$ref", each.get("type")) for each in schema["anyOf"]] == ["#/components/schemas/Thing", "array"]


def test_a_route_without_a_body_has_no_body_errors() -> None:
    """A route without a body documents no errors of bodies."""
    operation = _operation(_route())

    assert "requestBody" not in operation
    assert not {"408", "413"} & set(operation["responses"])


def test_each_status_has_its_meaning_and_types() -> None:
    """Each status has a description and the types of its body, if it has one."""
    answers = {200: Answer("Rows.", {JSON: list[Thing], CSV: str}), 204: Answer("Nothing found.")}
    responses = _operation(_route(answers=answers))["responses"]

    assert responses["200"]["description"] == "Rows."
    assert responses["200"]["content"][CSV]["schema"] == {"type": "string"}
    assert responses["200"]["content"][JSON]["schema"]["items"] == {"$ref": "#/components/schemas/Thing"}
    assert responses["204"] == {"description": "Nothing found."}
    assert list(responses) == sorted(responses)


def test_common_errors_are_documented_as_problems() -> None:
    """The errors of every route are documented as problems; the route's own description overrides them."""
    responses = _operation(_route(answers={200: answer(str), 404: Answer("Unknown."), 403: answer(str, "No.")}))[
        "responses"
    ]
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

    assert {"400", "401", "500", "503"} <= set(responses)
    assert responses["400"]["content"] == problem
    assert responses["404"] == {"description": "Unknown.", "content": problem}
    assert responses["403"] == {"description": "No.", "content": {JSON: {"schema": {"type": "string"}}}}


def test_each_struct_is_one_component() -> None:
    """Each Struct is one component, including nested ones."""
    tables = [
        RouteTable("feature", (_route(), _route("POST", body=body(Thing)))),
        RouteTable("other", (_route(path="/x"),)),
    ]

    schemas = document(tables)["components"]["schemas"]

    assert {"Thing", "Part", "Problem", "FieldError"} == set(schemas)
    assert schemas["Thing"]["required"] == ["name"]
    assert schemas["Part"]["description"] == "A part of a thing."


def test_a_public_route_needs_no_security() -> None:
    """A public route is documented as needing no token."""
    assert _operation(_route(public=True))["security"] == [{}]
    assert "security" not in _operation(_route())


def test_prefixes_are_documented_as_servers() -> None:
    """A feature with several prefixes documents them; one without does not."""
    made = document(
        [RouteTable("feature", (_route(),), prefixes=("", "/api/v1")), RouteTable("b", (_route(path="/b"),))]
    )

    assert made["paths"]["/things/"]["get"]["servers"] == [{"url": "/"}, {"url": "/api/v1"}]
    assert "servers" not in made["paths"]["/b"]["get"]
