"""The OpenAPI document, generated from the routes and their Structs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from smartmob import __version__
from smartmob.kernel.http import problems
from smartmob.kernel.http.routing import Body, Route, RouteTable

_PARAMETER = re.compile(r"\{(\w+)(?::(?:[^{}]|\{[^{}]*\})*)?\}")


class FieldError(msgspec.Struct, frozen=True):
    """One fault of the input: `where` is a JSON path or the name of an argument."""

    where: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """An error answer (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FieldError] = []


_ALWAYS = {
    400: "The input is invalid; nothing was changed.",
    401: "A token is needed.",
    403: "The Host or the Origin of the request is not one of this service, or the role of the token does not suffice.",
    429: "Too many wrong tokens came from this address; the header Retry-After says when to try again.",
    500: "Internal server error.",
    503: "The service cannot do this now; the header Retry-After says when to try again.",
}
_WITH_BODY = {
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The Content-Encoding of the body is not supported.",
}


def document(tables: Iterable[RouteTable], cookie: str = "smartmob_session") -> dict[str, Any]:
    """Return the OpenAPI 3.1 document as plain objects; `cookie` is the name of the session cookie."""
    tables = list(tables)
    types = list(_types(tables))
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = {_key(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for table in tables:
        for route in table.routes:
            item = paths.setdefault(documented_path(route.path), {})
            item[route.method.lower()] = operation = _operation(table.feature, route, schema_of)
            if table.prefixes != ("",):
                operation["servers"] = [{"url": prefix or "/"} for prefix in table.prefixes]
    return {
        "openapi": "3.1.0",
        "info": {"title": "smartmob", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"}},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"basic": []}, {"cookie": []}, {}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": cookie},
            },
        },
    }


class ListedOperation(msgspec.Struct, frozen=True):
    """An operation in the list of a feature, with the other paths and methods of the same operation."""

    method: str
    path: str
    operation: dict[str, Any]
    also: list[tuple[str, Mapping[str, Any]]]


def groups(document: Mapping[str, Any]) -> dict[str, list[ListedOperation]]:
    """Return the operations of a document by feature; an operation with several paths is listed once."""
    found: dict[str, dict[tuple[str, str], ListedOperation]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            listed = found.setdefault(operation["tags"][0], {})
            key = (method, operation["summary"])
            if key in listed:
                listed[key].also.append((path, operation))
            else:
                listed[key] = ListedOperation(method, path, operation, [])
    return {feature: list(listed.values()) for feature, listed in found.items()}


def documented_path(path: str) -> str:
    """Return the path of a route as OpenAPI writes it: without the patterns of its parameters."""
    return _PARAMETER.sub(r"{\1}", path)


def _types(tables: Iterable[RouteTable]) -> Iterable[Any]:
    yield Problem
    seen = {_key(Problem)}
    for table in tables:
        for route in table.routes:
            contents = [answer.content for answer in route.answers.values()]
            contents += [route.body.content] if route.body else []
            for kind in (kind for content in contents for given in content.values() for kind in _alternatives(given)):
                if _key(kind) not in seen:
                    seen.add(_key(kind))
                    yield kind


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return kind if isinstance(kind, tuple) else (kind,)


def _key(kind: Any) -> str:
    return repr(kind)


def _content(content: Mapping[str, Any], schema_of: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of a body by media type."""
    found = {}
    for media_type, kind in content.items():
        schemas = [schema_of[_key(each)] for each in _alternatives(kind)]
        found[media_type] = {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}
    return found


def _operation(feature: str, route: Route, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [feature],
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.query)],
        "responses": _responses(route, schema_of),
    }
    if route.body is not None:
        operation["requestBody"] = _request_body(route.body, schema_of)
    if route.public:
        operation["security"] = [{}]
    else:
        operation["x-roles"] = list(route.allowed)
        if route.socket_roles:
            operation["x-socket-roles"] = list(route.socket_roles)
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(path)
    ]


def _query_parameters(kind: type | None) -> list[dict[str, Any]]:
    if kind is None:
        return []
    schema = msgspec.json.schema(kind)["$defs"][kind.__name__]
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": form}
        for name, form in schema["properties"].items()
    ]


def _request_body(body: Body, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    return {"required": body.required, "content": _content(body.content, schema_of)}


def _responses(route: Route, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    problem = {problems.MEDIA_TYPE: {"schema": schema_of[_key(Problem)]}}
    common = _ALWAYS | (_WITH_BODY if route.body is not None else {})
    responses = {
        str(status): {"description": description, "content": problem} for status, description in common.items()
    }
    for status, answer in route.answers.items():
        content = _content(answer.content, schema_of)
        if status == 400 or (status >= 400 and not content):
            content |= problem  # also where a protocol has errors of its own: the gate checks query arguments first
        responses[str(status)] = {"description": answer.description, **({"content": content} if content else {})}
    return dict(sorted(responses.items()))
