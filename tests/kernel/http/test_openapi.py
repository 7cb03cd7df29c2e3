"""The OpenAPI document, made from routes and their Structs."""

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
    """What to look for."""

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


def test_the_frame() -> None:
    """It says which OpenAPI it is, of which version of the service, and how to sign in."""
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
def test_paths(path: str, documented: str) -> None:
    """The patterns of the router are left out."""
    assert documented_path(path) == documented


def test_operations_of_one_path() -> None:
    """Each method has its operation, with its name, its sentence and its feature."""
    made = document([RouteTable("feature", (_route(), _route("POST", body=body(Thing))))])

    item = made["paths"]["/things/"]
    assert set(item) == {"get", "post"}
    assert (item["get"]["operationId"], item["get"]["summary"], item["get"]["tags"]) == (
        "things",
        "List the things.",
        ["feature"],
    )


def test_parts_of_the_path() -> None:
    """Each is a required text."""
    parameters = _operation(_route(path="/things/{name}/{size:\\d+}"))["parameters"]

    assert [(each["name"], each["in"], each["required"]) for each in parameters] == [
        ("name", "path", True),
        ("size", "path", True),
    ]


def test_arguments_of_the_query() -> None:
    """Each field of the Struct, required where it has no default, with its type."""
    parameters = {each["name"]: each for each in _operation(_route(query=Search))["parameters"]}

    assert {name: each["required"] for name, each in parameters.items()} == {
        "text": True,
        "page": False,
        "flags": False,
    }
    assert all(each["in"] == "query" for each in parameters.values())
    assert parameters["page"]["schema"]["type"] == "integer"


def test_bodies() -> None:
    """What a route takes is there by media type, and so is what may be wrong with it."""
    operation = _operation(_route("POST", body=Body({JSON: Thing, NDJSON: Part}, required=False)))

    assert operation["requestBody"] == {
        "required": False,
        "content": {
            JSON: {"schema": {"$ref": "#/components/schemas/Thing"}},
            NDJSON: {"schema": {"$ref": "#/components/schemas/Part"}},
        },
    }
    assert {"408", "413"} <= set(operation["responses"])


def test_one_of_several_types() -> None:
    """A body that may be the one or the other says so."""
    operation = _operation(_route("POST", body=body((Thing, list[Thing]))))

    schema = operation["requestBody"]["content"][JSON]["schema"]
    assert [each.get("$ref", each.get("type")) for each in schema["anyOf"]] == ["#/components/schemas/Thing", "array"]


def test_without_a_body() -> None:
    """Nothing is said of bodies where none is taken."""
    operation = _operation(_route())

    assert "requestBody" not in operation
    assert not {"408", "413"} & set(operation["responses"])


def test_answers() -> None:
    """Each status has its meaning and the types of its body, and none where there is no body."""
    answers = {200: Answer("Rows.", {JSON: list[Thing], CSV: str}), 204: Answer("Nothing found.")}
    responses = _operation(_route(answers=answers))["responses"]

    assert responses["200"]["description"] == "Rows."
    assert responses["200"]["content"][CSV]["schema"] == {"type": "string"}
    assert responses["200"]["content"][JSON]["schema"]["items"] == {"$ref": "#/components/schemas/Thing"}
    assert responses["204"] == {"description": "Nothing found."}
    assert list(responses) == sorted(responses)


def test_errors() -> None:
    """What every route may answer is there, each as a problem; a route's own word on an error counts more."""
    responses = _operation(_route(answers={200: answer(str), 404: Answer("Unknown."), 403: answer(str, "No.")}))[
        "responses"
    ]
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

    assert {"400", "401", "500", "503"} <= set(responses)
    assert responses["400"]["content"] == problem
    assert responses["404"] == {"description": "Unknown.", "content": problem}
    assert responses["403"] == {"description": "No.", "content": {JSON: {"schema": {"type": "string"}}}}


def test_types() -> None:
    """Each Struct stands once among the components, the ones inside others included."""
    tables = [
        RouteTable("feature", (_route(), _route("POST", body=body(Thing)))),
        RouteTable("other", (_route(path="/x"),)),
    ]

    schemas = document(tables)["components"]["schemas"]

    assert {"Thing", "Part", "Problem", "FieldError"} == set(schemas)
    assert schemas["Thing"]["required"] == ["name"]
    assert schemas["Part"]["description"] == "A part of a thing."


def test_public_routes() -> None:
    """A route that asks for no token says so."""
    assert _operation(_route(public=True))["security"] == [{}]
    assert "security" not in _operation(_route())


def test_prefixes() -> None:
    """A feature that answers below several prefixes tells them, one without does not."""
    made = document(
        [RouteTable("feature", (_route(),), prefixes=("", "/api/v1")), RouteTable("b", (_route(path="/b"),))]
    )

    assert made["paths"]["/things/"]["get"]["servers"] == [{"url": "/"}, {"url": "/api/v1"}]
    assert "servers" not in made["paths"]["/b"]["get"]
