"""What a declared field becomes outside: its names, its default as shown, and what it accepts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from smartmob.errors import SettingsError
from smartmob.options import options, setting


@dataclass(frozen=True, slots=True)
class _Kitchen:
    burners: int = setting(4, "How many burners.", low=1, high=8)
    gas: bool = setting(False, "Cook with gas.", name="gas")


@dataclass(frozen=True, slots=True)
class _House:
    colour: str = setting("white", "Colour.", choices=("white", "red"))
    cellar: Path | None = setting(None, "The cellar.", shown="none")
    active_requests: tuple[str, ...] = setting((), "Who is there.")
    height: float = setting(2.5, "Height in metres.", low=0)
    kitchen: _Kitchen = field(default_factory=_Kitchen)


HOUSE = {option.name: option for option in options(_House)}


def test_fields_and_those_of_nested_dataclasses_are_settings() -> None:
    """A nested one carries the name of its group, unless it has a name of its own."""
    assert list(HOUSE) == ["colour", "cellar", "guests", "height", "kitchen_burners", "gas"]
    assert (HOUSE["kitchen_burners"].flag, HOUSE["kitchen_burners"].variable) == (
        "--kitchen-burners", "SMARTMOB_KITCHEN_BURNERS",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shown"),
    [("colour", "white"), ("cellar", "none"), ("guests", ""), ("height", "2.5"), ("gas", "false")],
)
def test_defaults_as_the_help_shows_them(name: str, shown: str) -> None:
    """What is said to be shown goes before the default itself."""
    assert HOUSE[name].default_text == shown


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("colour", "red", "red"),
        ("cellar", "/tmp", Path("/tmp")),
        ("guests", "ann, bob,", ("ann", "bob")),
        ("guests", ["ann"], ("ann",)),
        ("height", "3", 3.0),
        ("kitchen_burners", 8, 8),
        ("gas", "Yes", True),
    ],
)
def test_accepted(name: str, given: Any, value: Any) -> None:
    """Texts of the environment and values of the file become values of the field's type."""
    assert HOUSE[name].parse(given, "here") == value


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("colour", "blue", "one of white, red"),
        ("colour", 1, "a text"),
        ("guests", 1, "a list of texts"),
        ("guests", [1], "a list of texts"),
        ("height", "nan", "a number"),
        ("height", -1, "at least 0"),
        ("kitchen_burners", 9, "from 1 to 8"),
        ("kitchen_burners", 2.5, "a whole number"),
        ("kitchen_burners", True, "a whole number"),
        ("gas", "perhaps", "true or false"),
        ("cellar", "a\0b", "a path"),
    ],
)
def test_refused(name: str, given: Any, wanted: str) -> None:
    """The error names where the value came from and says what would be right."""
    with pytest.raises(SettingsError, match=f"^here: expected {wanted}"):
        HOUSE[name].parse(given, "here")
