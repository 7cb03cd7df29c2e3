"""The e-BH procedure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.experiments.false_discoveries import discoveries


@pytest.mark.parametrize(
    ("evidence", "found"),
    [
        ([], set()),
        ([19.9], set()),
        ([20.0], {0}),
        ([39.0, 1.0], set()),
        ([40.0, 1.0], {0}),
        ([20.0, 20.0], {0, 1}),
        ([1.0, 30.0, 61.0], {1, 2}),
    ],
)
def test_the_k_largest_are_found(evidence: list[float], found: set[int]) -> None:
    """At a rate of 5 %, k of n values are discoveries if each is at least 20 n / k."""
    assert discoveries(evidence, 0.05) == found


@given(st.lists(st.floats(0, 1e6), max_size=20), st.data())
def test_more_evidence_loses_no_discovery(evidence: list[float], data: st.DataObject) -> None:
    """Those found are found as well when the value of any test grows."""
    before = discoveries(evidence, 0.05)
    if evidence:
        place = data.draw(st.integers(0, len(evidence) - 1))
        evidence[place] *= 3
    assert before <= discoveries(evidence, 0.05)
