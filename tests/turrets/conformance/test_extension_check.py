"""The check of numbered messages, with messages of this test in place of a turret."""

from __future__ import annotations

import json
from typing import Any

from smartmob.turrets.conformance.extension_check import NumberedRun
from smartmob.turrets.conformance.frame_rules import ReceivedFrame
from smartmob.turrets.conformance.turret_check import CheckOptions, TurretCheck

RESULT = {"elapsed": 1, "epoch": 1, "scriptrun_time": 1, "error": "", "custom_timers": {}, "uuid": "u"}


def sent(check: TurretCheck, numbered: NumberedRun, **values: Any) -> None:
    """Let a message be among those that came."""
    content = values if "status" in values else RESULT | {"run": numbered.id} | values
    check.headquarters.messages.append(ReceivedFrame(json.dumps(content).encode(), 0.0, 0.0, content))


async def test_numbers_are_read_in_order() -> None:
    """A repetition is no fault, a gap is one, and a run is complete with its last number."""
    check = TurretCheck(CheckOptions(command=("x",)), lambda text: None)
    run = NumberedRun(check, "raw")
    for number in (1, 2, 2, 1):
        sent(check, run, sequence=number)
    sent(check, run, run="another", sequence=9)
    report = {"protocol": 2, "version": "1", "host": "h", "run": run.id, "sequence": 2, "final": True}
    run.read()
    assert (run.acknowledged, run.complete, run.wrong) == (2, False, None)
    sent(check, run, status="Running", smartmob=report)
    run.read()
    assert run.complete
    sent(check, run, sequence=5)
    run.read()
    assert run.wrong is not None
    assert run.wrong[0] == "the number 5 came after 2"


async def test_messages_that_cannot_be_read_are_told() -> None:
    """The reason names the key."""
    check = TurretCheck(CheckOptions(command=("x",)), lambda text: None)
    run = NumberedRun(check, "slices")
    sent(check, run, sequence="first")
    run.read()
    assert run.wrong is not None
    assert "sequence" in run.wrong[0]
