"""The stored form of searches."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from smartmob.turrets.capacity.model import SearchRequest
from tests.turrets.capacity_searches import search_document


def test_a_search_survives_the_way_there_and_back() -> None:
    """Nothing of it is lost or changed."""
    document = search_document()
    assert msgspec.to_builtins(msgspec.convert(document, SearchRequest)) == document


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("settings", "conditions"), []),
        (("settings", "growth"), 1),
        (("settings", "max_rate"), 1e9),
        (("steps", 0, "outcome"), "nearly"),
        (("steps", 0, "errors"), 1.5),
        (("steps", 0, "run"), "x" * 40),
        (("result", "ending"), "perhaps"),
        (("result", "confidence"), [0.5]),
        (("name",), "x" * 400),
    ],
)
def test_values_out_of_their_bounds_are_refused(path: tuple[Any, ...], value: Any) -> None:
    """A right to store a search is no right to store any document."""
    document: Any = search_document()
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, SearchRequest)
