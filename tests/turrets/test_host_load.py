"""Machines that were busy while a run fired."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from smartmob.turrets.host_load import loads_in_run
from smartmob.turrets.model import MachineLoad, Member
from smartmob.turrets.protocol import Report

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MEMBER = Member(
    uuid="1", name="nav", script="v.py", cannons=5, rampup=0.0, status="ready", status_at=NOON, first_seen=NOON,
    ours=True, report=Report(protocol=1, version="1", host="rack7", run="r"),
)  # fmt: skip


@dataclass
class _Percent:
    avg: float
    max: float


@dataclass
class _Load:
    host: str
    cpu: _Percent | None


def test_loads_say_where_turrets_fired() -> None:
    """Turrets of smartmob report the names of their machines; hosts without CPU use are left out."""
    hosts = [_Load("Rack7.lab", _Percent(50.0, 99.0)), _Load("rack8", _Percent(1.0, 2.0)), _Load("rack9", None)]
    oct_turret = msgspec.structs.replace(MEMBER, ours=False, report=None)
    assert loads_in_run(hosts, [MEMBER, oct_turret]) == [
        MachineLoad("Rack7.lab", 50.0, 99.0, fired=True),
        MachineLoad("rack8", 1.0, 2.0),
    ]
    assert not any(load.fired for load in loads_in_run(hosts, [oct_turret]))
