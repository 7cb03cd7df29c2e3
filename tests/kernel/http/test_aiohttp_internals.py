"""The internals of aiohttp that answers, WebSockets and the server override. A change in aiohttp fails here first."""

from __future__ import annotations

import ast
import inspect
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import http_writer, web, web_protocol, web_ws
from aiohttp._websocket import reader_py
from aiohttp.streams import StreamReader

from smartmob.kernel.http import connection, server, ws_direct
from smartmob.kernel.http.json_response import JSONResponse

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"

OVERRIDDEN: dict[str, tuple[type, type, dict[str, list[str]]]] = {
    "response": (
        JSONResponse,
        web.StreamResponse,
        {
            "status": [],
            "prepared": [],
            "headers": [],
            "keep_alive": [],
            "force_close": ["self"],
            "prepare": ["self", "request"],
            "write_eof": ["self", "data"],
        },
    ),
    "connection": (
        connection.ServerConnection,
        web.RequestHandler,
        {
            "connection_lost": ["self", "exc"],
            "shutdown": ["self", "timeout"],
            "data_received": ["self", "data"],
            "resume_reading": ["self", "resume_parser"],
            "set_parser": ["self", "parser", "data_received_cb"],
            "_resume_transport_reading": ["self"],
            "handle_error": ["self", "request", "status", "exc", "message"],
            "finish_response": ["self", "request", "resp", "start_time"],
        },
    ),
    "socket": (
        ws_direct.DirectWebSocket,
        web.WebSocketResponse,
        {"_post_start": ["self", "request", "protocol", "writer"], "_on_data_received": ["self"]},
    ),
    # The same class without Cython, which keeps the names of its parameters.
    "queue": (ws_direct._DirectQueue, reader_py.WebSocketDataQueue, {"feed_data": ["self", "data", "size"]}),
    "server": (server._Server, web.Server, {"__call__": ["self"]}),
    "runner": (server.Runner, web.AppRunner, {"_make_server": ["self"]}),
}
"""Our classes, aiohttp's classes, and the overridden methods with their parameters; a property has none."""


def _overrides() -> Iterator[Any]:
    for name, (ours, theirs, methods) in OVERRIDDEN.items():
        for method, parameters in methods.items():
            yield pytest.param(ours, theirs, method, parameters, id=f"{name}-{method}")


def _parameters(owner: type, name: str) -> list[str]:
    member = inspect.getattr_static(owner, name)
    return [] if not inspect.isfunction(member) else list(inspect.signature(member).parameters)


@pytest.mark.parametrize(("ours", "theirs", "method", "parameters"), list(_overrides()))
def test_overridden_methods_keep_their_parameters(ours: type, theirs: type, method: str, parameters: list[str]) -> None:
    """Each method that we override exists in aiohttp, with the same parameters as ours."""
    assert _parameters(theirs, method) == parameters
    assert _parameters(ours, method) == parameters


@pytest.mark.parametrize("name", sorted(OVERRIDDEN))
def test_the_list_of_overridden_methods_is_complete(name: str) -> None:
    """Every method of ours that replaces one of aiohttp's stands in the list above, except constructors."""
    ours, theirs, methods = OVERRIDDEN[name]
    replaced = {
        name for name, member in vars(ours).items() if inspect.isfunction(member) or isinstance(member, property)
    }
    assert {name for name in replaced if hasattr(theirs, name)} - {"__init__"} == set(methods)


def test_aiohttp_uses_only_what_a_json_response_has() -> None:
    """aiohttp's connection uses four members of an answer; JSONResponse, which skips the set-up, has them itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(web_protocol)))
    members = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used = {node.attr for node in members if getattr(node.value, "id", "") in ("resp", "response")}
    assert used == {"prepare", "write_eof", "keep_alive", "force_close"}
    assert used <= set(vars(JSONResponse))


def test_requests_have_the_members_that_shorter_ways_set_and_read() -> None:
    """FixedPaths sets what the router found in a request, and the connection looks for a form that was read."""
    assert {"_match_info", "_post"} <= web.Request.ATTRS
    assert list(inspect.signature(web.UrlMappingMatchInfo.__init__).parameters) == ["self", "match_dict", "route"]
    assert list(inspect.signature(web.Application._handle).parameters) == ["self", "request"]


def test_connections_accept_the_options_that_the_server_passes() -> None:
    """The constructor of a connection has the options that the server sets, and the flags that it reads."""
    options = set(inspect.signature(web.RequestHandler.__init__).parameters)
    assert {"loop", "keepalive_timeout", "access_log", "logger", "auto_decompress", "lingering_time"} <= options
    own = {slot for owner in web.RequestHandler.__mro__ for slot in getattr(owner, "__slots__", ())}
    assert {
        "_force_close",
        "_current_request",
        "_reading_paused",
        "_buffer_paused",
        "_upgraded",
        "_payload_parser",
    } <= own
    assert "total_bytes" in StreamReader.__slots__
    writer = http_writer.StreamWriter(protocol=None, loop=None)  # type: ignore[arg-type]  # nothing is written
    assert writer.output_size == 0


def test_a_direct_websocket_starts_as_aiohttp_does() -> None:
    """Both set and call the same members of themselves and of the connection, so that nothing is left out."""
    theirs, ours = (
        {
            node.attr
            for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(owner._post_start))))
            if isinstance(node, ast.Attribute) and node.attr not in ("_protocol", "protocol")
        }
        for owner in (web.WebSocketResponse, ws_direct.DirectWebSocket)
    )
    assert theirs - ours == {"_loop", "_compress", "_decode_text"}
    assert ours - theirs == {"get_running_loop", "BaseRequest"}
    assert ws_direct._QUEUE_BYTES == web_ws.DEFAULT_CHUNK_SIZE


def test_aiohttp_is_pinned_below_the_next_major_version() -> None:
    """The requirement excludes the next major version, and the installed version is below it."""
    requirements = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    (requirement,) = [text for text in requirements if text.startswith("aiohttp>")]
    assert requirement.endswith(",<4")
    assert aiohttp.__version__.startswith("3.")
