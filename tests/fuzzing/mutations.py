"""Strategies that make messages that are almost right."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

MARK = "the-place-of-another-value"

NUMBERS = (
    *("-1", "0", "-0", "0.5", "1e308", "-1e308", "1e400", "-1e400", "0.1e-999", "NaN", "Infinity", "-Infinity"),
    *(
        str(2**31),
        str(2**32),
        str(2**53),
        str(2**62),
        str(2**63),
        str(-(2**63) - 1),
        str(2**64),
        "9" * 400,
        "1e1000000",
    ),
    *('"1"', '"nan"', '"-inf"', '"1e400"', '"\u0661"', '"' + "9" * 5000 + '"'),
)
TEXTS = (
    *('""', '"\\u0000"', '"\\ud800"', '"a\\udfff"', '"\\u202e\\u0007\\u001b[2J"', '"' + "x" * 5000 + '"', '"\\q"'),
    *('"../../x"', '"%s%n{0}"', '"a\\nb"', '"' + "\U0001f980" * 400 + '"', '"=1+1"'),
)
SHAPES = (
    *("null", "true", "false", "[]", "{}", "[null]", '{"":{}}', "[[],[{}]]", '{"a":1,"a":2}', '{"\\ud800":"\\ud800"}'),
    *("[" * 50 + "]" * 50, "[" * 5000 + "]" * 5000, '{"a":' * 5000 + "1" + "}" * 5000, "[" * 20_000),
    *("[" + "0," * 5000 + "0]", "{" + ",".join(f'"{number}":0' for number in range(5000)) + "}"),
)
VALUES: tuple[str, ...] = NUMBERS + TEXTS + SHAPES
"""Texts of JSON, some of them malformed, to replace any value."""


def any_of(values: Sequence[T]) -> st.SearchStrategy[T]:
    """Return the strategy of one of `values`, which may be too long to be shown as they are."""
    return st.integers(0, len(values) - 1).map(lambda number: values[number])


def places(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a document."""
    found: list[tuple[Any, ...]] = []
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        found.append((*at, key))
        if isinstance(value, dict | list):
            found += places(value, (*at, key))
    return found


@st.composite
def replaced(draw: st.DrawFn, document: dict[str, Any], keep: Sequence[str] = ()) -> bytes:
    """Return a document as JSON with one value replaced, one left out or one key twice; those of `keep` stay."""
    changed = copy.deepcopy(document)
    place = draw(st.sampled_from([place for place in places(document) if place[0] not in keep]))
    holder: Any = changed
    for key in place[:-1]:
        holder = holder[key]
    value = draw(any_of(VALUES))
    what = draw(st.sampled_from(("replace", "replace", "replace", "remove", "repeat")))
    if what == "remove":
        del holder[place[-1]]
    elif what == "repeat" and isinstance(holder, dict):
        return json.dumps(changed).replace("{", f"{{{json.dumps(place[-1])}: {value}, ", 1).encode()
    else:
        holder[place[-1]] = MARK
    return json.dumps(changed).replace(f'"{MARK}"', value).encode()


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Return bytes of which some were changed, left out, put in or repeated, or that end too early."""
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        what = draw(st.sampled_from(("flip", "cut", "insert", "remove", "repeat")))
        if what == "cut":
            data = data[:place]
        elif what == "insert":
            data = data[:place] + draw(st.binary(min_size=1, max_size=8)) + data[place:]
        elif what == "remove":
            data = data[:place] + data[place + draw(st.integers(1, 8)) :]
        elif what == "repeat":
            data = data[:place] + data[max(0, place - 8) : place] * draw(st.integers(1, 64)) + data[place:]
        elif place < len(data):
            data = data[:place] + bytes((data[place] ^ draw(st.integers(1, 255)),)) + data[place + 1 :]
    return data


def messages(
    documents: Sequence[dict[str, Any]], *, keep: Sequence[str] = (), damage: bool = True
) -> st.SearchStrategy[bytes]:
    """Return the strategy of messages that are almost those of `documents`; without `damage` each stays JSON."""
    whole = any_of(documents)
    almost = whole.flatmap(lambda document: replaced(document, keep))
    if not damage:
        return almost
    return st.one_of(
        almost,
        almost,
        whole.flatmap(lambda document: damaged(json.dumps(document).encode())),
        any_of([text.encode() for text in VALUES]),
        st.binary(max_size=64),
    )


def is_text(message: bytes) -> bool:
    """Return whether bytes are UTF-8."""
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
