"""The named queries of a feature, read from its `queries.sql`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from smartmob.kernel.db import queries

_numbers = itertools.count()


@pytest.fixture(name="package")
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Return the maker of packages with a given `queries.sql`."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(text: str) -> str:
        name = f"room_of_queries_{next(_numbers)}"
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "queries.sql").write_text(text, encoding="utf-8")
        return name

    return make


def test_blocks_become_queries(package: Callable[[str], str]) -> None:
    """Each block is found under its name, without the blanks and the semicolon at its end."""
    name = package("-- name: first\nSELECT 1;\n\n-- name: second_one\nSELECT 'ü',\n    2\n")

    assert queries.load(name) == {"first": "SELECT 1", "second_one": "SELECT 'ü',\n    2"}


def test_what_stands_before_the_first_block(package: Callable[[str], str]) -> None:
    """A comment at the top of the file belongs to no query."""
    assert queries.load(package("-- About this file.\n\n-- name:   a   \nSELECT 1\n")) == {"a": "SELECT 1"}


def test_comments_inside_a_block_stay(package: Callable[[str], str]) -> None:
    """Only a line that is a name ends a block."""
    text = "-- name: a\n-- why: because\nSELECT 1 -- name: b\n"

    assert queries.load(package(text)) == {"a": "-- why: because\nSELECT 1 -- name: b"}


def test_an_empty_file(package: Callable[[str], str]) -> None:
    """No block, no query."""
    assert queries.load(package("")) == {}


def test_a_name_is_used_once(package: Callable[[str], str]) -> None:
    """A second query of the same name is a mistake and is said to be one."""
    name = package("-- name: a\nSELECT 1;\n-- name: b\nSELECT 2;\n-- name: a\nSELECT 3;\n")

    with pytest.raises(ValueError, match=f"{name}: two queries are named a"):
        queries.load(name)
