"""Attacks that take more than one request: on WebSockets, on stored data, and on data of other users."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import platform
import re
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import psutil
import pytest
import zmq
import zmq.asyncio

import smartmob
from tests.acceptance.commands import run
from tests.kernel.raw import wire
from tests.loop_stalls import Stall
from tests.metrics.samples import metric
from tests.processes.archives import make_archive
from tests.security.services import REPEATS, STALL, TOKEN, Target, attacked
from tests.waiting import SECONDS, until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

MIB = 2**20
ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m"
DEEP = "[" * 20_000 + "]" * 20_000
MESSAGES = {
    "levels": DEEP,
    "a type of levels": '{"type": ' + DEEP + "}",
    "NUL": "\x00",
    "an object": "{}",
    "a list": "[]",
    "two types": '{"type": "HELLO", "type": "x"}',
}


@pytest.fixture(name="session")
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def _url(target: Target, path: str = "") -> str:
    return f"http://127.0.0.1:{target.port}{path}"


def _bugs(target: Target) -> list[dict[str, Any]]:
    return [event for event in target.events if event["level"] in ("error", "critical")]


async def _shaken(target: Target, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a bare connection after the handshake of a WebSocket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    return reader, writer


# -- WebSockets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/echo", "/commands", "/console/live"])
async def test_compressed_messages_are_refused(open_one: Target, session: aiohttp.ClientSession, path: str) -> None:
    """Compression of WebSocket messages is not negotiated; a client that sends a compressed one is disconnected."""
    async with session.ws_connect(_url(open_one, path), compress=15) as peer:
        assert not peer.compress
        peer._writer.transport.write(b"\xc1\x84" + bytes(4) + b"\x4a\x04\x00\x00")
        message = await peer.receive(60)
        while message.type is aiohttp.WSMsgType.TEXT:  # sent before the compressed message was read
            message = await peer.receive(60)
    assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    assert await open_one.lives()


@pytest.mark.parametrize("path", ["/echo", "/commands"])
@pytest.mark.parametrize("fragments", [1, 512])
async def test_a_huge_message_ends_the_connection_at_the_limit(open_one: Target, path: str, fragments: int) -> None:
    """A message of 512 MB, in one frame or many, ends the connection without using that memory."""
    before, data = open_one.memory, bytes(512 * MIB // fragments)
    reader, writer = await _shaken(open_one, path)
    with suppress(ConnectionError):
        async with asyncio.timeout(SECONDS):
            for number in range(fragments):
                kind = (0x80 if fragments == 1 else 0) | (1 if number == 0 else 0)
                writer.write(bytes((kind, 0xFF)) + len(data).to_bytes(8, "big") + bytes(4))
                for place in range(0, len(data), MIB):
                    writer.write(data[place : place + MIB])
                    await writer.drain()
            await reader.read()
    writer.close()
    assert open_one.memory - before < 100 * MIB
    assert await open_one.lives()
    assert _bugs(open_one) == []


TINY = {"messages": b"\x81\x81" + bytes(4) + b"x", "pings": b"\x89\x80" + bytes(4), "bytes": b"\x82\x80" + bytes(4)}
FLOOD_FRAMES = {"messages": 40_000, "pings": 100_000, "bytes": 40_000}
"""So many that another client gets about a hundred answers meanwhile."""
_GOODBYE = b"\x88\x80" + bytes(4)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *(("/commands", "messages"), ("/commands", "bytes"), ("/commands", "pings")),
        *(("/echo", "pings"), ("/console/live", "pings")),
    ],
)
async def test_a_flood_of_small_messages_delays_no_other_client(open_one: Target, path: str, kind: str) -> None:
    """While tens of thousands of tiny frames are handled, another client gets many answers, and no turn is long."""

    async def flood() -> None:
        reader, writer = await _shaken(open_one, path)
        writer.write(TINY[kind] * FLOOD_FRAMES[kind] + _GOODBYE)
        await _read_all(reader)
        writer.close()

    answers, stall = await _measured(open_one, flood)
    # Without turns there were 3 to 6; the other client is slow where the machine is busy.
    assert answers > 10
    assert stall.seconds < STALL, stall
    assert _bugs(open_one) == []


async def _measured(target: Target, attack: Callable[[], Awaitable[None]]) -> tuple[int, Stall]:
    """Return how many answers another client gets during an attack, and the longest stall; the best of some."""
    for _ in range(REPEATS):
        answers = 0
        target.stalls.forget()
        ended = asyncio.ensure_future(attack())
        async with wire(target.port) as line:
            while not ended.done():
                line.get("/health")
                assert (await line.reply()).status == 200
                answers += 1
        await ended
        assert await target.lives()
        stall = target.stalls.longest
        if stall.seconds < STALL:
            break
    return answers, stall


async def _read_all(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        while await reader.read(MIB):
            pass


@pytest.mark.parametrize("path", ["/echo", "/commands"])
@pytest.mark.parametrize("name", MESSAGES)
async def test_malformed_messages_are_no_bug(
    open_one: Target, session: aiohttp.ClientSession, path: str, name: str
) -> None:
    """Malformed messages get an error or end the connection, and cause no bug."""
    async with session.ws_connect(_url(open_one, path)) as peer:
        await peer.send_str(MESSAGES[name])
        message = await peer.receive(60)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.CLOSE)
    assert _bugs(open_one) == []
    assert await open_one.lives()


@pytest.mark.parametrize("path", ["/echo", "/commands", "/attach-console/a.b"])
async def test_malformed_frames_end_the_connection(open_one: Target, path: str) -> None:
    """Garbage after the handshake, absurd lengths and unmasked frames end the connection."""
    for frame in (b"\xff" * 50, b"\x81\xff" + b"\xff" * 8 + b"abcd", b"\x81\x05hello", b"\x89\xfe\xff\xff" + bytes(99)):
        reader, writer = await _shaken(open_one, path)
        writer.write(frame)
        with suppress(ConnectionError):
            writer.write_eof()
            async with asyncio.timeout(SECONDS):
                await reader.read()
        writer.close()
    assert _bugs(open_one) == []
    assert await open_one.lives()


async def test_websockets_need_the_token(guarded: Target, session: aiohttp.ClientSession) -> None:
    """Commands and consoles need the token; on /echo an unauthenticated machine gets only the time."""
    for path in ("/commands", "/attach-console/a.b"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(_url(guarded, path))
        assert refused.value.status == 401
    async with session.ws_connect(_url(guarded, "/echo")) as peer:
        await peer.send_json({"type": "HELLO"})
        assert (await peer.receive_json())["type"] == "WELCOME"
        await peer.send_json({"type": "SUBSCRIBE", "request_id": 1, "data": ["CPU"], "interval": 1})
        assert (await peer.receive_json())["type"] == "ERROR"


# -- ZeroMQ -------------------------------------------------------------------------------------------------------


@pytest.fixture(name="headquarters", scope="module")
def _headquarters() -> Iterator[Target]:
    ports = ("--hq-publish-port", "0", "--hq-rc-port", "0", "--hq-external-port", "0")
    with attacked(None, "--hq", *ports, "--conplyent-port", "0") as target:
        yield target


def _hq_ports(target: Target) -> list[int]:
    event = next(event for event in target.events if event["event"] == "turrets.listening")
    return [event["publish_port"], event["rc_port"], event["external_port"]]


async def test_noise_at_the_headquarters_harms_no_turret(headquarters: Target) -> None:
    """Bytes that are not ZMTP, half of it, and frames of absurd lengths at each port harm no other peer."""
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
    noises = (b"GET / HTTP/1.1\r\n\r\n", secrets.token_bytes(4096), greeting[:11], greeting,
              greeting + b"\x06" + b"\xff" * 8, greeting + b"\x04\x26\x05READY" + bytes(31))  # fmt: skip
    for port in _hq_ports(headquarters):
        for noise in noises:
            with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)) as peer:
                peer.sendall(noise)
    assert await headquarters.lives()
    assert _bugs(headquarters) == []


async def test_thousands_of_new_turrets_cause_no_stall(headquarters: Target, session: aiohttp.ClientSession) -> None:
    """Statuses of 6,000 turrets that were never heard before are handled in short turns of the loop."""

    async def flood() -> None:
        context, series = zmq.asyncio.Context(), secrets.token_hex(4)
        peer = context.socket(zmq.PUSH)
        peer.connect(f"tcp://127.0.0.1:{_hq_ports(headquarters)[1]}")
        try:
            for number in range(6_000):
                uuid = f"{series}-{number:04}"
                await peer.send_json({"turret": "t", "status": "ready", "uuid": uuid, "rampup": 0, "cannons": 1})

            async def heard() -> bool:
                async with session.get(_url(headquarters, "/turrets")) as answer:
                    return f"{series}-5999" in await answer.text()

            await until(heard)
        finally:
            peer.close(0)
            context.term()

    _, stall = await _measured(headquarters, flood)
    assert stall.seconds < STALL, stall
    assert _bugs(headquarters) == []


async def test_malformed_results_are_counted_and_skipped(headquarters: Target, session: aiohttp.ClientSession) -> None:
    """Deeply nested, huge and invalid messages are counted and skipped, and the headquarters continues."""
    context = zmq.asyncio.Context()
    peer = context.socket(zmq.PUSH)
    peer.connect(f"tcp://127.0.0.1:{_hq_ports(headquarters)[1]}")
    try:
        for message in (DEEP, '{"status": ' + DEEP + "}", '{"slices": ' + DEEP + "}", "\x00", "{", "x" * MIB, "{}" * 9):
            await peer.send(message.encode())
        status = {"turret": "t", "status": "ready", "uuid": "u", "rampup": 0, "script": "s", "cannons": 1}
        await peer.send_json(status)

        async def heard() -> bool:
            async with session.get(_url(headquarters, "/turrets")) as answer:
                return "u" in [turret["uuid"] for turret in (await answer.json())["turrets"]]

        await until(heard)
    finally:
        peer.close(0)
        context.term()
    assert _bugs(headquarters) == []


# -- what others see ----------------------------------------------------------------------------------------------


async def test_the_token_is_in_no_log_process_list_or_child(guarded: Target, session: aiohttp.ClientSession) -> None:
    """The token is used in every accepted form, and is in no log, no list of processes and no child."""
    ways = (f"Bearer {TOKEN}", "Basic " + base64.b64encode(f"ci:{TOKEN}".encode()).decode())
    for way in ways:
        async with session.get(_url(guarded, "/marks"), headers={"Authorization": way}) as answer:
            assert answer.status == 200
    async with session.post(_url(guarded, "/login"), data={"token": TOKEN}, allow_redirects=False) as answer:
        assert answer.status == 303
        assert TOKEN not in str(answer.headers)
    async with session.get(_url(guarded, f"/nothing?token={TOKEN}"), headers={"Authorization": "Bearer no"}) as answer:
        assert answer.status == 401
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with session.post(_url(guarded, "/commands/exec"), json={"cmd": "env; ps -ef"}, headers=headers) as answer:
        assert TOKEN not in await answer.text()
    process = psutil.Process(guarded.process.pid)
    for child in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            assert TOKEN not in " ".join(child.cmdline())
    assert TOKEN not in guarded.log.read_text()


_LET_IN = {
    *("/health", "/ready", "/login", "/logout", "/", "/echo", "/api", "/api/", "/api/start_time"),
    *("/client", "/client/", "/client/{username}", "/client/{username}/time", "/client/{username}/time/report"),
    *("/console/static/{digest}/{name}", "/page-scripts/{name}"),
}
"""Paths that answer some method without a token."""


def _seen(answer: aiohttp.ClientResponse, text: str, path: str) -> tuple[int, dict[str, str], str]:
    """Return an answer without its time, its request id and its path."""
    headers = {name.title(): value.removesuffix(f"?next={quote(path)}") for name, value in answer.headers.items()}
    number = headers.pop("X-Request-Id", "")
    for name in ("Date", "Content-Length"):
        headers.pop(name, None)
    return answer.status, headers, text.replace(number, "").replace(f'"instance":"{path}"', "")


_SOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize(
    ("methods", "further"),
    [
        (("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"), {}),
        (("GET", "POST"), {"Accept": "text/html"}),
        (("GET",), _SOCKET),
    ],
    ids=["script", "browser", "websocket"],
)
async def test_clients_without_a_token_get_and_learn_nothing(
    guarded: Target, session: aiohttp.ClientSession, methods: tuple[str, ...], further: dict[str, str]
) -> None:
    """Each method of a route that is not public needs the token, and existing and missing things get the same answer.

    No answer names a version or a host.
    """
    async with session.get(_url(guarded, "/openapi.json"), headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        paths = (await answer.json())["paths"]
    public = {path for path, item in paths.items() if any(part.get("security") == [{}] for part in item.values())}
    secrets_of_it = (
        *(smartmob.__version__, aiohttp.__version__, platform.python_version(), "aiohttp", "Python/"),
        *(socket.gethostname(), str(guarded.data)),
    )
    unknown: dict[str, tuple[int, dict[str, str], str]] = {}
    let_in = set()
    for path in ("/nothing/at/all", *paths):
        address = re.sub(r"\{(\w+)\}", r"some-\1", path)
        for method in methods:
            request = session.request(method, _url(guarded, address), allow_redirects=False, headers=further)
            async with request as answer:
                seen = _seen(answer, await answer.text() if answer.status != 101 else "", address)
            if path not in public:
                assert seen == unknown.setdefault(method, seen), (method, path)
            if seen[0] not in (401, 403):
                let_in.add((path, seen[0]))
            told = seen[2] + str(seen[1])
            assert not [secret for secret in secrets_of_it if secret in told], (method, path)
    if not further:  # browsers are led to the page for signing in
        assert {path for path, _ in let_in} <= _LET_IN, let_in


async def test_input_cannot_forge_log_lines(open_one: Target, session: aiohttp.ClientSession) -> None:
    """A line end in a path, an id or a name makes no log line, and control characters are escaped."""
    forged = "%0a%0d%1b[2J{%22event%22:%22forged%22}"
    async with session.get(_url(open_one, f"/process-status/{forged}"), headers={"X-Request-Id": "a b"}) as answer:
        assert answer.status in (400, 404)
        assert answer.headers["X-Request-Id"] != "a b"
    document = {"username": 'x\n{"event": "forged"}', "password": "p"}
    async with session.post(_url(open_one, "/client"), json=document) as answer:
        assert answer.status == 401
    assert "forged" not in {event["event"] for event in open_one.events}
    assert b"\x1b" not in open_one.log.read_bytes()


# -- what is shown later ------------------------------------------------------------------------------------------


async def test_names_do_not_command_a_terminal(open_one: Target, session: aiohttp.ClientSession) -> None:
    """Commands print names without control characters, in tables and in errors."""
    async with session.post(_url(open_one, "/marks"), json={"text": ESCAPE}) as answer:
        assert answer.status == 400
    async with session.post(_url(open_one, "/commands/exec"), json={"cmd": f"true '{ESCAPE}'"}) as answer:
        assert answer.status == 200
        await answer.read()
    name = {"item": ESCAPE, "item_path": ESCAPE, "session_h": "e" * 32}
    async with session.post(_url(open_one, "/metrics/"), json=metric(**name)) as answer:
        assert answer.status == 201
    server = _url(open_one)
    for words in (
        ("marks",),
        ("jobs",),
        ("tests", "ls"),
        ("tests", "show", "e" * 32),
        ("tests", "show", ESCAPE),
        ("ps",),
    ):
        _, output, errors = await run(*words, SMARTMOB_SERVER=server)
        for mark in ("\x1b", "\x07", "\x9b"):
            assert mark not in output + errors, words


async def test_names_are_escaped_in_pages(open_one: Target, session: aiohttp.ClientSession) -> None:
    """A name that is a script is text on every page that shows it."""
    script = "<script>alert(1)</script>{{7*191}}"
    async with session.post(_url(open_one, "/marks"), json={"text": script}) as answer:
        assert answer.status == 201
    item = metric(item=script, item_path=script, component=script, session_h="f" * 32)
    async with session.post(_url(open_one, "/metrics/"), json=item) as answer:
        assert answer.status == 201
    async with session.get(_url(open_one, "/"), headers={"Accept": "text/html"}) as answer:
        first = await answer.text()
    pages = {"/docs", *(part.split('"')[0] for part in first.split('href="')[1:] if part.startswith("/"))}
    for page in pages:
        async with session.get(_url(open_one, page), headers={"Accept": "text/html"}) as answer:
            text = await answer.text()
        assert "<script>alert(1)" not in text, page
        assert "1337" not in text, page


async def test_names_are_never_run_by_a_shell(open_one: Target, session: aiohttp.ClientSession) -> None:
    """Shell syntax in the name of an application or a node, or in the value of a variable, is not run."""
    proof = open_one.data.parent / "proof"
    evil = f"$(touch {proof.name}); touch {proof.name} #`touch {proof.name}`"
    archive = make_archive("tar.gz", {"Procfile": "web: echo $NAME; exec sleep 600\n"})
    async with session.post(_url(open_one, "/upload-archive"), data=archive) as answer:
        source = (await answer.json())["source_url"]
    wanted = {
        "app": evil,
        "node": "x.0",
        "process_type": "web",
        "source_url": source,
        "env": {"NAME": f"$(touch {proof})"},
    }
    async with session.post(_url(open_one, "/create-process"), json=wanted) as answer:
        assert answer.status == 201, await answer.text()
        details = (await answer.json())["details"]

    async def runs() -> bool:
        async with session.get(details) as answer:
            return bool((await answer.json())["state"] == "running")

    await until(runs)
    async with session.post(details.replace("process-status", "delete-process"), json={}) as answer:
        assert answer.status == 200
    assert not proof.exists()
    assert list(open_one.data.rglob("proof")) == []


async def test_names_stay_within_their_csv_cell(open_one: Target, session: aiohttp.ClientSession) -> None:
    """A name with line ends, quotes and separators stays one cell of the CSV, and is no formula."""
    evil = '=cmd|" /C calc"!A1\r\n1,2,3\n"'
    async with session.post(_url(open_one, "/metrics/"), json=metric(item=evil, session_h="d" * 32)) as answer:
        assert answer.status == 201
    async with session.get(_url(open_one, f"/sessions/{'d' * 32}/metrics"), headers={"Accept": "text/csv"}) as answer:
        rows = list(csv.DictReader(io.StringIO(await answer.text(), newline="")))
    assert [row["item"] for row in rows] == [f"'{evil}"]
    assert None not in rows[0]


async def test_urls_from_the_host_header_are_not_cached(open_one: Target) -> None:
    """URLs contain only the Host of their own request, and answers with them are not cached."""
    request = b"GET / HTTP/1.1\r\nHost: %s\r\nX-Forwarded-Host: evil.example\r\nConnection: close\r\n\r\n"
    reply = await open_one.send(request % b"localhost:1")
    assert reply is not None
    assert orjson.loads(reply.body)["list"] == "http://localhost:1/list-processes"
    assert "evil" not in json.dumps(reply.json())
    assert "no-store" in reply.headers.get("Cache-Control", "")
