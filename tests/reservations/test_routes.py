"""Reservations over HTTP, by tokens, on the service's own machine and on a node; each door refuses work of others."""

from __future__ import annotations

from typing import Any

from smartmob.client.command_client import CommandClient
from smartmob.client.failures import ClientError
from tests.nodes.conftest import AUTHORIZED, AddNode, Lab, _add_node, _lab, _second_lab  # noqa: F401  # fixtures
from tests.waiting import until

_PATH = "/api/v1/reservations"


async def _token(lab: Lab, name: str, role: str = "control", **fields: Any) -> str:
    document = {"name": name, "role": role, **fields}
    async with lab.client.post("/tokens", headers=AUTHORIZED, json=document) as answer:
        return str((await answer.json())["token"])


async def _send(lab: Lab, method: str, path: str, token: str, **options: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
    async with lab.client.request(method, path, headers=headers, **options) as answer:
        return answer.status, await answer.json() if answer.status != 204 else None


async def _runs(lab: Lab, token: str, base: str = "") -> bool:
    """Return whether a job could run, or was refused as reserved."""
    async with CommandClient(f"{lab.url}{base}", token) as client:
        try:
            await client.run("exec", ["true"], complete=True, raise_error=True)
        except (ClientError, RuntimeError) as error:
            assert "is reserved by ann@desk until" in str(error)
            return False
        return True


async def test_work_of_others_is_refused_at_each_door(lab: Lab, second_lab: Lab, add_node: AddNode) -> None:
    """Programs, jobs and load tests, here and on a node; the holder goes on, and another service knows it as well."""
    await add_node("rack7")
    ann, bob, reader = await _token(lab, "ann"), await _token(lab, "bob"), await _token(lab, "carl", "read")
    limited = await _token(lab, "dora", only_nodes="rack=7")
    base = "/api/v1/nodes/rack7/service"
    for node in ("", "rack7"):
        wanted = {"node": node, "seconds": 600, "holder": "ann@desk", "reason": "profiling"}
        assert (await _send(lab, "POST", _PATH, reader, json=wanted))[0] == 403
        status, made = await _send(lab, "POST", _PATH, ann, json=wanted)
        assert (status, made["token"], made["reason"]) == (201, "ann", "profiling")
        place = f"{base if node else ''}"
        for path in ("/create-process", "/restart-process/x", "/turret-runs"):
            status, problem = await _send(lab, "POST", f"{place}{path}", bob, json={})
            assert (status, "is reserved by ann@desk until" in problem["detail"]) == (409, True), path
            assert (await _send(lab, "POST", f"{place}{path}", ann, json={}))[0] in (400, 404, 409, 422)
        assert (await _send(lab, "POST", f"{place}/commands/exec", bob, json={"cmd": "true"}))[0] == 409
        assert not await _runs(lab, bob, place)
        assert await _runs(lab, ann, place)
        shown = {"X-Smartmob-Reservation": made["id"]}
        assert (await _send(lab, "POST", f"{place}/create-process", bob, json={}, headers=shown))[0] in (400, 422)
        assert (await _send(lab, "GET", f"{place}/jobs", bob))[0] == 200
    _, found = await _send(lab, "GET", _PATH, reader)
    assert [(each["node"], each["mine"]) for each in found["reservations"]] == [("", False), ("rack7", False)]
    assert "id" not in found["reservations"][0]
    assert (await _send(lab, "POST", _PATH, limited, json={"seconds": 1, "holder": "dora"}))[0] == 403
    assert (await _send(lab, "DELETE", _PATH, limited, params={"node": "rack7", "force": "true"}))[0] == 403
    # The other service on the database refuses it too, and reads the release.
    path = f"{base}/create-process"

    async def refused() -> bool:
        return "reserved" in (await _send(second_lab, "POST", path, bob, json={}))[1]["detail"]

    assert await until(refused)
    assert (await _send(lab, "DELETE", _PATH, bob, params={"node": "rack7"}))[0] == 409
    assert (await _send(lab, "DELETE", _PATH, ann, params={"node": "rack7"}))[0] == 204
    assert await _runs(lab, bob, base)
    audited = await lab.get("/api/v1/audit")
    targets = {each["target"] for each in audited["events"] if each["action"] in ("reserve", "release")}
    assert {"this machine 600 s profiling", "rack7 600 s profiling", "rack7", "rack7 by force"} <= targets
