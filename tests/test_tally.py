"""Counts by kind with a first example."""

from __future__ import annotations

from smartmob.tally import LONGEST_EXAMPLE, Tally


def test_counts_keep_their_order_and_a_short_first_example() -> None:
    """The first example of a kind stays, and is cut."""
    tally = Tally()
    for example in ("x" * 999, "y"):
        tally.add("a kind", example)
    assert tally.items() == [("a kind", 2, "x" * LONGEST_EXAMPLE)]
