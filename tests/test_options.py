"""The options that declared fields become: their names, their shown defaults, and their accepted values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from smartmob.errors import SettingsError
from smartmob.options import options, setting


@dataclass(frozen=True, slots=True)
class _Cache:
    entries: int = setting(4, "Entries of the cache.", low=1, high=8)
    shared: bool = setting(False, "Share the cache.", name="shared")


@dataclass(frozen=True, slots=True)
class _Program:
    colour: str = setting("white", "Colour.", choices=("white", "red"))
    folder: Path | None = setting(None, "Folder.", shown="none")
    users: tuple[str, ...] = setting((), "User; repeatable.")
    height: float = setting(2.5, "Height in metres.", low=0)
    cache: _Cache = field(default_factory=_Cache)


OPTIONS = {option.name: option for option in options(_Program)}


def test_fields_of_nested_dataclasses_are_options_too() -> None:
    """The name of a nested option begins with its group, unless it has a name of its own."""
    assert list(OPTIONS) == ["colour", "folder", "users", "height", "cache_entries", "shared"]
    assert (OPTIONS["cache_entries"].flag, OPTIONS["cache_entries"].variable) == (
        "--cache-entries", "SMARTMOB_CACHE_ENTRIES",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shown"),
    [("colour", "white"), ("folder", "none"), ("users", ""), ("height", "2.5"), ("shared", "false")],
)
def test_a_shown_text_replaces_the_default_in_the_help(name: str, shown: str) -> None:
    """The help shows `shown` if it is given, else the default."""
    assert OPTIONS[name].default_text == shown


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("colour", "red", "red"),
        ("folder", "/tmp", Path("/tmp")),
        ("users", "ann, bob,", ("ann", "bob")),
        ("users", ["ann"], ("ann",)),
        ("height", "3", 3.0),
        ("cache_entries", 8, 8),
        ("shared", "Yes", True),
    ],
)
def test_valid_texts_and_values_are_converted(name: str, given: Any, value: Any) -> None:
    """Texts from the environment and values from the file become values of the type of the field."""
    assert OPTIONS[name].parse(given, "here") == value


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("colour", "blue", "one of white, red"),
        ("colour", 1, "a text"),
        ("users", 1, "a list of texts"),
        ("users", [1], "a list of texts"),
        ("height", "nan", "a number"),
        ("height", -1, "at least 0"),
        ("cache_entries", 9, "from 1 to 8"),
        ("cache_entries", 2.5, "a whole number"),
        ("cache_entries", True, "a whole number"),
        ("shared", "perhaps", "true or false"),
        ("folder", "a\0b", "a path"),
    ],
)
def test_invalid_values_are_refused_with_their_source(name: str, given: Any, wanted: str) -> None:
    """The error names the source of the value and what is accepted."""
    with pytest.raises(SettingsError, match=f"^here: expected {wanted}"):
        OPTIONS[name].parse(given, "here")
