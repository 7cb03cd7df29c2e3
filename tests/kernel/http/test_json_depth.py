"""The limit on levels of JSON: its value, its counting, and its cost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.errors import InvalidInput
from smartmob.kernel.http.json_depth import MAX_LEVELS, check, is_too_deep

TRICKY = st.text(alphabet='"[]{}\\ab\n', max_size=6)
VALUES = st.recursive(
    st.none() | TRICKY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4),
    max_leaves=80,
)


def _levels(value: Any) -> int:
    """Return the levels of a value by walking it."""
    if isinstance(value, dict):
        return 1 + max(map(_levels, value.values()), default=0)
    return 1 + max(map(_levels, value), default=0) if isinstance(value, list) else 0


def _within(value: Any, levels: int) -> Any:
    """Return a value with so many levels around it, beside others."""
    for number in range(levels):
        value = [value, "]"] if number % 2 else {'"[': [], "a": value}
    return value


@given(VALUES, st.integers(0, MAX_LEVELS + 1))
def test_levels_are_counted_as_by_a_recursive_walk(value: Any, around: int) -> None:
    """Brackets, quotes and backslashes in texts change nothing, in bytes, text and several documents."""
    document = _within(value, around)
    expected = _levels(document) > MAX_LEVELS
    for ascii_only in (True, False):
        text = json.dumps(document, ensure_ascii=ascii_only)
        assert is_too_deep(text) is is_too_deep(text.encode()) is expected
        assert is_too_deep(f'{{"a": [1]}}\n{text}\n[]\n'.encode()) is expected


@pytest.mark.parametrize(("opening", "closing", "levels"), [("[", "]", 1), ('{"a":', "}", 1), ('[{"a":', "}]", 2)])
def test_exactly_the_allowed_levels_pass(opening: str, closing: str, levels: int) -> None:
    """The allowed number of levels passes and one more is refused, with any number of lists beside them."""
    many = MAX_LEVELS // levels
    text = f"{opening * many}1{closing * many}"
    beside = f"[{'[],' * 1000}"
    check(text)
    check(text.encode())
    with pytest.raises(InvalidInput, match=rf"^\$\.x: the body is nested too deeply, in more than {MAX_LEVELS} levels"):
        check(f"[{text}]", "$.x")
    assert is_too_deep(f"{beside}{text}]")


@pytest.mark.parametrize(
    ("repeated", "expected"),
    [
        ("[],", False),
        ('{"a":[[[[[[]]]]]]},', False),
        ("[", True),
        ("]", False),
        ('"', False),
        ('\\"', False),
        ('"[",', False),
        ("\\", False),
        ('""', False),
        ('"\\\\[",', False),
        ("[" * 60 + "]" * 60, False),
    ],
)
def test_the_cost_is_linear(repeated: str, expected: bool) -> None:
    """A body of 4 MB is read: with a cost that grows with the square this would not end within the limit of a test."""
    assert is_too_deep((repeated * (4_000_000 // len(repeated))).encode()) is expected
