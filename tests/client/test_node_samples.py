"""The load of a node, reported with the account that its service has made."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from smartmob.client.node_key import NodeKey
from smartmob.client.node_samples import NodeSamples
from smartmob.client.reporter import Clocks
from smartmob.kernel.runtime import clock
from tests.waiting import until


async def test_a_node_reports_as_soon_as_its_account_is_known(client: Any, tmp_path: Path) -> None:
    """A key without a host changes nothing; one that the service refuses waits for the next."""
    url, said = f"http://127.0.0.1:{client.server.port}", list[str]()
    samples = NodeSamples(tmp_path / "samples", None, Clocks(clock.epoch, clock.steady), said.append)
    running = asyncio.ensure_future(samples.run(0.1))
    good = NodeKey(url, "rack7", "smn_secret", "rack7")
    async with client.post("/client", json={"username": "rack7", "password": good.host_password}) as answer:
        assert answer.status == 200
    samples.use(NodeKey(url, "rack7", "smn_secret"))
    samples.use(NodeKey(url, "rack7", "smn_wrong", "rack7"))
    await asyncio.sleep(0)
    samples.use(good)

    async def latest() -> Any:
        async with client.get("/hosts/rack7") as answer:
            return (await answer.json()).get("latest")

    await until(latest)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert any("reporting to" in text for text in said)
