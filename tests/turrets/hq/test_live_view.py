"""Those who watch: a slow one gets the latest, and everybody is let go at the end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson

from smartmob.app import build
from smartmob.settings import Settings
from tests.conftest import running
from tests.turrets.conftest import QUICK
from tests.turrets.runs import ask
from tests.waiting import SECONDS


async def test_each_viewer_gets_all_frames(lab: Any) -> None:
    """Each of twenty connections gets a frame a second."""
    run = await ask(lab)
    path = f"/turret-runs/{run['id']}/live"

    async def watch() -> list[str]:
        async with lab.ws_connect(path) as socket:
            return [orjson.loads((await socket.receive(timeout=SECONDS)).data)["state"] for _ in range(2)]

    assert await asyncio.gather(*(watch() for _ in range(20))) == [["waiting", "waiting"]] * 20


async def test_viewers_do_not_delay_the_stop_of_the_service(settings: Settings) -> None:
    """Their connections are closed in the regular way."""
    service = build(replace(settings, turrets=QUICK))
    async with running(service) as client:
        run = await ask(client)
        async with client.ws_connect(f"/turret-runs/{run['id']}/live") as socket:
            await socket.receive(timeout=SECONDS)
            service.announce_stop()
            await service.drain(20.0)
            async with asyncio.timeout(SECONDS):
                async for _ in socket:
                    pass
            assert socket.close_code == 1000
