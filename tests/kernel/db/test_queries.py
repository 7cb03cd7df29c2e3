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
    """Return a function that makes a package with this `queries.sql`."""
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
    """Each is found by its name, without blanks and the semicolon at its end."""
    name = package("-- name: first\nSELECT 1;\n\n-- name: second_one\nSELECT 'ü',\n    2\n")

    assert queries.load(name) == {"first": "SELECT 1", "second_one": "SELECT 'ü',\n    2"}


def test_text_before_the_first_block_is_ignored(package: Callable[[str], str]) -> None:
    """It may be a comment."""
    assert queries.load(package("-- About this file.\n\n-- name:   a   \nSELECT 1\n")) == {"a": "SELECT 1"}


def test_comments_inside_a_block_stay(package: Callable[[str], str]) -> None:
    """Only a line with a name ends a block."""
    text = "-- name: a\n-- why: because\nSELECT 1 -- name: b\n"

    assert queries.load(package(text)) == {"a": "-- why: because\nSELECT 1 -- name: b"}


def test_an_empty_file_has_no_queries(package: Callable[[str], str]) -> None:
    """It is not an error."""
    assert queries.load(package("")) == {}


def test_a_name_that_is_used_twice_is_refused(package: Callable[[str], str]) -> None:
    """The error names it."""
    name = package("-- name: a\nSELECT 1;\n-- name: b\nSELECT 2;\n-- name: a\nSELECT 3;\n")

    with pytest.raises(ValueError, match=f"{name}: two queries are named a"):
        queries.load(name)
