"""A change of labels, and the connections that tokens for some labels have open."""

from __future__ import annotations

from typing import Any

from aiohttp import WSMsgType

from tests.nodes.conftest import AUTHORIZED, AddNode, Lab


async def test_a_change_of_labels_cuts_open_connections(lab: Lab, add_node: AddNode) -> None:
    """Only those of tokens that need a label which the node has lost."""
    await add_node("rack7")

    async def opened(**fields: Any) -> Any:
        if fields:
            async with lab.client.post("/tokens", json={"role": "control", **fields}, headers=AUTHORIZED) as made:
                shown = {"Authorization": f"Bearer {(await made.json())['token']}"}
        else:
            shown = AUTHORIZED
        console = await lab.client.ws_connect("/api/v1/nodes/rack7/service/commands", headers=shown)
        await console.send_json({"type": "hello", "client": "me", "cwd": "/"})
        assert (await console.receive_json())["type"] == "welcome"
        return console

    gpu, rack, owner = (
        await opened(name="a", only_nodes="gpu"),
        await opened(name="b", only_nodes="rack=7"),
        await opened(),
    )
    change = {"labels": {"rack": "7"}}
    async with lab.client.patch("/api/v1/nodes/rack7", json=change, headers=AUTHORIZED) as answer:
        assert answer.status == 200
    assert (await gpu.receive()).type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR, WSMsgType.CLOSING)
    for console in (rack, owner):
        await console.send_json({"type": "ping", "n": 1})
        assert (await console.receive_json())["type"] == "pong"
        await console.close()
