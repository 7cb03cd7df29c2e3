"""Durations as text."""

import pytest

from smartmob.duration_text import seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.0 ms"),
        (-0.0, "0.0 ms"),
        (-1e-9, "0.0 ms"),
        (0.0000123, "12 µs"),
        (0.00123, "1.23 ms"),
        (0.0123, "12.3 ms"),
        (0.25, "250.0 ms"),
        (-0.25, "-250.0 ms"),
        (1.5, "1.50 s"),
        (40.0, "40 s"),
        (99.99, "99.99 s"),
        (12_345.6, "12,346 s"),
    ],
)
def test_a_duration_has_a_fitting_unit(value: float | None, text: str) -> None:
    """Each size of a duration has its unit and number of digits."""
    assert seconds(value) == text
