"""The installed process runner: it leaves no process, and starts again what is wanted."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from smartmob.kernel.subprocesses.spawner import CHILDREN_PER_SUBREAPER
from tests import free_ports
from tests.acceptance.commands import RunningCommand, connected, serving
from tests.kernel.subprocesses.families import FAMILY, family, living
from tests.kernel.subprocesses.files import limited_to
from tests.processes.archives import make_archive
from tests.processes.file_server import FileServer, running_file_server
from tests.waiting import SECONDS, until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

RUNNING = "running"


class Client:
    """A client of a running service."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def create(self, source: str, node: str = "web.0", **more: Any) -> None:
        wanted = {"app": "app", "node": node, "process_type": "web", "source_url": source, **more}
        async with self.session.post(f"{self.url}/create-process", json=wanted) as response:
            assert response.status == 201, await response.text()

    async def states(self) -> dict[str, str]:
        async with self.session.get(f"{self.url}/api/v1/processes") as response:
            return {process["node"]: process["state"] for process in (await response.json())["processes"]}

    async def delete(self, slug: str) -> None:
        async with self.session.post(f"{self.url}/delete-process/{slug}") as response:
            assert response.status == 200, await response.text()

    async def are(self, nodes: Mapping[str, str] | None = None, **states: str) -> None:
        """Wait until the processes of these nodes, `web_0` for web.0 and so on, have these states."""
        wanted = {**(nodes or {}), **{name.replace("_", "."): state for name, state in states.items()}}

        found: dict[str, str] = {}

        async def there() -> bool:
            found.clear()
            found.update(await self.states())
            return found == wanted

        try:
            await until(there)
        except TimeoutError:
            others = {name: state for name, state in found.items() if state != wanted.get(name)}
            pytest.fail(f"of {len(wanted)} processes, {len(found)} are there, and not as expected are {others}")


@asynccontextmanager
async def agent(
    data: Path, url: str, *arguments: str, as_installed: bool = False
) -> AsyncIterator[tuple[RunningCommand, Client]]:
    """Run `smartmob-agent`, and return a client for it."""
    options = ("--database-url", url, "--processes-base-port", str(free_ports.base_port()), *arguments)
    async with (
        serving(data, *options, as_installed=as_installed, program="smartmob-agent") as command,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=500)) as session,
    ):
        yield command, Client(session, command.url)


@pytest.fixture(name="files")
async def _files() -> AsyncIterator[FileServer]:
    async with running_file_server() as server:
        yield server


def _families(files: FileServer, folder: Path) -> str:
    procfile = f"web: exec python3 family.py {folder}/$PORT\n"
    return files.file("/family.tar.gz", make_archive("tar.gz", {"Procfile": procfile, "family.py": FAMILY}))


def _ports() -> range:
    """Return the ports of three nodes of one type."""
    return range(free_ports.base_port(), free_ports.base_port() + 3)


@pytest.mark.parametrize("signals", [[signal.SIGKILL], [signal.SIGSTOP, signal.SIGKILL]], ids=["killed", "stopped"])
async def test_a_killed_agent_leaves_no_process(
    database_url: str, tmp_path: Path, files: FileServer, signals: list[signal.Signals]
) -> None:
    """Grandchildren, sessions and daemons end, too, and the next agent starts the processes again."""
    async with agent(tmp_path / "data", database_url) as (command, client):
        source = _families(files, tmp_path)
        for number in range(3):
            await client.create(source, f"web.{number}", grace=0.2)
        pids = [pid for port in _ports() for pid in await family(tmp_path / str(port))]
        subreapers = [psutil.Process(pid).ppid() for pid in pids]
        for number in signals:
            command.send_signal(number)
        await command.wait()
        await until(lambda: living([*pids, *subreapers]) == [])
    for port in _ports():
        (tmp_path / str(port)).unlink()
    async with agent(tmp_path / "data", database_url) as (_, client):
        await client.are(web_0=RUNNING, web_1=RUNNING, web_2=RUNNING)
        again = [pid for port in _ports() for pid in await family(tmp_path / str(port))]
        assert len(living(again)) == 12
    assert living(again) == []
    assert files.asked_for("/family.tar.gz") <= 3


