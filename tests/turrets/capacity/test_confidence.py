"""Wilson's interval, against published values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.turrets.capacity.confidence import wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # By R 4: prop.test(x, n, correct = FALSE)$conf.int
    [
        (3, 3, 0.4385, 1.0),
        (2, 3, 0.2077, 0.9385),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_intervals_agree_with_known_values(successes: int, trials: int, low: float, high: float) -> None:
    """They agree to four digits."""
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 1_000), st.data())
def test_it_contains_the_observed_share(trials: int, data: st.DataObject) -> None:
    """It lies in 0 to 1, also at the ends."""
    successes = data.draw(st.integers(0, trials))
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (2, 1), (-1, 3)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    """They come from an error of the caller."""
    with pytest.raises(ValueError, match="at least one trial"):
        wilson(successes, trials)
