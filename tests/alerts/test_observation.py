"""Observations."""

from __future__ import annotations

from smartmob.alerts.observation import Observation, Observations
from smartmob.alerts.state_machine import SubjectHealth


def test_an_incomplete_look_ends_no_alert() -> None:
    """By default the subjects that are not named go on as they were."""
    assert not Observations((Observation("a", SubjectHealth.GOOD),)).complete
