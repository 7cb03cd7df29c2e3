"""The node's side of a link: keys, refusals, and what it says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from smartmob.client.node_key import JoinRefused, Membership
from smartmob.client.node_link import LocalServer, NodeLink
from smartmob.errors import StartupError
from smartmob.kernel.auth.node_access import make_secret
from smartmob.kernel.runtime import clock
from tests.waiting import until


def _link(member: Membership, said: list[str]) -> NodeLink:
    def start(_: str, work: Any) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work)

    async def accept(_: Any) -> None:
        raise AssertionError("no stream is asked for")

    return NodeLink(member, LocalServer(start, accept, lambda _: None, make_secret), clock.epoch, said.append)


def _url(client: Any) -> str:
    return f"http://127.0.0.1:{client.server.port}"


async def test_a_key_is_kept_and_used_again(client: Any, tmp_path: Path) -> None:
    """The token is needed once; the file of the key is for the user of the node only."""
    file = tmp_path / "state" / "node.json"

    async def said_with(token: str | None) -> str:
        said: list[str] = []
        running = asyncio.ensure_future(_link(Membership(_url(client), "rack7", file, token=token), said).run())
        await until(lambda: any("connected" in text for text in said))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return " ".join(said)

    assert "joined" in await said_with("any")
    assert "joined" not in await said_with(None)
    assert file.stat().st_mode & 0o077 == 0


async def test_a_node_without_token_and_key_says_what_it_needs(client: Any, tmp_path: Path) -> None:
    """It does not try again and again."""
    with pytest.raises(JoinRefused, match="smartmob token add NAME --role node"):
        await _link(Membership(_url(client), "rack7", tmp_path / "node.json"), []).run()


async def test_a_taken_name_ends_the_node(client: Any, tmp_path: Path) -> None:
    """The reason of the service is told."""
    async with client.post("/api/v1/nodes/join", json={"name": "rack7"}) as answer:
        assert answer.status == 201
    with pytest.raises(JoinRefused, match="there is a node rack7 already"):
        await _link(Membership(_url(client), "rack7", tmp_path / "node.json", token="any"), []).run()


async def test_a_removed_node_is_refused(client: Any, tmp_path: Path) -> None:
    """Its link is closed with the reason, and its key is forgotten."""
    file, said = tmp_path / "node.json", list[str]()
    running = asyncio.ensure_future(_link(Membership(_url(client), "rack7", file, token="any"), said).run())
    await until(lambda: any("connected" in text for text in said))
    async with client.delete("/api/v1/nodes/rack7") as answer:
        assert answer.status == 204
    with pytest.raises(JoinRefused, match="was removed"):
        await running
    assert not file.exists()


async def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The node does not begin anew by itself, which would need another name."""
    file = tmp_path / "node.json"
    file.write_text("{")
    with pytest.raises(StartupError, match=r"node\.json"):
        _link(Membership("http://127.0.0.1:9", "rack7", file), [])