async def test_processes_are_started_again_after_a_kill_at_any_moment(
    database_url: str, tmp_path: Path, files: FileServer
) -> None:
    """The agent is killed during download, unpacking, installation, start, run and stop."""
    data = tmp_path / "data"
    stalled = files.stall("/stalled", b"PK")
    project = "[build-system]\nrequires = []\nbuild-backend = 'slow'\nbackend-path = ['.']\n"
    slow = {"Procfile": "web: exec sleep 600\n", "pyproject.toml": project, "slow.py": "import time\ntime.sleep(600)"}
    good = files.file("/good", make_archive("zip", {"Procfile": "web: exec sleep 600\n"}))
    stubborn = files.file(
        "/stubborn", make_archive("zip", {"Procfile": "web: trap '' TERM; echo ready; while :; do sleep 1; done\n"})
    )
    async with agent(data, database_url) as (command, client):
        await client.create(stalled, "web.0")
        await client.create(files.file("/slow", make_archive("zip", slow)), "web.1")
        await client.create(good, "web.2")
        await client.create(stubborn, "web.3", grace=60)
        await client.are(web_0="downloading", web_1="processing", web_2=RUNNING, web_3=RUNNING)
        async with client.session.ws_connect(f"{client.url}/attach-console/app.web.3?tail=1") as console:
            assert await console.receive_str(timeout=SECONDS) == "ready"
        async with client.session.post(
            f"{client.url}/stop-process/web.3", timeout=aiohttp.ClientTimeout(SECONDS)
        ) as missing:
            assert missing.status == 404
        stopping = asyncio.ensure_future(client.session.post(f"{client.url}/stop-process/app.web.3"))
        await client.are(web_0="downloading", web_1="processing", web_2=RUNNING, web_3="stopping")
        await client.create(good, "web.4")
        command.send_signal(signal.SIGKILL)
        await command.wait()
        await asyncio.gather(stopping, return_exceptions=True)
    files.file("/stalled", make_archive("zip", {"Procfile": "web: exec sleep 600\n"}))
    async with agent(data, database_url) as (_, client):
        await client.are(web_0=RUNNING, web_1="processing", web_2=RUNNING, web_3="stopped", web_4=RUNNING)


def _bad_sources(files: FileServer) -> dict[str, str]:
    """Return sources, each with the state of the failure that it causes."""
    broken = {
        "no procfile": {"main": "x"},
        "unknown process type": {"Procfile": "worker: x\n"},
        # It is found before an environment is built, which takes 5 s of processor time.
        "pip install failure": {"Procfile": "web: x\n", "pyproject.toml": "["},
    }
    sources = {
        state: files.file(f"/{number}", make_archive("zip", content))
        for number, (state, content) in enumerate(broken.items())
    }
    return {
        **sources,
        "unpack failure": files.file("/page", b"<html>"),
        "download failure": files.url("/not-there"),
    }


async def test_failed_waiting_and_stopped_processes_keep_their_state_after_a_kill(
    database_url: str, tmp_path: Path, files: FileServer
) -> None:
    """Failed ones are tried again, those in backoff go on, and stopped ones stay stopped."""
    data = tmp_path / "data"
    sources = _bad_sources(files)
    states = {f"web_{number}": state for number, state in enumerate(sources)}
    good = files.file("/good", make_archive("zip", {"Procfile": "web: exec sleep 600\n"}))
    dying = files.file("/dying", make_archive("zip", {"Procfile": "web: exit 3\n"}))
    async with agent(data, database_url) as (command, client):
        for number, source in enumerate(sources.values()):
            await client.create(source, f"web.{number}")
        await client.create(good, "web.5")
        await client.create(dying, "web.6")
        await client.are(**states, web_5=RUNNING, web_6="backoff")
        await client.session.post(f"{client.url}/stop-process/app.web.5")
        await client.are(**states, web_5="stopped", web_6="backoff")
        command.send_signal(signal.SIGKILL)
        await command.wait()
    files.file("/not-there", make_archive("zip", {"Procfile": "web: exec sleep 600\n"}))
    async with agent(data, database_url) as (_, client):
        await client.are(**{**states, "web_4": RUNNING}, web_5="stopped", web_6="backoff")


