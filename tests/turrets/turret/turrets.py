"""Turrets for tests, in this process: a script in a folder, a configuration, and the running turret as a task."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from smartmob.turrets.turret import configuration
from smartmob.turrets.turret.package import Package
from smartmob.turrets.turret.session import TurretSession
from smartmob.turrets.turret.sockets import Keys

COROUTINE = """
import asyncio
from oct_turrets.base import BaseTransaction

class Transaction(BaseTransaction):
    async def run(self):
        await asyncio.sleep(0.005)
"""

THREAD = """
import time
from oct_turrets.base import BaseTransaction
from oct_turrets.tools import CustomTimer

class Transaction(BaseTransaction):
    def run(self):
        with CustomTimer(self, "part"):
            time.sleep(0.005)
"""


def package(folder: Path, ports: tuple[int, int], script: str = COROUTINE, **settings: Any) -> Package:
    """Return the package of a turret for the headquarters at these ports."""
    path = folder / "v_user.py"
    path.write_text(textwrap.dedent(script))
    given = {
        **{"name": "n", "script": "v_user.py", "cannons": 3, "rampup": 0, "hq_address": "127.0.0.1"},
        **{"hq_publisher": ports[0], "hq_rc": ports[1]},
        **settings,
    }
    return Package(given, configuration.parse(given), path, (folder,))


class RunningTurret:
    """A running turret, and the messages that it showed."""

    def __init__(self, made: Package, keys: Keys | None = None) -> None:
        self.messages: list[str] = []
        self.turret = TurretSession(made, keys, self.messages.append)
        self.task = asyncio.create_task(self.turret.run())

    async def end(self) -> int:
        """End the turret, and return its exit code."""
        if not self.task.done():
            self.turret.quit()
        return await self.task


@asynccontextmanager
async def turret(made: Package, keys: Keys | None = None) -> AsyncIterator[RunningTurret]:
    """Run a turret, and end it at the end of the block."""
    running = RunningTurret(made, keys)
    try:
        yield running
    finally:
        await running.end()
