"""Three nodes as processes of their own, and a lab that is killed under load."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import free_ports
from tests.acceptance.commands import PROGRAMS, environment, run, serving
from tests.acceptance.namespaces import Network, network
from tests.acceptance.test_fire import _get, _unpacked, hq_ports
from tests.certificates import Authority, Files
from tests.cli.test_join import Joined, joined
from tests.client.servers import wire_to
from tests.interop.target import target
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

NAMES = ("rack1", "rack2", "rack3")
LABELS = ("--label", "gpu", "--label", "load")
PAGES = Path(__file__).parents[2] / "docs" / "howto"


@asynccontextmanager
async def _three_nodes(url: str, folder: Path, net: Network) -> AsyncIterator[dict[str, Joined]]:
    """Run three nodes with the labels of the pages, each on a machine of the network, until the block ends."""
    folder.mkdir()
    token = folder / "token"
    token.write_text("any")
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(
                joined(
                    *(url, folder / name, "--token-file", token, "--name", name, *LABELS),
                    program=(*net.programs[name], sys.executable, "-m", "smartmob"),
                )
            )
            for name in NAMES
        }


def _documented(page: str, beginning: str) -> list[str]:
    """Return the words behind `smartmob` of the first line of a how-to page that begins so."""
    lines = (line.removeprefix("$ ") for line in (PAGES / page).read_text("utf-8").splitlines())
    return shlex.split(next(line for line in lines if line.startswith(f"smartmob {beginning}")))[1:]


async def _connected(url: str, *names: str) -> None:
    async def there() -> bool:
        nodes = (await _get(f"{url}/api/v1/nodes"))["nodes"]
        return {node["name"] for node in nodes if node["connected"]} >= set(names)

    await until(there)


async def _programs(url: str) -> dict[str, list[Any]]:
    """Return the programs of each node."""
    return {name: (await _get(f"{url}/api/v1/nodes/{name}/service/api/v1/processes"))["processes"] for name in NAMES}


async def _records(url: str, name: str) -> tuple[list[Any], list[Any]]:
    """Return the process events and jobs of a node that the lab has."""
    path = f"{url}/api/v1/nodes/{name}"
    return (await _get(f"{path}/process-events"))["events"], (await _get(f"{path}/jobs"))["jobs"]


async def test_a_lab_that_is_killed_under_load_comes_back_to_its_nodes(tmp_path: Path) -> None:
    """Nodes go on alone; no transaction, event or job is lost or there twice, and all turrets are removed.

    The commands that join, use, deploy and fire are those of the how-to pages.
    """
    port, data = str(free_ports.single_port()), tmp_path / "data"
    app = tmp_path / "app"
    app.mkdir()
    (app / "Procfile").write_text("web: exec sleep 1000\n")
    async with network(NAMES) as net, target(net.host) as place, AsyncExitStack() as stack:
        url, lab = f"http://{net.host}:{port}", AsyncExitStack()
        listens = ("--port", port, "--host", net.host, "--insecure", "--hq", "--hq-host", net.host, *hq_ports())
        service = await lab.enter_async_context(serving(data, *listens))
        stack.push_async_callback(lab.aclose)
        await stack.enter_async_context(_three_nodes(url, tmp_path / "nodes", net))
        assert {"--token-file", "--name", *LABELS[:2]} <= set(_documented("join-machines.md", "join http"))
        await _connected(url, *NAMES)
        code, output, errors = await run(*_documented("join-machines.md", "exec --on label="), "--server", url)
        assert (code, sorted(output.split())) == (0, sorted((*NAMES, *"|||", *[os.uname().release] * 3))), errors
        words = [str(app) if word == "./app" else word for word in _documented("join-machines.md", "run ./app --on")]
        code, _, errors = await run(*words, "--server", url)
        assert code == 0, errors
        before = {name: [each["pid"] for each in found] for name, found in (await _programs(url)).items()}
        _unpacked(tmp_path / "night", place, run_time=8)
        fire = await asyncio.create_subprocess_exec(
            *(PROGRAMS / "smartmob", *_documented("fire-load-tests.md", "fire night --on label="), "--server", url),
            "--json",
            cwd=tmp_path,
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await until(lambda: place.hits["/page"] > 50)
        assert [len(found) for found in (await _programs(url)).values()] == [3, 3, 3]
        service.send_signal(signal.SIGKILL)
        await service.wait()
        alone = place.hits["/page"]
        await until(lambda: place.hits["/page"] > alone + 50)
        await stack.enter_async_context(serving(data, *listens))
        output_bytes, error_bytes = await fire.communicate()
        assert fire.returncode == 0, error_bytes.decode()
        summary = json.loads(output_bytes)
        assert summary["transactions"] == place.hits["/page"]
        assert len(summary["turrets"]) == 3
        await _connected(url, *NAMES)
        after = {name: [each["pid"] for each in found] for name, found in (await _programs(url)).items()}
        assert after == before
        for name in NAMES:

            async def told(name: str = name) -> Any:
                events, jobs = await _records(url, name)
                deleted = [event for event in events if event["kind"] == "deleted"]
                return (events, jobs) if deleted and jobs and jobs[0]["record"]["ended_at"] else None

            events, jobs = await until(told)
            assert len({event["id"] for event in events}) == len(events)
            assert next(event["kind"] for event in events if event["slug"].startswith("turrets-")) == "created"
            assert [job["record"]["exit_code"] for job in jobs] == [0]


async def test_nodes_of_a_killed_service_go_to_the_other_one(database_url: str, tmp_path: Path) -> None:
    """A console through either of both goes on from its offset, and each record is there once."""
    ports = free_ports.single_port(), free_ports.single_port()
    first, second = (f"http://127.0.0.1:{port}" for port in ports)
    shared = ("--database-url", database_url)
    token = tmp_path / "token"
    token.write_text("any")
    async with AsyncExitStack() as stack:
        killed = await stack.enter_async_context(
            serving(tmp_path / "a", "--port", str(ports[0]), *shared, "--service-url", first)
        )
        await stack.enter_async_context(
            serving(tmp_path / "b", "--port", str(ports[1]), *shared, "--service-url", second)
        )
        balancer = await stack.enter_async_context(wire_to(ports[0]))
        options = ("--token-file", token, "--name", "rack1")
        await stack.enter_async_context(joined(balancer.url, tmp_path / "node", *options))
        await _connected(second, "rack1")
        go = tmp_path / "go"
        command = f"for i in $(seq 200); do echo $i; done; until test -e {go}; do sleep 0.05; done; seq 201 400; exit 7"
        consoles = [
            await asyncio.create_subprocess_exec(
                *(PROGRAMS / "smartmob", "exec", "--on", "rack1", "--server", url, command),
                env=environment(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            for url in (second, balancer.url)
        ]
        seen = []
        for console in consoles:
            assert console.stdout is not None
            seen.append(b"".join([await console.stdout.readline() for _ in range(200)]))
        balancer.lead_to(ports[1])
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
        go.touch()
        for console, before in zip(consoles, seen, strict=True):
            rest, errors = await console.communicate()
            assert console.returncode == 7, errors.decode()
            assert (before + rest).decode().split() == [str(number) for number in range(1, 401)]

        async def told() -> Any:
            _, jobs = await _records(second, "rack1")
            return jobs if len(jobs) == 2 and all(job["record"]["ended_at"] for job in jobs) else None

        assert [job["record"]["exit_code"] for job in await until(told)] == [7, 7]


async def test_a_node_joins_over_tls_and_takes_new_authorities(tmp_path: Path) -> None:
    """A certificate that is not valid yet is tried again, and a replaced authority needs no restart of the node."""
    folder, token = tmp_path / "authority", tmp_path / "token"
    token.write_text("any")

    async def replaced(not_before: datetime | None = None) -> Files:
        authority = await asyncio.to_thread(Authority, folder)
        return await asyncio.to_thread(authority.issue, not_before=not_before)

    files = await replaced(datetime.now(UTC) + timedelta(days=1))
    async with (
        serving(tmp_path / "data", *files.options) as service,
        wire_to(int(service.url.rpartition(":")[2])) as wire,
        joined(
            wire.url.replace("http://", "https://"), tmp_path / "node", "--token-file", token, "--name", "rack1",
            "--ca-file", folder / "authority.pem",
        ) as node,
    ):  # fmt: skip
        await until(lambda: "not valid yet by the clock of this machine" in node.said)
        for number in (1, 2):
            seen = len(service.events)
            await replaced()
            service.send_signal(signal.SIGHUP)
            await service.event("tls.reloaded", after=seen)
            wire.cut()
            await until(lambda number=number: node.said.count("connected to https://") == number)
        assert node.process.returncode is None
        assert node.said.count(": joined https://") <= 1