async def test_an_interrupted_unpacking_is_repeated(database_url: str, tmp_path: Path, files: FileServer) -> None:
    """A partial folder is not used, and is removed."""
    data, count = tmp_path / "data", 8_000
    many = {f"folder/{number}": "" for number in range(count)}
    procfile = f'web: test "$(ls folder | wc -l)" = {count} && exec sleep 600\n'
    source = files.file("/many", make_archive("tar", {"Procfile": procfile, **many}))
    async with agent(data, database_url) as (command, client):
        await client.create(source)
        await client.are(web_0="unpacking")
        command.send_signal(signal.SIGKILL)
        await command.wait()
    async with agent(data, database_url) as (_, client):
        await client.are(web_0=RUNNING)
        assert list((data / "processes" / "making").iterdir()) == []


async def test_a_thousand_processes_run_with_the_usual_limit_of_open_files(
    database_url: str, tmp_path: Path, files: FileServer
) -> None:
    """All are deleted afterwards, and none is left."""
    limit, programs = tmp_path / "limit", 1_000
    source = files.file("/app", make_archive("zip", {"Procfile": f"web: ulimit -Sn >> {limit} && exec sleep 600\n"}))
    async with AsyncExitStack() as stack:
        with limited_to(1_024):
            command, client = await stack.enter_async_context(
                agent(tmp_path / "data", database_url, "--database-patience", "120", as_installed=True)
            )
        service = psutil.Process(command.pid)
        await asyncio.gather(*(client.create(source, f"web.{number}") for number in range(programs)))
        await client.are({f"web.{number}": RUNNING for number in range(programs)})
        await until(lambda: limit.exists() and limit.read_text().count("\n") == programs)
        watchdog, *started = [child.pid for child in service.children(recursive=True)]
        assert len(living(started)) == programs + programs // CHILDREN_PER_SUBREAPER
        assert service.memory_info().rss < 400 * 1024 * 1024
        await asyncio.gather(*(client.delete(f"app.web.{number}") for number in range(programs)))
        assert await client.states() == {}
        # A last subreaper is left, which waits for the next program.
        await until(lambda: len(living(started)) == 1)
        assert [psutil.Process(pid).ppid() for pid in living(started)] == [watchdog]
        assert set(limit.read_text().split()) == {"1024"}


async def test_an_agent_that_is_interrupted_waits_for_its_children(
    database_url: str, tmp_path: Path, files: FileServer
) -> None:
    """CTRL-C stops all at once; viewers get the code 1001, and the exit code is 0."""
    script = "trap 'sleep 0.5; echo ended >> $FILE; exit' TERM; echo started; while :; do sleep 0.01; done"
    source = files.file("/app", make_archive("zip", {"Procfile": f"web: {script}\n"}))
    ended = tmp_path / "ended"
    async with agent(tmp_path / "data", database_url) as (command, client):
        for number in range(6):
            await client.create(source, f"web.{number}", env={"FILE": str(ended)}, grace=600)
        consoles = []
        for number in range(6):
            console = await client.session.ws_connect(f"{client.url}/attach-console/app.web.{number}?tail=1")
            assert await console.receive_str(timeout=SECONDS) == "started"
            consoles.append(console)
        command.send_signal(signal.SIGINT)
        codes = []
        for console in consoles:
            async for _ in console:
                pass
            codes.append(console.close_code)
        assert codes == [1001] * 6
        assert await command.wait() == 0
        assert ended.read_text() == "ended\n" * 6


async def test_a_viewer_that_does_not_read_does_not_delay_the_stop(
    database_url: str, tmp_path: Path, files: FileServer
) -> None:
    """It is disconnected after a moment."""
    flood = "import os\nwhile True: os.write(1, b'x' * 99 + b'\\n')"
    data = make_archive("zip", {"Procfile": "web: python3 main.py\n", "main.py": flood})
    async with agent(tmp_path / "data", database_url) as (command, client):
        await client.create(files.file("/app", data))
        await client.are(web_0=RUNNING)
        async with connected(client.url) as (reader, writer):
            host = client.url.removeprefix("http://")
            writer.write(
                f"GET /attach-console/app.web.0 HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
            )
            await reader.readuntil(b"\r\n\r\n")
            command.send_signal(signal.SIGTERM)
            assert await command.wait() == 0
