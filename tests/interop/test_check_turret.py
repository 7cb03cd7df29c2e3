"""The turrets of OCT as they are on PyPI under `smartmob check-turret`."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.turrets.conformance.turret_check import CheckOptions, TurretCheck
from tests.turrets.conformance.example_turrets import broken

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]


@pytest.mark.long
async def test_a_turret_of_oct(turret_python: Path) -> None:
    """Of oct-turrets 0.2.8 exactly the known faults are found: orders that end it, and a stop in the rampup."""
    command = (str(turret_python.parent / "oct-turrets-start"), "--tar", "{tar}")
    checks = await TurretCheck(CheckOptions(command=command, patience=60, limit=800), lambda text: None).run()
    assert set(broken(checks)) == {"broken-orders", "orders-of-others", "own-orders", "early-stop"}
    results = {one.rule: one.result for one in checks}
    assert {results[name] for name in ("counts", "custom-timers", "context", "runs-again", "briefings")} == {"passed"}
