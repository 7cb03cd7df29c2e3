"""`smartmob nodes`: the real command against a running service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.commands import run

pytestmark = pytest.mark.timeout(900)


async def test_list_show_label_drain_and_remove(client: Any) -> None:
    """A node that has joined and is away is listed until it is removed."""
    server = {"SMARTMOB_SERVER": f"http://127.0.0.1:{client.server.port}"}
    code, output, errors = await run("nodes", "ls", **server)
    assert (code, output) == (0, "")
    assert "No machine has joined" in errors
    async with client.post("/api/v1/nodes/join", json={"name": "rack7", "labels": {"gpu": "", "rack": "7"}}) as answer:
        assert answer.status == 201
    code, output, _ = await run("nodes", "ls", **server)
    assert code == 0
    assert all(text in output for text in ("rack7", "away", "gpu, rack=7", "never"))
    code, _, errors = await run("nodes", "label", "rack7", "rack=8", "gpu-", "new", **server)
    assert (code, errors.strip()) == (0, "The labels of rack7 are new, rack=8.")
    code, _, errors = await run("nodes", "label", "rack7", "gpu-", **server)
    assert code == 1
    assert "the node rack7 has no label gpu" in errors
    assert (await run("nodes", "drain", "rack7", **server))[0] == 0
    code, output, _ = await run("nodes", "ls", "--json", **server)
    [node] = json.loads(output)
    assert (node["drained"], node["labels"]) == (True, {"rack": "8", "new": ""})
    assert "key" not in output
    assert (await run("nodes", "drain", "rack7", "--undo", **server))[0] == 0
    code, output, _ = await run("nodes", "show", "rack7", **server)
    assert code == 0
    assert "away" in output
    assert (await run("nodes", "rm", "rack7", **server))[0] == 0
    code, _, errors = await run("nodes", "show", "rack7", **server)
    assert code == 1
    assert "there is no node rack7" in errors
