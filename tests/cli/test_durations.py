"""Spans as a person types them."""

from __future__ import annotations

import pytest

from smartmob.cli.durations import duration_seconds
from smartmob.errors import SettingsError


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1.5m", 90), ("6h", 21_600), ("14d", 1_209_600)])
def test_spans(text: str, seconds: float) -> None:
    """A number and its unit."""
    assert duration_seconds("--last", text) == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "0s", "5x", "nans", "1e30d"])
def test_what_is_no_span(text: str) -> None:
    """The error names the option and shows what would be right."""
    with pytest.raises(SettingsError, match=f"^--last {text}: expected a duration such as"):
        duration_seconds("--last", text)
