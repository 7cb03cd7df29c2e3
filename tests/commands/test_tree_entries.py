"""Lists of trees as messages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smartmob.commands import tree_entries
from smartmob.errors import InvalidInput


def test_entries_survive_the_way_there_and_back(tmp_path: Path) -> None:
    """A name is the same bytes after it was encoded and decoded."""
    for name in (b"plain", b"\xff", b"line\nend", "ü".encode()):
        (tmp_path / os.fsdecode(name)).write_text("x")
        (tmp_path / os.fsdecode(b"to-" + name)).symlink_to(os.fsdecode(name))
    entries = list(tree_entries.scan(os.fsencode(tmp_path)))
    assert len(entries) == 9
    assert [tree_entries.from_message(tree_entries.to_message(entry)) for entry in entries] == entries


@pytest.mark.parametrize(
    "message",
    [
        7,
        {},
        {"path": "a", "size": -1},
        {"path": "a", "size": "4"},
        {"path": 1, "size": 4},
        {"path": "a", "size": 4, "mode": "x"},
        {"path": "a", "size": 4, "mtime_ns": 2**70},
        {"path": "a", "size": 0, "kind": "link"},
        {"path": "a", "size": 0, "raw": "no base64"},
        {"path": "a", "size": 0, "kind": []},
    ],
)
def test_a_malformed_entry_is_refused(message: object) -> None:
    """A server is not believed."""
    with pytest.raises(InvalidInput):
        tree_entries.from_message(message)


def test_an_entry_of_an_earlier_release_is_a_file() -> None:
    """It has a path and a size only."""
    entry = tree_entries.from_message({"path": "a/b", "size": 3})
    assert (entry.path, entry.kind, entry.size, entry.mode) == (b"a/b", "file", 3, None)
