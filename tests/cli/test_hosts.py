"""`smartmob hosts`: the real command against a running service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smartmob.kernel.runtime import clock
from tests.acceptance.commands import run
from tests.hosts.samples import register, sample, talking

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(name="hosts")
async def _hosts(client: Any) -> Any:
    """Return the caller of `smartmob hosts` with the address of a service in which `wood` has sent samples."""
    ident = await register(client)
    now = clock.epoch()
    samples = [sample(now - second, cpu_load=50, mem=2048) for second in range(60)]
    async with talking(client) as talk:
        assert (await talk.ask({"type": "BACKFILL", "samples": samples, "client_id": ident}))["type"] == "BACKFILLED"
    address = f"http://127.0.0.1:{client.server.port}"

    async def call(*arguments: str) -> tuple[int, str, str]:
        return await run("hosts", *arguments, SMARTMOB_SERVER=address)

    return call


async def test_ls(hosts: Any) -> None:
    """Each machine with its newest sample, as a table and as JSON."""
    code, output, errors = await hosts("ls")
    assert (code, errors) == (0, "")
    line = next(line for line in output.splitlines() if line.startswith("wood"))
    assert line.split()[2:] == ["50.0", "%", "2,048", "MB", "95,888", "MB", "-", "-"] or "ago" in line
    assert "(this service)" in output
    code, output, _ = await hosts("ls", "--json")
    assert {host["name"] for host in json.loads(output)} >= {"wood"}


async def test_show(hosts: Any) -> None:
    """Minimum, average and maximum of each value that the machine has."""
    code, output, errors = await hosts("show", "wood", "--last", "10m")
    assert (code, errors) == (0, "")
    line = next(line for line in output.splitlines() if line.startswith("CPU"))
    assert line.split()[:7] == ["CPU", "50.0", "%", "50.0", "%", "50.0", "%"]
    assert "Swap" not in output
    code, output, _ = await hosts("show", "wood", "--json")
    assert sum(point["samples"] for point in json.loads(output)["history"]["points"]) == 60


async def test_watch(hosts: Any) -> None:
    """The table with bars, once."""
    code, output, errors = await hosts("watch", "--times", "1")
    assert (code, errors) == (0, "")
    assert "██████████··········  50.0 %" in output


async def test_what_does_not_fit(hosts: Any) -> None:
    """It is said in one line what is wrong."""
    for arguments, code, words in (
        (("show", "nobody"), 3, "no machine nobody"),
        (("show", "wood", "--last", "5x"), 1, "expected a duration"),
        (("show",), 2, "Missing argument"),
    ):
        found, _, errors = await hosts(*arguments)
        assert found == code
        assert words in errors
