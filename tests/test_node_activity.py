"""The programs and running jobs of a machine, as they are reported to its service, and as that one shows them."""

from __future__ import annotations

from typing import Any

import aiohttp

from tests.nodes.conftest import AUTHORIZED, AddNode, Lab, _add_node, _lab, _second_lab
from tests.processes.archives import make_archive
from tests.waiting import until

__all__ = ["_add_node", "_lab", "_second_lab"]


async def _live(lab: Lab) -> Any:
    """Yield the frames of the console."""
    async with lab.client.ws_connect("/console/live", headers=AUTHORIZED) as live:
        async for message in live:
            yield message.json()


async def test_changes_of_programs_and_jobs_reach_the_pages_of_each_service(
    lab: Lab, second_lab: Lab, add_node: AddNode
) -> None:
    """The frames of both services have them, and their news change, though one service holds the connection."""
    url, own = await add_node("rack7"), {"Authorization": "Bearer of the node"}
    async with aiohttp.ClientSession(headers=own) as session:
        archive = make_archive("tar.gz", {"Procfile": "web: exec sleep 1000\n"})
        async with session.post(f"{url}/upload-archive", data=archive) as answer:
            source = (await answer.json())["source_url"]
        wanted = {"app": "app", "node": "web.0", "process_type": "web", "source_url": source}
        async with session.post(f"{url}/create-process", json=wanted) as answer:
            assert answer.status == 201, await answer.text()
        for each in (lab, second_lab):
            frames, numbers = _live(each), set()
            async for frame in frames:
                numbers.add(frame["news"])
                [node] = frame["nodes"]
                programs = node["activity"]["programs"]
                if programs and programs[0]["state"] == "running":
                    break
            assert (node["name"], node["connected"], node["labels"]) == ("rack7", True, {"gpu": "", "rack": "7"})
            assert programs[0]["slug"] == "app.web.0" and programs[0]["pid"]
            assert node["activity"]["programs_in_all"] == 1
            if each is lab:
                await frames.aclose()
        call = await session.post(f"{url}/commands/exec", json=["sleep 1000"])
        before = frame["news"]
        async for frame in frames:
            if frame["nodes"][0]["activity"]["jobs"]:
                break
        [job] = frame["nodes"][0]["activity"]["jobs"]
        assert job["line"] == "sleep 1000"
        assert frame["news"] != before
        async with session.post(f"{url}/commands/kill", json=[job["id"]]) as answer:
            assert answer.status == 200
        async for frame in frames:
            if not frame["nodes"][0]["activity"]["jobs"]:
                break
        await frames.aclose()
        call.close()

        async def listed() -> Any:
            async with second_lab.client.get("/console/data/node-jobs", headers=AUTHORIZED) as answer:
                jobs = (await answer.json())["jobs"]
                return jobs and jobs[0]["record"]["ended_at"] and jobs

        assert [(each["node"], each["job_id"]) for each in await until(listed)] == [("rack7", job["id"])]

    async def lanes(query: str) -> set[str]:
        return {span["lane"] for span in (await second_lab.get(f"/console/data/timeline{query}"))["spans"]}

    assert await lanes("?machines=rack7,none") == {"process rack7: app.web.0", "jobs rack7"}
    assert await lanes("") == set()
