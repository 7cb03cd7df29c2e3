"""The names under which the commands use conditions."""

from __future__ import annotations

from smartmob.cli import thresholds
from smartmob.turrets import conditions


def test_the_commands_use_the_conditions_of_the_service() -> None:
    """Both evaluate the same language."""
    assert [thresholds.parse, thresholds.parse_all] == [conditions.parse, conditions.parse_all]
