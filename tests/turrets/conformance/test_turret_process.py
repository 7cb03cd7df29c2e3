"""The process of a turret under check."""

from __future__ import annotations

import sys

import pytest

from smartmob.errors import SettingsError
from smartmob.turrets.conformance.awaited_changes import AwaitedChanges
from smartmob.turrets.conformance.turret_process import TurretProcess
from tests.waiting import SECONDS

DAEMON = """
import os, subprocess, sys
print("a line", os.environ["TURRET_URL"], flush=True)
subprocess.Popen(["sleep", "600"], start_new_session=True)
sys.exit(3)
"""


async def test_what_it_leaves_is_found_and_ended() -> None:
    """The end is told with the exit code and the last line, and a process in another session is not missed."""
    changes = AwaitedChanges()
    process = TurretProcess((sys.executable, "-c", DAEMON), {"TURRET_URL": "http://x"}, changes)
    await process.start()
    try:
        assert await changes.until(process.has_ended, SECONDS)
        left = process.left()
        assert [one.name() for one in left] == ["sleep"]
        assert "exit code 3" in process.ending
    finally:
        await process.destroy()
    assert not [one for one in left if one.is_running() and one.status() != "zombie"]
    assert list(process.last_lines) == ["a line http://x"]


async def test_a_command_that_is_not_there() -> None:
    """The error names it."""
    process = TurretProcess(("/absent/turret",), {}, AwaitedChanges())
    with pytest.raises(SettingsError, match="cannot start /absent/turret: No such file"):
        await process.start()
    await process.destroy()
