"""The names of timers: one rule on each side of the wire."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.turrets.names import ALL_TRANSACTIONS, FURTHER_TIMERS, LONGEST_TIMER_NAME, UNNAMED, by_timer, timer_name


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ("", UNNAMED),
        (" \t ", "\ufffd"),
        ("   ", UNNAMED),
        ("\u3164 \u115f", UNNAMED),
        ("404", "404"),
        ("__proto__", "__proto__"),
        ("=1+1", "=1+1"),
        (" login ", "login"),
        ("a\0b\nc", "a\ufffdb\ufffdc"),
        ("half \ud800", "half \ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("e\u0301", "\u00e9"),
        ("right\u202eleft", "right\ufffdleft"),
        (ALL_TRANSACTIONS, "All transactions (timer)"),
        (FURTHER_TIMERS, "(further timers) (timer)"),
    ],
)
def test_a_name_becomes_readable_and_keeps_clear_of_reserved_ones(given: str, counted: str) -> None:
    """Nothing else in a name has a meaning here, so numbers, formulas and words of JavaScript stay as they are."""
    assert timer_name(given) == counted


def test_long_names_stay_apart() -> None:
    """Two names that differ only at their ends are two timers, each within the limit."""
    first, second = timer_name("x" * 300 + "a"), timer_name("x" * 300 + "b")
    assert first != second
    assert len(first) == len(second) == LONGEST_TIMER_NAME


@given(st.text(max_size=400))
def test_the_rule_changes_its_own_names_no_further(name: str) -> None:
    """A counted name is JSON, has no blanks around it, and is the same after a second time."""
    counted = timer_name(name)
    assert timer_name(counted) == counted == counted.strip()
    assert 0 < len(counted) <= LONGEST_TIMER_NAME
    assert json.loads(json.dumps(counted).encode()) == counted


@given(
    st.dictionaries(st.text(max_size=3) | st.sampled_from(["e\u0301", "\u00e9", "", " "]), st.integers(), max_size=6)
)
def test_no_value_is_lost_when_two_names_are_counted_alike(values: dict[str, int]) -> None:
    """The second one gets a number."""
    assert sorted(by_timer(values).values()) == sorted(values.values())


def test_values_with_known_names_are_not_copied() -> None:
    """Nearly all results have names that stay as they are; one other name makes a new dictionary."""
    values = {"page": 1.0, "basket": 2.0}
    assert by_timer(values) == values
    assert by_timer(values) is values
    assert by_timer({**values, " page": 3.0}) == {**values, "page (2)": 3.0}
