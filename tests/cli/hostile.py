"""A server whose answers are hostile, whatever it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from smartmob.commands import protocol
from smartmob.commands.model import CommandDescription, Failure
from smartmob.commands.protocol import OUTPUT, Done, Emitted, Started, Welcome

EVIL = "\x1b[2J\x07\x9b31m\u202e\u2066\x85\u2028@all https://evil.example =1+1"
"""Text that a terminal, a page, a mention or a spreadsheet would interpret."""

TRIED = (
    *("noise", "no document", "texts", "numbers", "nulls", "levels", "problem", "endless", "cut off", "short"),
    *("silent", "closes", "redirect", "next page elsewhere", "next page again"),
)
"""The scripts that every command is tried with."""

_BLOCK = b"[1234567" * 8_192
_OFTEN = 16_000  # 1 GiB
_LISTS = ("runs", "hosts", "orphans", "jobs", "history", "sessions", "contexts", "items", "points", "tags", "tokens")
_LISTS += ("marks", "processes", "metrics", "turrets", "error_texts", "nodes", "argv", "doubts")
_OBJECTS = ("latest", "clock", "base", "head", "shift", "host", "headquarters", "trust", "timers", "counts", "config")
_FIELDS = (
    *("id", "name", "state", "status", "exit_code", "started_at", "output_bytes", "client", "count", "slug", "app"),
    *("node", "scm_ref", "session_h", "context_h", "item", "item_path", "item_variant", "component", "total_time"),
    *("user_time", "kernel_time", "cpu_usage", "mem_usage", "own", "time", "cpu", "mem", "storage", "offset", "text"),
    *("at", "author", "role", "token", "expires_at", "created_at", "verdict", "explanation", "unit", "resource"),
    *("reason", "path", "variant", "level", "mad", "corrected_ratio", "ratio", "source_url", "transactions", "kind"),
    *("rate", "machine_node", "python_info", "value", "first", "last", "uuid", "alive", "run_date", "h", "errors"),
)
_SHA256 = "b5c1fb2efc6d6b4674c2fdcc48ce01b43a3b7c03763c0c3355de0099ee0f8c73"
_COMMANDS = ("exec", "kill", "signal", "find_files", "get", "put", "mkdirs", "attach", "resize")


def document(value: object, depth: int = 2, **given: object) -> dict[str, Any]:
    """Return a document with every field that a command reads, all of them with one value."""
    found: dict[str, Any] = dict.fromkeys(_FIELDS, value)
    if depth:
        inner = document(value, depth - 1)
        found |= {name: [inner] for name in _LISTS} | dict.fromkeys(_OBJECTS, inner)
    return found | given


_DOCUMENTS = {
    "no document": b"[]",
    "texts": orjson.dumps(document(EVIL)),
    "numbers": orjson.dumps(document(-(2**63))),
    "nulls": orjson.dumps(document(None)),
    "levels": b"[" * 200_000,
    "noise": EVIL.encode() + b"\xff\x00",
    "next page elsewhere": orjson.dumps(document("x", next_url="@localhost:1/x")),
    "climbing": orjson.dumps(document("../../evil")),
    "next page again": orjson.dumps(document("x", next_url="/again")),
}


class Hostile:
    """Answers every request by a script. `asked` are the requests' methods, paths and tokens."""

    def __init__(self, script: str, elsewhere: str = "", files: Sequence[object] = (), body: bytes = b"{}") -> None:
        self.body = body
        self.asked: list[tuple[str, str, str | None]] = []
        self.over = asyncio.Event()
        self._script = script
        self._elsewhere = elsewhere
        self._files = files

    def app(self) -> web.Application:
        """Return the server."""
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path, request.headers.get("Authorization")))
        if self._script == "redirect":
            raise web.HTTPTemporaryRedirect(f"{self._elsewhere}{request.path}")
        if request.headers.get("Upgrade", "").lower() == "websocket" and "problem" not in self._script:
            return await self._converse(request)
        if self._script == "problem":
            return web.json_response({"detail": EVIL, "request_id": EVIL}, status=409)
        if self._script == "closes":
            assert request.transport is not None
            request.transport.abort()
        wanted = request.headers.get("Accept", "*/*")
        media_type = "application/json" if "*" in wanted else wanted
        if self._script in ("endless", "cut off", "short", "silent"):
            return await self._stream(request, media_type)
        return web.Response(body=_DOCUMENTS.get(self._script, self.body), content_type=media_type)

    async def _stream(self, request: web.Request, media_type: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": media_type})
        if self._script == "short":
            response.content_length = 2 * len(_BLOCK)
        await response.prepare(request)
        if self._script == "silent":
            await self.over.wait()
            return response
        try:
            for _ in range(_OFTEN if self._script == "endless" else 1):
                await response.write(_BLOCK)
        except ConnectionError:
            return response
        if self._script in ("cut off", "short") and request.transport is not None:
            if self._script == "short":
                request.transport.close()
            else:
                request.transport.abort()
        return response

    async def _converse(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if self._script == "silent":
            await self.over.wait()
            return socket
        if self._script == "endless" and request.path != "/commands":
            with suppress(ConnectionError):
                for _ in range(_OFTEN):
                    await socket.send_bytes(_BLOCK)
            return socket
        if request.path != "/commands" or self._script in ("noise", "levels", "no document"):
            await socket.send_str(_DOCUMENTS.get(self._script, b"{}").decode(errors="replace"))
            await socket.send_bytes(EVIL.encode())
            await socket.close()
            return socket
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._say(socket, orjson.loads(message.data))
        return socket

    async def _say(self, socket: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        if asked["type"] == "hello":
            commands = [
                CommandDescription(name=name, summary=EVIL, text=EVIL, background=name == "exec", parameters=[])
                for name in _COMMANDS
            ]
            await socket.send_str(protocol.encode(Welcome(protocol.VERSION, EVIL, commands)).decode())
            if self._script in ("closes", "cut off", "short"):
                await socket.close()
        if asked["type"] != "call":
            return
        ident, name = asked["id"], asked["name"]
        if name == "find_files" and self._files:
            await self._tell(socket, Emitted(ident, list(self._files)), Done(ident, 0))
        elif name == "get" and self._files:
            await self._tell(socket, Started(ident, 1, job=False))
            await socket.send_bytes(protocol.encode_piece(OUTPUT, ident, 0, b"evil"))
            await self._tell(socket, Done(ident, 0, [{"size": 4, "sha256": _SHA256, "mode": 0o7777}]))
        elif self._script == "endless":
            said = protocol.encode(Emitted(ident, [EVIL * 100] * 100)).decode()
            with suppress(ConnectionError):
                for _ in range(_OFTEN):
                    await socket.send_str(said)
        elif self._script == "texts":
            await self._tell(socket, Done(ident, 1, error=Failure("BrokenPipeError", EVIL, [32, EVIL])))
        elif self._script == "numbers":
            await socket.send_bytes(protocol.encode_piece(OUTPUT, ident, 2**63, b"x" * 2_000_000))
            await socket.send_bytes(protocol.encode_piece(OUTPUT, ident, 2**62, b"x"))
            await socket.close()
        else:
            await socket.send_str(orjson.dumps({"type": "says", "id": ident, "values": []}).decode())
            await socket.send_str(orjson.dumps({"type": "done", "id": ident, "exit_code": "x"}).decode())

    async def _tell(self, socket: web.WebSocketResponse, *messages: protocol.FromServer) -> None:
        for message in messages:
            await socket.send_str(protocol.encode(message).decode())
