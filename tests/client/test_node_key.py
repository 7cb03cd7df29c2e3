"""The key of a node: kept in a file, and used for one service only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from smartmob.client.node_key import JoinRefused, Membership, NodeKey, join, read_key, write_key
from smartmob.errors import StartupError

KEY = NodeKey("http://lab:8080", "rack7", "smn_secret", "rack7")


def test_a_key_is_read_as_it_was_written(tmp_path: Path) -> None:
    """The file is for the node's own user, and a trailing slash of the address does not matter."""
    file = tmp_path / "state" / "node.json"
    write_key(file, KEY)
    assert read_key(Membership("http://lab:8080/", "rack7", file)) == KEY
    assert file.stat().st_mode & 0o077 == 0


def test_a_key_of_another_service_is_not_shown_to_this_one(tmp_path: Path) -> None:
    """The node joins anew."""
    write_key(tmp_path / "node.json", KEY)
    assert read_key(Membership("http://other:8080", "rack7", tmp_path / "node.json")) is None
    assert read_key(Membership("http://lab:8080", "rack7", tmp_path / "none.json")) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"url": "http://lab:8080"}', b"\xff"])
def test_a_file_that_is_no_key_is_named(tmp_path: Path, content: bytes) -> None:
    """Nothing is joined by itself with another key."""
    (tmp_path / "node.json").write_bytes(content)
    with pytest.raises(StartupError, match=r"node\.json"):
        read_key(Membership("http://lab:8080", "rack7", tmp_path / "node.json"))


def test_the_password_of_the_host_does_not_reveal_the_key() -> None:
    """It differs between keys, and is what the service accepts."""
    other = NodeKey(KEY.url, KEY.name, "smn_other")
    assert len(KEY.host_password) == 64
    assert KEY.host_password != other.host_password
    assert KEY.key not in KEY.host_password


async def test_a_machine_whose_answer_was_lost_joins_again(client: Any, tmp_path: Path) -> None:
    """The second request is for the same node, because the key was on the disk before; other machines are refused."""
    file = tmp_path / "node.json"
    member = Membership(f"http://127.0.0.1:{client.server.port}", "rack7", file, token="any")
    async with aiohttp.ClientSession() as session:
        first = await join(session, member)
        assert not file.with_name("node.json.joining").exists()
        file.replace(file.with_name("node.json.joining"))  # as if the process had been killed before the answer
        assert await join(session, member) == first == read_key(member)
        with pytest.raises(JoinRefused, match="there is a node rack7 already"):
            await join(session, Membership(member.url, "rack7", tmp_path / "other.json", token="any"))
        body = {"name": "rack8", "key": first.key}
        async with session.post(f"{member.url}/api/v1/nodes/join", json=body) as answer:
            assert (answer.status, (await answer.json())["detail"]) == (409, "this is the key of the node rack7")
        async with session.post(f"{member.url}/api/v1/nodes/join", json=body | {"key": "smn_weak"}) as answer:
            assert answer.status == 400
            assert "smn_weak" not in json.dumps(await answer.json())


async def test_a_full_disk_leaves_no_node_behind(client: Any, tmp_path: Path) -> None:
    """The key is stored before the service is asked, so that a machine that cannot keep one does not join."""
    member = Membership(f"http://127.0.0.1:{client.server.port}", "rack7", Path("/dev/full/node.json"), token="any")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(StartupError, match="cannot be written"):
            await join(session, member)
    async with client.get("/api/v1/nodes") as answer:
        assert await answer.json() == {"nodes": []}
