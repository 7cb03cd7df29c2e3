"""Spans as a person types them."""

from __future__ import annotations

import pytest

from smartmob.cli.durations import duration_seconds
from smartmob.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1.5m", 90), ("6h", 21_600), ("14d", 1_209_600), ("1m30s", 90), ("500ms", 0.5)]
)
def test_a_duration_is_a_number_and_its_unit(text: str, seconds: float) -> None:
    """A number and its unit."""
    assert duration_seconds("--last", text) == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "0s", "5x", "nans", "1e30d", "9999999d", "1m x", "0"])
def test_what_is_no_span(text: str) -> None:
    """The error names the option and shows what would be right."""
    with pytest.raises(SettingsError, match=f"^--last {text}: expected a duration such as"):
        duration_seconds("--last", text)


def test_a_span_of_nothing_where_it_has_a_meaning() -> None:
    """It is the way to ask for no warm-up."""
    assert [duration_seconds("--warm-up", text, may_be_zero=True) for text in ("0", "0s", "2s")] == [0, 0, 2]
    with pytest.raises(SettingsError):
        duration_seconds("--warm-up", "", may_be_zero=True)
