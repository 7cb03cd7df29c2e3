"""Observations."""

from __future__ import annotations

from smartmob.alerts.observation import Observation, Observations
from smartmob.alerts.state_machine import Health


def test_an_incomplete_look_ends_no_alert() -> None:
    """By default the subjects that are not named go on as they were."""
    assert not Observations((Observation("a", Health.GOOD),)).complete
