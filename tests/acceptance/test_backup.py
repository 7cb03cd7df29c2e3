"""A backup of a service with data in every feature, made under load and restored elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.commands import RunningCommand, run, serving
from tests.acceptance.load import stored, under_load
from tests.hosts.samples import CLIENT_ID, NAME, PASSWORD, sample
from tests.metrics.samples import context, session
from tests.processes.archives import make_archive
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

HQ = ("--hq", "--hq-publish-port", "0", "--hq-rc-port", "0", "--hq-external-port", "0")
SHOWN = (
    *("/contexts/", "/sessions/", "/marks", "/hosts/wood", "/turret-runs", "/jobs"),
    f"/client/{NAME}/time/report",
)
EVENTS = "/process-events?slug=app.web.0"


async def _post(service: RunningCommand, path: str, document: Any, **headers: str) -> Any:
    async with (
        aiohttp.ClientSession() as client,
        client.post(service.url + path, json=document, headers=headers) as answer,
    ):
        assert answer.status in (200, 201, 202), await answer.text()
        return await answer.json(content_type=None)


async def _get(service: RunningCommand, path: str) -> Any:
    headers = {"Authorization": CLIENT_ID}
    async with aiohttp.ClientSession(headers=headers) as client, client.get(service.url + path) as answer:
        assert answer.status == 200, (path, await answer.text())
        return await answer.json(content_type=None)


async def _shown(service: RunningCommand) -> dict[str, Any]:
    """Return the documents of the paths, without the ages of figures, which grow."""
    shown = {path: await _get(service, path) for path in (*SHOWN, EVENTS)}
    latest = shown["/hosts/wood"]["latest"]
    assert latest.pop("age") >= 0
    assert set(latest.pop("ages")) < set(latest)
    return shown


async def _fill(service: RunningCommand) -> None:
    """Put data into every feature, and wait until all work has ended."""
    await _post(service, "/contexts/", context())
    await _post(service, "/sessions/", session())
    await _post(service, "/marks", {"text": "a new kernel"})
    await _post(service, "/client", {"username": NAME, "password": PASSWORD})
    await _post(service, f"/client/{NAME}", sample(), Authorization=CLIENT_ID)
    archive = make_archive("tar.gz", {"Procfile": "web: exec sleep 600\n"})
    async with aiohttp.ClientSession() as client:
        async with client.post(f"{service.url}/upload-archive", data=archive) as answer:
            source = (await answer.json())["source_url"]
        wanted = {"app": "app", "node": "web.0", "process_type": "web", "source_url": source}
        await _post(service, "/create-process", wanted)
        async with client.post(f"{service.url}/commands/exec", json={"cmd": "echo done"}) as answer:
            await answer.read()
    test = await _post(service, "/turret-runs", {"run_time": 1, "turrets": []})
    await _post(service, f"/turret-runs/{test['id']}/stop", {})

    async def at_rest() -> bool:
        events = (await _get(service, "/process-events?slug=app.web.0"))["events"]
        runs = (await _get(service, "/turret-runs"))["runs"]
        return events[-1:] != [] and events[-1]["kind"] == "started" and runs[0]["state"] in ("stopped", "failed")

    await until(at_rest)


async def test_a_backup_made_under_load_is_restored_into_another_data_directory(reachable_path: Path) -> None:
    """It has all data that was acknowledged before, and the restored service answers the same."""
    first, second, file = (reachable_path / name for name in ("first", "second", "backup.dump"))
    async with serving(first, *HQ) as service:
        await _fill(service)
        async with under_load(service.url, senders=4) as load:
            await load.further(200)
            before = list(load.acknowledged)
            code, output, errors = await run("db", "dump", file, "--data-dir", first, "--json")
            assert code == 0, errors
            await load.further(50)
            assert load.refused == []
        shown = await _shown(service)
        status = json.loads((await run("db", "status", "--data-dir", first, "--json"))[1])
        assert status["backup"]["sha256"] == json.loads(output)["sha256"]
        assert status["serving"]
    for folder in ("commands", "processes"):
        shutil.copytree(first / folder, second / folder, symlinks=True)
    code, _, errors = await run("db", "restore", file, "--data-dir", second)
    assert code == 0, errors
    assert "restored" in errors
    async with serving(second, *HQ, "--no-restore") as service:
        there = await stored(service.url)
        assert set(before) <= set(there) <= set(load.acknowledged)
        assert len(there) == len(set(there))
        again = await _shown(service)
        assert {path: again[path] for path in SHOWN} == {path: shown[path] for path in SHOWN}
        old = shown[EVENTS]["events"]
        assert again[EVENTS]["events"][: len(old)] == old
        job = again["/jobs"]["jobs"][0]
        async with aiohttp.ClientSession() as client, client.get(f"{service.url}/jobs/{job['id']}/output") as answer:
            assert await answer.read() == b"done\n"
        assert [process["slug"] for process in (await _get(service, "/list-processes"))["processes"]] == ["app.web.0"]
        code, _, errors = await run("db", "restore", file, "--data-dir", second, "--force")
        assert (code, "stop it first" in errors) == (1, True)
