"""The hint that names the machine of a program or job; programs of nodes are in test_on_nodes."""

from __future__ import annotations

from smartmob.cli.elsewhere import hint
from smartmob.cli.on_nodes import SHARED, Shared
from smartmob.client.http import RestClient


async def test_a_program_of_the_service_itself_is_found(rest: RestClient) -> None:
    """A command that was sent to a node says so; one for several machines does not ask for each of them."""
    source = {"process_type": "web", "source_url": "http://127.0.0.1:1/x"}
    await rest.post("/create-process", {"app": "a", "node": "web.0", **source})
    on_node = rest.for_service(f"{rest.url}/api/v1/nodes/rack7/service")
    for name in ("a", "a.web.0"):
        ending = await hint(on_node, program=name)
        assert ending == f"; it is on the service itself: `smartmob {name} --server {rest.url}`"
    assert await hint(on_node, program="b") == await hint(on_node, job=7) == await hint(rest, program="a") == ""
    token = SHARED.set(Shared())
    assert await hint(on_node, program="a") == ""
    SHARED.reset(token)
