"""`smartmob hosts`: the real command against a running service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smartmob.kernel.runtime import clock
from tests.acceptance.commands import run
from tests.cli.terminal import typed
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

    call.address = address  # type: ignore[attr-defined]  # a function is the shortest caller
    return call


async def test_each_machine_is_listed_with_its_newest_sample(hosts: Any) -> None:
    """Each machine with its newest sample, as a table and as JSON."""
    code, output, errors = await hosts("ls")
    assert (code, errors) == (0, "")
    line = next(line for line in output.splitlines() if line.startswith("wood"))
    assert line.split()[2:] == ["50.0", "%", "2.1", "GB", "100.5", "GB", "-", "-"] or "ago" in line
    assert "(this service)" in output
    code, output, _ = await hosts("ls", "--json")
    assert {host["name"] for host in json.loads(output)} >= {"wood"}


async def test_show_has_minimum_average_and_maximum(hosts: Any) -> None:
    """Minimum, average and maximum of each value that the machine has."""
    code, output, errors = await hosts("show", "wood", "--last", "10m")
    assert (code, errors) == (0, "")
    line = next(line for line in output.splitlines() if line.startswith("CPU"))
    assert line.split()[:7] == ["CPU", "50.0", "%", "50.0", "%", "50.0", "%"]
    assert "Swap" not in output
    code, output, _ = await hosts("show", "wood", "--json")
    assert sum(point["samples"] for point in json.loads(output)["history"]["points"]) == 60


async def test_a_stale_field_is_shown_with_its_age(client: Any, hosts: Any) -> None:
    """The table has the last value and its age; `show` says why, whose limits count, and what is not stored."""
    stale = {"storage": {"value": 1234, "age": 125, "reason": "/data: No such file or directory"}, "swap": {}}
    container = {"memory": 512 * 2**20, "cpus": 1.5}
    data = {
        "time": clock.epoch() + 60,
        "mem": 7,
        "stale": stale,
        "container": container,
        "cpu_percent": 1,
        "load": None,
    }
    async with talking(client) as talk:
        assert (await talk.send(data))["type"] == "DATA_RETURN"
    code, output, _ = await hosts("ls")
    assert code == 0
    assert "1.3 GB (2 min 5 s old)" in output
    code, output, _ = await hosts("show", "wood")
    assert code == 0
    assert "Storage was not measured for 2 min 5 s: /data: No such file or directory\n" in output
    assert "Swap was not measured\n" in output
    assert "Memory and processor load are those of the container, which may use 537 MB of memory and 1.5 proc" in output
    assert "cpu_percent is sent but not stored: there is no such field; did you mean cpu" in output
    code, output, _ = await hosts("ls", "--json")
    latest = next(host for host in json.loads(output) if host["name"] == "wood")["latest"]
    assert (latest["storage"], latest["stale"]["storage"]["value"], latest["ages"]["storage"]) == (None, 1234, 125.0)


async def test_watch_prints_a_line_for_each_update_into_a_pipe(hosts: Any) -> None:
    """A pipe gets a line for each machine and update, a terminal a table with bars."""
    code, output, errors = await hosts("watch", "--times", "2", "--interval", "0.2")
    assert (code, errors) == (0, "")
    assert [line.split("  ")[1] for line in output.splitlines()].count("wood") == 2
    assert "CPU 50.0 %  Memory 2.1 GB" in output
    async with typed("hosts", "watch", "--times", "1", terminal=True, SMARTMOB_SERVER=hosts.address) as command:
        await command.says("██████████··········  50.0 %", "wood")


async def test_invalid_arguments_are_refused_in_one_line(hosts: Any) -> None:
    """The line names the error."""
    for arguments, code, words in (
        (("show", "nobody"), 1, "no machine nobody"),
        (("show", "wood", "--last", "5x"), 2, "expected a duration"),
        (("show",), 2, "missing argument"),
    ):
        found, _, errors = await hosts(*arguments)
        assert found == code
        assert words in errors
