"""The key of a node: kept in a file, and used for one service only."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.client.node_key import Membership, NodeKey, read_key, write_key
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
