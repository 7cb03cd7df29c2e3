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


def test_the_example_of_the_seed() -> None:
    """It is understood as it is."""
    made = configuration.parse(GIVEN)
    assert (made.name, made.cannons, made.rampup, made.hq_rc, made.arrivals()) == ("navigation", 50, 10, 5001, None)


def test_the_spelling_of_oct() -> None:
    """`cannons` goes before `canons`; numbers may be texts; further keys are the script's affair."""
    made = configuration.parse(GIVEN | {"cannons": "7", "rampup": None, "anything": {"x": 1}})
    assert (made.cannons, made.rampup) == (7, 0)


def test_the_open_model() -> None:
    """A rate is a number, or a list of steps and ramps."""
    for rate in (5, [{"seconds": 1, "rate": 5}, {"seconds": 2, "from": 5, "to": 10}]):
        made = configuration.parse(GIVEN | {"rampup": 0, "rate": rate})
        arrivals = made.arrivals()
        assert arrivals is not None
        assert arrivals.due(1.0) == 5


@pytest.mark.parametrize("key", ["name", "script", "hq_address", "hq_publisher", "hq_rc", "canons"])
def test_what_is_needed(key: str) -> None:
    """A missing key is named."""
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
def test_what_does_not_fit(further: dict[str, Any], where: str) -> None:
    """The error names the key."""
    with pytest.raises(InvalidInput, match=rf"\$\.{where}"):
        configuration.parse(GIVEN | further)


def test_the_classes_of_oct_itself(tmp_path: Path) -> None:
    """A configuration may name the classes that it would get anyway."""
    configuration.parse(GIVEN | {"cannon_class": "oct_turrets.cannon.Cannon", "turret_class": None})


@pytest.mark.parametrize("content", ["", "{", "[]", "1"])
def test_files_that_are_none(content: str, tmp_path: Path) -> None:
    """The error names the file; so it does for one that is not there."""
    path = tmp_path / "config.json"
    with pytest.raises(InvalidInput, match=str(path)):
        configuration.read(path)
    path.write_text(content)
    with pytest.raises(InvalidInput, match=str(path)):
        configuration.read(path)
