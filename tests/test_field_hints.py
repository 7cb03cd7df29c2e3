"""Hints for documents that do not fit their type."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from smartmob.kernel.http import problems


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    """A part of the document."""

    colour: Literal["red", "green"] = "red"
    size: Annotated[int, msgspec.Meta(ge=1)] = 1


class Outer(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """The document."""

    from_: str = ""
    inner: Inner | None = None
    parts: list[Inner] = []
    named: Annotated[dict[str, Inner], msgspec.Meta(max_length=9)] | None = None
    anything: Any = None


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ('{"inner": {"colour": "rde"}}', "$.inner.colour: Invalid enum value 'rde'; expected 'red', 'green'"),
        ('{"inner": {"colour": "Red"}}', "'red', 'green'; did you mean 'red'?"),
        ('{"form": 1}', "$: Object contains unknown field `form`; did you mean from?"),
        ('{"x": 1}', "$: Object contains unknown field `x`; it has from, inner, parts, named, anything"),
        ('{"parts": [{}, {"sise": 1}]}', "$.parts[1]: Object contains unknown field `sise`; did you mean size?"),
        ('{"named": {"a": {}, "b": {"size": 0}}}', "$.named.b.size: Expected `int` >= 1"),
        (
            '{"named": {"a": {"color": ""}}}',
            "$.named.a: Object contains unknown field `color`; did you mean colour?",
        ),
        ('{"named": [1]}', "$.named: Expected `object | null`, got `array`"),
    ],
)
def test_messages_name_the_place_and_what_is_right(document: str, expected: str) -> None:
    """Also below lists, unions and keys, and with the names that documents have."""
    data = document.encode()
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(data, type=Outer)
    assert expected in str(problems.invalid(caught.value, kind=Outer, data=data))
