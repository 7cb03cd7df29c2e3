"""The snapshot of a run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from smartmob.turrets.hq.aggregation import RunTotals
from smartmob.turrets.hq.live_seconds import LiveSeconds
from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.hq.run_snapshot import RunSnapshot
from smartmob.turrets.model import ENDED, Counters, RunConfig, State


@pytest.mark.parametrize("state", get_args(State))
def test_a_run_is_active_until_it_has_ended(state: State) -> None:
    """Waiting, running and draining runs are active."""
    run = RunState("r", RunConfig(run_time=1.0), state, datetime(2026, 11, 23, tzinfo=UTC))
    snapshot = RunSnapshot(run, [], RunTotals(), Counters(), 0.0, 0.0, LiveSeconds())
    assert snapshot.is_active is (state not in ENDED)
