"""Durations as text."""

import pytest

from smartmob.duration_text import seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.0 ms"),
        (-0.0, "0.0 ms"),
        (-1e-12, "0.0 ms"),
        (0.25e-9, "0.25 ns"),
        (-1e-9, "-1.00 ns"),
        (12.5e-9, "12.5 ns"),
        (456.7e-9, "457 ns"),
        (1.034e-6, "1.03 µs"),
        (0.0000123, "12.3 µs"),
        (0.000123, "123 µs"),
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
