"""`smartmob audit`: which client has changed what, where and when, also on nodes."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from tests.acceptance.commands import run
from tests.nodes.conftest import TOKEN, AddNode, Lab, _add_node, _lab  # noqa: F401 - fixtures
from tests.waiting import until


async def test_commands_on_a_node_are_in_the_audit_log_of_the_lab(lab: Lab, add_node: AddNode) -> None:
    """The command with its words and the node, as a table and as JSON, and that the machine has joined."""
    await add_node("rack7")
    on = partial(run, SMARTMOB_SERVER=lab.url, SMARTMOB_TOKEN=TOKEN)
    assert (await on("exec", "--on", "rack7", "--", "echo", "hello"))[0] == 0

    async def recorded() -> Any:
        code, output, _ = await on("audit", "--since", "1h", "--json")
        assert code == 0
        found: list[dict[str, Any]] = json.loads(output)
        return found if len(found) >= 2 else None

    rows = [
        (each["who"], each["node"], each["action"], each["target"], each["outcome"]) for each in await until(recorded)
    ]
    assert rows == [
        ("(owner)", "rack7", "exec", "echo hello", "passed on"),
        ("(owner)", None, "join", "rack7", "201"),
    ]
    code, output, _ = await on("audit", "--node", "rack7")
    assert code == 0
    assert [line.split()[-6:] for line in output.splitlines()[2:]] == [
        ["rack7", "exec", "echo", "hello", "passed", "on"]
    ]  # fmt: skip
