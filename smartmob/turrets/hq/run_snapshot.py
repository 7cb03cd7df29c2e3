"""A snapshot of a run for those who read its state: the live view, the queries and the reports. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from smartmob.turrets.hq.aggregation import RunTotals
from smartmob.turrets.hq.live_seconds import LiveSeconds
from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.model import ENDED, ConditionResult, Counters, Member


class RunSnapshot(msgspec.Struct, frozen=True):
    """The newest run of a headquarters at one moment; `recent` has the values of its last seconds, and
    `conditions` how these stand.

    `firing_seconds` is the time for which it has fired; `seconds_since_start` grows until its end.
    """

    run: RunState
    members: list[Member]
    totals: RunTotals
    counters: Counters
    firing_seconds: float
    seconds_since_start: float
    recent: LiveSeconds
    conditions: Sequence[ConditionResult] = ()

    @property
    def is_active(self) -> bool:
        """Return whether the run is still going on or not yet stored completely."""
        return self.run.state not in ENDED


class RunStateChanged(msgspec.Struct, frozen=True):
    """An event of the headquarters: the state of a run has changed."""

    run_id: str


class RunStored(msgspec.Struct, frozen=True):
    """An event of the headquarters: an ended run is stored completely."""

    snapshot: RunSnapshot
