"""The feature `commands` over HTTP, and its WebSocket."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import orjson
import pytest
from aiohttp import WSMsgType

from smartmob.app import build
from smartmob.feature_settings import CommandsSettings
from smartmob.settings import Settings
from tests.conftest import running
from tests.waiting import SECONDS


async def _lines(client: Any, name: str, arguments: Any = None) -> list[Any]:
    async with client.post(f"/commands/{name}", json=arguments) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/x-ndjson"
        return [orjson.loads(line) for line in (await response.read()).splitlines()]


async def test_commands_are_listed_with_their_parameters(client: Any) -> None:
    """A parameter has the schema of its type."""
    async with client.get("/commands") as response:
        found = {described["name"]: described for described in await response.json()}

    assert found["exec"]["background"]
    (path,) = found["mkdirs"]["parameters"][:1]
    assert (path["name"], path["required"], path["schema"]) == ("path", True, {"type": "string"})


async def test_a_command_is_called_by_one_request(client: Any) -> None:
    """Arguments come by name, by position, or not at all; the replies come as lines."""
    (number, value, ended) = await _lines(client, "env", {"name": "PATH"})
    assert number["job"] is False
    assert value["value"]
    assert ended == {"ended": True, "exit_code": 0}
    assert (await _lines(client, "ls", ["/no/such"]))[1:] == [
        {"value": "/no/such: No such directory"},
        {"ended": True, "exit_code": -1, "bad_parameter": True},
    ]
    (_, ended) = await _lines(client, "exec", ["kill -HUP $$"])
    assert ended == {"ended": True, "exit_code": -1, "state": "signaled", "end": 0, "signal": 1}
    (_, ended) = await _lines(client, "cd", {"dest": "/no/such"})
    assert ended["error"]["type"] == "FileNotFoundError"
    async with client.post("/commands/cwd") as response:
        assert response.status == 200


async def test_output_of_a_job_comes_as_lines(client: Any) -> None:
    """It is text at its offset, or base64 where it is no text."""
    number, output, ended = await _lines(client, "exec", {"cmd": "echo hällo; exit 3"})
    assert (number["job"], output) == (True, {"offset": 0, "text": "hällo\n"})
    assert ended == {"ended": True, "exit_code": 3, "state": "exited", "end": 7}

    found = await _lines(client, "exec", {"cmd": ["printf", "\\377\\376ok"]})
    assert base64.b64decode(found[1]["base64"]) == b"\xff\xfeok"


async def test_a_character_that_is_cut_is_still_text(client: Any) -> None:
    """A character that is never completed is base64."""
    found = await _lines(client, "exec", {"cmd": "printf '\\303'; sleep 0.2; printf '\\244'; printf '\\303'"})
    data = b"".join(
        line["text"].encode() if "text" in line else base64.b64decode(line["base64"])
        for line in found
        if "text" in line or "base64" in line
    )
    assert data == "ä".encode() + b"\xc3"
    assert found[1] == {"offset": 0, "text": "ä"}


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("nothing", b"", 404),
        ("cd", b"", 400),
        ("cd", b'{"dest":5}', 400),
        ("cd", b"5", 400),
        ("cd", b"{", 400),
        ("cwd", b'{"a":1}', 400),
    ],
)
async def test_calls_that_do_not_fit_are_refused(client: Any, name: str, body: bytes, status: int) -> None:
    """Nothing runs before."""
    async with client.post(f"/commands/{name}", data=body) as response:
        assert (response.status, response.content_type) == (status, "application/problem+json")


async def test_jobs_are_listed_by_page_and_their_output_is_read_from_an_offset(client: Any) -> None:
    """Each job is found by its id."""
    ids = [(await _lines(client, "exec", {"cmd": f"echo {text}"}))[0]["number"] for text in ("one", "two", "three")]
    async with client.get("/jobs", params={"limit": 2, "state": "exited"}) as response:
        page = await response.json()
    assert [job["id"] for job in page["jobs"]] == [ids[2], ids[1]]
    async with client.get(page["next_url"]) as response:
        assert [job["id"] for job in (await response.json())["jobs"]] == [ids[0]]
    async with client.get(f"/jobs/{ids[1]}") as response:
        assert (await response.json())["argv"] == ["echo two"]
    async with client.get(f"/jobs/{ids[1]}/output", params={"from": 1}) as response:
        assert (await response.read(), response.headers["X-Output-From"]) == (b"wo\n", "1")
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/jobs/99", "/jobs/x", "/jobs/0", "/jobs/99/output", "/jobs/-1/output"])
async def test_unknown_jobs_are_not_found(client: Any, path: str) -> None:
    """The status is 404."""
    async with client.get(path) as response:
        assert response.status == 404


async def test_output_is_followed_while_the_job_runs(client: Any) -> None:
    """The client that has started the job may leave without ending it."""
    response = await client.post("/commands/exec", json={"cmd": "echo up; read x; echo $x"})
    number = orjson.loads(await response.content.readline())["number"]
    await response.content.readline()
    response.close()
    async with client.get(f"/jobs/{number}/output", params={"follow": "true"}) as following:
        assert await following.content.readline() == b"up\n"
        await _lines(client, "send_input", {"job_num": number, "value": "later"})
        assert await following.read() == b"later\n"


async def test_calls_on_the_websocket(client: Any) -> None:
    """An invalid message is refused, and the connection lives on."""
    async with client.ws_connect("/commands") as socket:
        await socket.send_str('{"type":"hello"}')
        assert (await socket.receive_json())["type"] == "welcome"
        await socket.send_str("nonsense")
        assert (await socket.receive_json())["problem"] == "invalid-input"
        await socket.send_str('{"type":"call","id":1,"name":"exec","args":["echo hi"]}')
        assert (await socket.receive_json())["type"] == "started"
        piece = await socket.receive()
        assert (piece.type, piece.data[13:]) == (WSMsgType.BINARY, b"hi\n")
        assert (await socket.receive_json())["exit_code"] == 0


async def test_a_page_of_another_site_is_refused(client: Any) -> None:
    """It can neither open the WebSocket nor call a command."""
    headers = {"Origin": "http://evil.example"}
    async with client.get(
        "/commands", headers={**headers, "Upgrade": "websocket", "Connection": "Upgrade"}
    ) as response:
        assert response.status == 403
    async with client.post("/commands/cwd", headers=headers) as response:
        assert response.status == 403


async def test_an_incomplete_handshake_is_refused(client: Any) -> None:
    """The status is 400."""
    async with client.get("/commands", headers={"Upgrade": "websocket", "Connection": "Upgrade"}) as response:
        assert response.status == 400


async def test_every_route_needs_the_token(with_settings: Any) -> None:
    """The WebSocket takes it in its handshake."""
    client = await with_settings(token="secret")
    for method, path in (("GET", "/commands"), ("POST", "/commands/cwd"), ("GET", "/jobs"), ("GET", "/jobs/1/output")):
        async with client.request(method, path) as response:
            assert response.status == 401
    async with client.ws_connect("/commands", headers={"Authorization": "Bearer secret"}) as socket:
        await socket.send_str('{"type":"ping","n":3}')
        assert await socket.receive_json() == {"type": "pong", "n": 3}


async def test_clients_get_the_end_of_their_jobs_when_the_service_stops(settings: Settings) -> None:
    """The WebSocket is closed afterwards."""
    service = build(settings)
    async with running(service) as client, client.ws_connect("/commands") as socket:
        await socket.send_str('{"type":"call","id":1,"name":"exec","args":[["sleep","600"]]}')
        assert (await socket.receive_json())["type"] == "started"
        ending = asyncio.create_task(service.drain(10))
        done = await socket.receive_json()
        assert (done["type"], done["state"]) == ("done", "stopped")
        assert (await socket.receive()).type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED)
        await ending


async def test_a_silent_client_is_disconnected(with_settings: Any) -> None:
    """One that has sent a message before the deadline stays."""
    client = await with_settings(commands=CommandsSettings(first_timeout=2.0))
    async with client.ws_connect("/commands") as speaking:
        await speaking.send_str('{"type":"ping","n":1}')
        assert (await speaking.receive_json())["n"] == 1
        async with client.ws_connect("/commands") as silent, asyncio.timeout(SECONDS):
            assert (await silent.receive()).type in (WSMsgType.CLOSED, WSMsgType.ERROR)
        await speaking.send_str('{"type":"ping","n":2}')
        assert (await speaking.receive_json())["n"] == 2
