"""A node that has joined a service: it is listed, and the service passes requests and WebSockets on to it."""

from __future__ import annotations

from aiohttp import WSMsgType

from tests.nodes.conftest import AUTHORIZED, AddNode, Lab


async def test_a_node_is_listed_with_its_labels_and_facts(lab: Lab, add_node: AddNode) -> None:
    """It has dialled out, with a key of its own, and measured its clock."""
    await add_node("rack7")
    [node] = (await lab.get("/api/v1/nodes"))["nodes"]
    assert node["labels"] == {"gpu": "", "rack": "7"}
    assert node["facts"]["cpus"] > 0
    assert abs(node["facts"]["clock_offset"]) <= node["facts"]["clock_delay"]


async def test_requests_reach_the_service_of_a_node(lab: Lab, add_node: AddNode) -> None:
    """Answers, errors, and the programs and hosts of the node, not of the lab."""
    await add_node("rack7")
    base = "/api/v1/nodes/rack7/service"
    assert await lab.get(f"{base}/ready")
    assert await lab.get(f"{base}/api/v1/processes") == {"processes": []}
    async with lab.client.get(f"{base}/process-status/none", headers=AUTHORIZED) as answer:
        assert answer.status == 404
        assert "there is no process none" in (await answer.json())["detail"]
    async with lab.client.post(f"{base}/marks", headers=AUTHORIZED, json={"text": "there"}) as answer:
        assert answer.status == 201
        assert answer.headers["Location"].startswith(f"{base}/marks/")
    assert (await lab.get("/marks"))["marks"] == []
    assert [mark["text"] for mark in (await lab.get(f"{base}/marks"))["marks"]] == ["there"]


async def test_websockets_reach_the_service_of_a_node(lab: Lab, add_node: AddNode) -> None:
    """The messages pass in both directions."""
    await add_node("rack7")
    async with lab.client.ws_connect("/api/v1/nodes/rack7/service/echo", headers=AUTHORIZED) as socket:
        await socket.send_json({"type": "HELLO"})
        message = await socket.receive()
        assert message.type is WSMsgType.TEXT


async def test_a_node_checks_the_role_of_a_token(lab: Lab, add_node: AddNode) -> None:
    """A token that may only read changes nothing on a node, and no header of a client passes for the link's secret."""
    await add_node("rack7")
    base = "/api/v1/nodes/rack7/service"
    made = {"name": "wall", "role": "read"}
    async with lab.client.post("/tokens", headers=AUTHORIZED, json=made) as answer:
        reading = {"Authorization": f"Bearer {(await answer.json())['token']}"}
    async with lab.client.get(f"{base}/marks", headers=reading) as answer:
        assert answer.status == 200
    async with lab.client.post(f"{base}/marks", headers=reading, json={"text": "no"}) as answer:
        assert (answer.status, "has the role read" in (await answer.json())["detail"]) == (403, True)
    async with lab.client.get(f"{base}/tokens", headers=reading) as answer:
        assert answer.status == 403
    for forged in ("Node x control", "Node  control", "Node x", "Node"):
        async with lab.client.get("/marks", headers={"Authorization": forged}) as answer:
            assert answer.status == 401
