"""The light node in its process: programs and commands over streams, without a port and without a database."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import aiohttp

from smartmob import node_app
from smartmob.kernel.http import server
from smartmob.kernel.http.relay import StreamConnector
from smartmob.settings import Settings

SECRET = "a-secret-of-the-link"


async def test_only_requests_with_the_secret_of_the_link_are_answered(tmp_path: Path) -> None:
    """The routes are those of a service; a stream without the secret gets nothing but its health."""
    settings = Settings(data_dir=tmp_path)
    node = node_app.build(settings)
    async with server.serving_streams(node.app, node.gate, settings, node.drain) as accept:
        node.gate.tokens.node_access.set_secret(SECRET)

        async def open_socket() -> socket.socket:
            ours, theirs = socket.socketpair()
            for end in (ours, theirs):
                end.setblocking(False)
            await accept(theirs)
            return ours

        async with aiohttp.ClientSession(connector=StreamConnector(open_socket)) as session:
            for path, authorization, status in (
                ("/list-processes", f"Node {SECRET} control", 200),
                ("/list-processes", "Node wrong control", 401),
                ("/list-processes", None, 401),
                ("/jobs", f"Node {SECRET} read", 200),
                ("/health", None, 200),
                ("/ready", f"Node {SECRET} read", 200),
                ("/metrics", f"Node {SECRET} read", 200),
                ("/tokens", f"Node {SECRET} control", 404),
            ):
                headers = {} if authorization is None else {"Authorization": authorization}
                async with session.get(f"http://localhost{path}", headers=headers) as answer:
                    assert answer.status == status, path


def test_a_node_does_not_load_what_it_does_not_use() -> None:
    """A machine under test has its memory for the test."""
    code = "import sys, smartmob.node_app, smartmob.node_membership; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"asyncpg", "jinja2", "plotly", "zmq", "smartmob.kernel.db"} & set(loaded)
