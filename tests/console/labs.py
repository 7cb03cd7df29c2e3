"""Test data for the pages, stored through the routes of the service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from smartmob.kernel.runtime import clock
from tests.experiments.reports import report
from tests.hosts.samples import register, sample, talking
from tests.metrics.samples import context, metric, session
from tests.processes.archives import make_archive

PROGRAM = 'web: printf "\\033[31mred\\033[0m <b>bold</b>\\n"; echo to standard error >&2; exec sleep 600\n'
SLOW = "test_slow"
EXPERIMENT = UUID(int=7)


async def measure(client: Any, runs: int = 8, slower: int = 2) -> None:
    """Store test runs of one suite; in the last `slower` of them one test takes twice as long."""
    assert (await client.post("/contexts/", json=context("c", machine_node="rack7"))).status == 201
    now = datetime.now(UTC)
    for run in range(runs):
        began = now - timedelta(minutes=5 * (runs - run))
        sent = session(f"s{run}", run_date=began.isoformat(), scm_ref=f"{run}commit", description={})
        assert (await client.post("/sessions/", json=sent)).status == 201
        names = [SLOW, *(f"test_{number}" for number in range(8))]
        rows = [
            metric(
                session_h=f"s{run}", context_h="c", item_start_time=began.isoformat(), item=name, item_variant=name,
                item_path="tests.test_it", total_time=0.1 * (1 + 0.01 * ((run * 7 + index) % 3))
                * (2 if name == SLOW and run >= runs - slower else 1),
            )
            for index, name in enumerate(names)
        ]  # fmt: skip
        assert (await client.post("/metrics/", json=rows)).status == 201


async def report_load(client: Any, name: str = "rack7") -> None:
    """Store the samples of a machine for the last ten minutes."""
    ident = await register(client, name)
    now = clock.epoch()
    samples = [sample(now - second, cpu_load=50, mem=2048) for second in range(0, 600, 5)]
    async with talking(client) as talk:
        assert (await talk.ask({"type": "BACKFILL", "samples": samples, "client_id": ident}))["type"] == "BACKFILLED"


async def deploy(client: Any, node: str = "web.0", service: str = "") -> str:
    """Run a program that writes a coloured line; return its slug. `service` is the path of that of a node."""
    archive = make_archive("tar.gz", {"Procfile": PROGRAM})
    async with client.post(f"{service}/upload-archive", data=archive) as response:
        source = (await response.json())["source_url"]
    wanted = {"app": "app", "node": node, "process_type": "web", "source_url": source}
    async with client.post(f"{service}/create-process", json=wanted) as response:
        assert response.status == 201
        return str((await response.json())["slug"])


async def fill(client: Any) -> None:
    """Store some data of each feature."""
    await measure(client)
    await report_load(client)
    await deploy(client)
    async with client.post("/commands/exec", json={"cmd": "echo hello; exit 3"}) as response:
        assert response.status == 200
        await response.read()
    assert (await client.post("/marks", json={"text": "new <b>kernel</b>", "author": "ann"})).status == 201
    found = report(id=EXPERIMENT, started_at=clock.now() - timedelta(minutes=8))
    assert (await client.post("/experiments", data=msgspec.json.encode(found))).status == 201
    rule = {"condition": "silent for 5m", "subjects": ["<i>*"]}
    assert (await client.put("/api/v1/alerts/rules/gone", json=rule)).status == 200
    receiver = {"address": "https://hooks.example.com/secret"}
    assert (await client.put("/api/v1/alerts/receivers/ops", json=receiver)).status == 200
