"""The programs and jobs of a service on the pages of another one on the database, and their use through it."""

from __future__ import annotations

from typing import Any

from tests.nodes.conftest import AUTHORIZED, Lab, _lab, _second_lab
from tests.processes.archives import make_archive
from tests.waiting import until

__all__ = ["_lab", "_second_lab"]


async def test_what_runs_on_a_service_is_seen_and_used_through_another_one(lab: Lab, second_lab: Lab) -> None:
    """Its programs with their console, its jobs with their output; both have the role of the client's token."""
    archive = make_archive("tar.gz", {"Procfile": "web: echo hello; exec sleep 1000\n"})
    async with lab.client.post("/upload-archive", headers=AUTHORIZED, data=archive) as answer:
        source = (await answer.json())["source_url"]
    wanted = {"app": "app", "node": "web.0", "process_type": "web", "source_url": source}
    async with lab.client.post("/create-process", headers=AUTHORIZED, json=wanted) as answer:
        assert answer.status == 201, await answer.text()
    call = await lab.client.post("/commands/exec", headers=AUTHORIZED, json=["echo there; exec sleep 1000"])

    async def seen() -> Any:
        async with second_lab.client.ws_connect("/console/live", headers=AUTHORIZED) as live:
            frame = await live.receive_json()
        [service] = frame["services"]
        runs = [program["state"] for program in service["activity"]["programs"]] == ["running"]
        return service if runs and service["activity"]["jobs"] else None

    service = await until(seen)
    assert (service["name"][0], service["connected"], service["activity"]["programs_in_all"]) == ("@", True, 1)
    [job] = service["activity"]["jobs"]
    base = f"/api/v1/nodes/{service['name']}/service"
    async with second_lab.client.ws_connect(f"{base}/attach-console/app.web.0?tail=9", headers=AUTHORIZED) as console:
        assert await console.receive_str() == "hello"

    async def written() -> Any:
        return (await _text(second_lab, f"/jobs/{job['id']}/output")) == "there\n"

    await until(written)
    async with second_lab.client.get(
        f"/console/commands/{job['id']}", headers=AUTHORIZED, allow_redirects=False
    ) as answer:
        assert answer.headers["Location"] == f"/console/hosts/%40{service['name'][1:]}/jobs/{job['id']}"
    for page in ("", "/processes/app.web.0", f"/jobs/{job['id']}"):
        assert "main" in await _text(second_lab, f"/console/hosts/{service['name']}{page}")
    async with second_lab.client.post("/tokens", headers=AUTHORIZED, json={"name": "wall", "role": "read"}) as answer:
        reading = {"Authorization": f"Bearer {(await answer.json())['token']}"}
    for headers, status in ((reading, 403), (AUTHORIZED, 200)):
        async with second_lab.client.post(f"{base}/delete-process/app.web.0", headers=headers, json={}) as answer:
            assert answer.status == status
    limited = {"name": "some", "role": "control", "only_nodes": "gpu"}
    async with second_lab.client.post("/tokens", headers=AUTHORIZED, json=limited) as answer:
        some = {"Authorization": f"Bearer {(await answer.json())['token']}"}
    async with second_lab.client.get(f"{base}/ready", headers=some) as answer:
        assert answer.status == 404  # a token for some nodes is for no service
    async with second_lab.client.get("/api/v1/nodes/@none/service/ready", headers=AUTHORIZED) as answer:
        assert answer.status == 404
    call.close()


async def _text(lab: Lab, path: str) -> str:
    async with lab.client.get(path, headers=AUTHORIZED) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()
