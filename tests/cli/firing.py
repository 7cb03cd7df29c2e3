"""A project, the command `smartmob` for a headquarters, and a turret that sends ten results."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import run
from tests.turrets.conftest import Recruit


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    """Return a project that fires for three seconds: time enough for the turret on a busy machine."""
    folder = tmp_path / "project"
    (folder / "test_scripts").mkdir(parents=True)
    (folder / "test_scripts" / "v_user.py").write_text("pass\n")
    (folder / "config.json").write_text(json.dumps({"run_time": 3, "name": "night", "turrets": []}))
    return folder


@pytest.fixture(name="smartmob")
async def _smartmob(lab: Any) -> Any:
    """Return the caller of `smartmob` with the address of the headquarters: exit code, output, errors."""
    address = f"http://127.0.0.1:{lab.server.port}"

    async def call(*arguments: str | Path) -> tuple[int, str, str]:
        return await run(*arguments, SMARTMOB_SERVER=address)

    return call


async def fire_ten(lab: Any, recruit: Recruit, smartmob: Any, *arguments: str | Path) -> tuple[int, str, str]:
    """Return how `fire` ended, under which a turret sent ten results, one of them an error."""
    turret = await recruit(lab)

    async def shoot() -> None:
        await turret.until_told("start")
        await turret.fire(*({"scriptrun_time": 0.1} for _ in range(9)), {"scriptrun_time": 0.4, "error": "boom"})

    shooting = asyncio.create_task(shoot())
    ended: tuple[int, str, str] = await smartmob("fire", *arguments)
    await shooting
    return ended
