"""The state of one turret as the headquarters knows it."""

from __future__ import annotations

import msgspec
import pytest

from smartmob.turrets.hq.member_changes import new_member
from smartmob.turrets.hq.tracked_turret import TrackedTurret, fires_without_run
from smartmob.turrets.protocol import Report, Status
from tests.turrets.histories import NOON, RUN

REPORT = Report(protocol=1, version="1", host="rack7", run=RUN, final=True, sequence=4)


def _turret(status: str, report: Report | None = None, acknowledged: int = 0, *, alive: bool = True) -> TrackedTurret:
    member = new_member(Status(status=status, uuid="u1"), NOON)
    member = msgspec.structs.replace(member, report=report, alive=alive)
    return TrackedTurret(member, 0.0, 0.0, acknowledged)


@pytest.mark.parametrize(
    ("status", "is_idle", "is_firing"),
    [("ready", True, False), (" Running ", False, True), ("Aborted", False, False), ("killed", False, False)],
)
def test_the_spelling_of_a_status_does_not_matter(status: str, is_idle: bool, is_firing: bool) -> None:
    """A turret could begin to fire if it neither fires nor has ended."""
    turret = _turret(status)
    assert (turret.is_idle, turret.is_firing) == (is_idle, is_firing)


def test_a_lost_turret_is_not_waited_for() -> None:
    """It neither begins to fire nor sends results."""
    turret = _turret("Running", alive=False)
    assert (turret.is_idle, turret.has_sent_all(RUN), fires_without_run(turret)) == (False, True, False)


@pytest.mark.parametrize(
    ("report", "acknowledged", "has_sent_all"),
    [
        (REPORT, 4, True),
        (REPORT, 3, False),
        (msgspec.structs.replace(REPORT, final=False), 4, False),
        (None, 0, True),
        (msgspec.structs.replace(REPORT, run="another"), 0, True),
    ],
)
def test_results_of_a_run_are_expected_until_the_last_one_is_stored(
    report: Report | None, acknowledged: int, has_sent_all: bool
) -> None:
    """A turret that reports no number is settled when it does not fire."""
    assert _turret("ready", report, acknowledged).has_sent_all(RUN) is has_sent_all


def test_a_turret_of_no_run_fires_by_itself() -> None:
    """Its status says so, or its report."""
    assert fires_without_run(_turret("Running"))
    assert fires_without_run(_turret("ready", REPORT))
    assert not fires_without_run(_turret("ready"))
