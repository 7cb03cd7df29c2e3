"""The configuration file of a turret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smartmob.errors import InvalidInput
from smartmob.turrets.turret import configuration

GIVEN: dict[str, Any] = {
    "name": "navigation",
    "canons": 50,
    "rampup": 10,
    "script": "v_user.py",
    "hq_address": "127.0.0.1",
    "hq_publisher": 5000,
    "hq_rc": 5001,
}
"""The example of the seed."""


def test_the_example_of_the_seed_is_valid() -> None:
    """It is accepted without changes."""
    made = configuration.parse(GIVEN)
    assert (made.name, made.cannons, made.rampup, made.hq_rc, made.arrivals()) == ("navigation", 50, 10, 5001, None)


def test_cannons_has_precedence_over_canons() -> None:
    """Numbers may be strings; further keys are accepted."""
    made = configuration.parse(GIVEN | {"cannons": "7", "rampup": None, "anything": {"x": 1}})
    assert (made.cannons, made.rampup) == (7, 0)


def test_a_rate_is_a_number_or_stages() -> None:
    """A rate is a number, or a list of steps and ramps."""
    for rate in (5, [{"seconds": 1, "rate": 5}, {"seconds": 2, "from": 5, "to": 10}]):
        made = configuration.parse(GIVEN | {"rampup": 0, "rate": rate})
        arrivals = made.arrivals()
        assert arrivals is not None
        assert arrivals.due(1.0) == 5


@pytest.mark.parametrize("key", ["name", "script", "hq_address", "hq_publisher", "hq_rc", "canons"])
def test_a_missing_key_is_named(key: str) -> None:
    """The error names the key."""
    given = {name: value for name, value in GIVEN.items() if name != key}
    with pytest.raises(InvalidInput, match=rf"\$\.{key.replace('canons', 'cannons')}: this key is required"):
        configuration.parse(given)


@pytest.mark.parametrize(
    ("further", "where"),
    [
        ({"canons": 0}, "cannons"),
        ({"canons": "many"}, "cannons"),
        ({"rampup": -1}, "rampup"),
        ({"hq_rc": 70000}, "hq_rc"),
        ({"rate": 5}, "rampup"),
        ({"rampup": 0, "rate": []}, "rate"),
        ({"rampup": 0, "rate": [{"secs": 1}]}, "rate"),
        ({"processes": 51}, "processes"),
        ({"hq_public_key": "short"}, "hq_public_key"),
        ({"cannon_class": "my.Cannon"}, "cannon_class"),
        ({"name": ""}, "name"),
    ],
)
def test_an_invalid_value_is_refused_with_its_key(further: dict[str, Any], where: str) -> None:
    """The error names the key."""
    with pytest.raises(InvalidInput, match=rf"\$\.{where}"):
        configuration.parse(GIVEN | further)


def test_the_default_classes_of_oct_are_accepted(tmp_path: Path) -> None:
    """A configuration may name the classes that are the default."""
    configuration.parse(GIVEN | {"cannon_class": "oct_turrets.cannon.Cannon", "turret_class": None})


@pytest.mark.parametrize("content", ["", "{", "[]", "1"])
def test_an_invalid_file_is_refused_with_its_name(content: str, tmp_path: Path) -> None:
    """A missing file is refused in the same way."""
    path = tmp_path / "config.json"
    with pytest.raises(InvalidInput, match=str(path)):
        configuration.read(path)
    path.write_text(content)
    with pytest.raises(InvalidInput, match=str(path)):
        configuration.read(path)
