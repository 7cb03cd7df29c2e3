"""Makes the stored database of a release: starts that release, puts data into every feature, and dumps its tables.

    python -m tests.upgrade.make 1.2.3 /path/to/the/release/bin/smartmob

writes `1.2.3.sql` (plain SQL, for psql) and `1.2.3.json` (what the release answered) beside this file. It is done once
for each release, by hand, and what it wrote is never changed.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from smartmob.kernel.db import migrations
from smartmob.kernel.maintenance import postgres_tools
from smartmob.kernel.maintenance.database_target import reach
from smartmob.settings import Settings
from smartmob.stored_features import MIGRATED_FEATURES
from tests.acceptance.commands import RunningCommand, environment, kill_postgres
from tests.hosts.samples import CLIENT_ID, NAME, PASSWORD, sample
from tests.metrics.samples import context, metric, session
from tests.processes.archives import make_archive
from tests.waiting import until

FOLDER = Path(__file__).parent
MOMENT = 1_795_600_000.0
"""The time of the samples (2026-11-25), in seconds since 1970."""

SHOWN = (
    *("/contexts/", "/sessions/", "/metrics/", "/runs/", "/marks", "/turret-runs", "/jobs", "/process-events"),
    f"/client/{NAME}/time/report",
)


async def fetch(url: str) -> dict[str, Any]:
    """Return the answers of a service to the requests of `SHOWN`."""
    found = {}
    async with aiohttp.ClientSession(headers={"Authorization": CLIENT_ID}) as client:
        for path in SHOWN:
            async with client.get(url + path) as answer:
                assert answer.status == 200, (path, await answer.text())
                found[path] = await answer.json(content_type=None)
    for job in found["/jobs"]["jobs"]:
        # How much of the output is kept is told by the data directory.
        del job["kept_from"]
    return found


async def _fill(url: str) -> None:
    async with aiohttp.ClientSession() as client:

        async def post(path: str, document: Any = None, data: Any = None, **headers: str) -> Any:
            async with client.post(url + path, json=document, data=data, headers=headers) as answer:
                assert answer.status in (200, 201, 202), (path, await answer.text())
                text = await answer.text()
            return orjson.loads(text) if text.count("\n") < 2 else text

        await post("/contexts/", context())
        await post("/sessions/", session())
        for number in range(5):
            await post("/metrics/", metric(item_variant=f"test_sum[{number}]", total_time=1.0 + number))
        await post("/marks", {"text": "a new kernel", "at": "2026-11-25T09:30:00Z"})
        await post("/client", {"username": NAME, "password": PASSWORD})
        for second in range(5):
            await post(f"/client/{NAME}", sample(MOMENT + second), Authorization=CLIENT_ID)
        uploaded = await post("/upload-archive", data=make_archive("tar.gz", {"Procfile": "web: exec sleep 600\n"}))
        wanted = {"app": "app", "node": "web.0", "process_type": "web", "source_url": uploaded["source_url"]}
        await post("/create-process", wanted | {"env": {"MODE": "lab"}})
        await post("/commands/exec", {"cmd": "echo done"})
        test = await post("/turret-runs", {"run_time": 1, "name": "pages", "turrets": []})
        await post(f"/turret-runs/{test['id']}/stop", {})
        await until(lambda: _at_rest(url))
        await post("/delete-process/app.web.0", {})


async def _at_rest(url: str) -> bool:
    found = await fetch(url)
    started = any(event["kind"] == "started" for event in found["/process-events"]["events"])
    return started and found["/turret-runs"]["runs"][0]["state"] in ("stopped", "failed")


async def make(version: str, program: list[str]) -> None:
    """Write both files of a release."""
    with tempfile.TemporaryDirectory(prefix="smartmob-upgrade-") as name:
        Path(name).chmod(0o711)
        data = Path(name) / "data"
        ports = ("--hq-publish-port", "0", "--hq-rc-port", "0", "--hq-external-port", "0")
        process = await asyncio.create_subprocess_exec(
            *(*program, "serve", "--log-format", "json", "--port", "0", "--data-dir", data, "--hq", *ports),
            *("--hosts-name", "rack7"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(),
            cwd="/",
        )
        command = RunningCommand(process)
        try:
            await command.event("bind", transport="tcp")
            await _fill(command.url)
            answers = await fetch(command.url)
        finally:
            await command.stop()
            kill_postgres(data)
        (FOLDER / f"{version}.json").write_bytes(orjson.dumps(answers, option=orjson.OPT_INDENT_2) + b"\n")
        (FOLDER / f"{version}.sql").write_text(await _dumped(data))


async def _dumped(data: Path) -> str:
    async with reach(Settings(data_dir=data), migrations.collect(MIGRATED_FEATURES)) as target:
        tools = postgres_tools.find(target)
        options = ("--inserts", "--no-owner", "--no-privileges", "--rows-per-insert=100", "--no-comments")
        async with tools.run("pg_dump", *options, "--dbname", tools.address) as process:
            assert process.stdout is not None
            text = (await process.stdout.read()).decode()
    # The samples of the machine itself, one a second, are of no use.
    return re.sub(
        r"^INSERT INTO public\.host_samples_\d+ VALUES\n(?:.*\n)*?.*;\n", _without_own, text, flags=re.MULTILINE
    )


def _without_own(statement: re.Match[str]) -> str:
    head, *rows = statement[0].rstrip(";\n").split("\n")
    kept = [row.rstrip(",") for row in rows if "('rack7'," not in row]
    return head + "\n" + ",\n".join(kept) + ";\n" if kept else ""


if __name__ == "__main__":
    asyncio.run(make(sys.argv[1], sys.argv[2:]))
