"""`smartmob join`: a real node process against a running service."""

from __future__ import annotations

import asyncio
import io
import json
import random
import signal
import sys
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import QUICK_PROGRAMS, environment
from tests.certificates import Authority
from tests.client.servers import wire_to
from tests.nodes import conftest as nodes
from tests.nodes.conftest import AUTHORIZED, TOKEN, Lab
from tests.waiting import SECONDS, until

_LOOK = """
import sys
from smartmob.cli import join

async def look(*_):
    from aiohttp import connector
    from smartmob import authorities
    for context in (connector._SSL_CONTEXT_VERIFIED, authorities.verification()):
        print(context.cert_store_stats()["x509"])

join._run = look
join.command.main(["http://127.0.0.1:1", "--state-dir", sys.argv[1]], standalone_mode=False)
"""
"""Runs `smartmob join` up to its connection; prints the authorities that aiohttp has read, and those of a client."""

pytestmark = pytest.mark.timeout(900)

_lab = nodes._lab
"""The fixture `lab`."""

Join = Callable[..., Awaitable["Joined"]]


class Joined:
    """A node process, and what it has logged so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(65536):
            self.said += data.decode()

    async def ended(self) -> int:
        """Return its exit code when it has ended and everything is read."""
        async with asyncio.timeout(SECONDS):
            await self._reading
            return await self.process.wait()

    async def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal, and return its exit code when it has ended."""
        self.process.send_signal(number)
        return await self.ended()


@asynccontextmanager
async def joined(
    url: str, folder: Path, *options: str | Path, program: Sequence[str | Path] = ()
) -> AsyncIterator[Joined]:
    """Run a node until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(program or (sys.executable, "-m", "smartmob")), "join", url, "--state-dir", folder, *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment(),
    )  # fmt: skip
    node = Joined(process)
    try:
        yield node
    finally:
        if process.returncode is None:
            process.kill()
        await node.ended()


@pytest.fixture(name="join")
async def _join(lab: Lab, tmp_path: Path) -> AsyncIterator[Join]:
    """Return the starter of nodes that have the token of the lab and this state folder."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    async with AsyncExitStack() as stack:

        async def start(*options: str | Path, url: str = "", folder: str = "state") -> Joined:
            given = ("--token-file", token, "--name", "rack7", *options)
            return await stack.enter_async_context(joined(url or lab.url, tmp_path / folder, *given))

        yield start


def _archive(line: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("Procfile")
        info.size = len(line)
        archive.addfile(info, io.BytesIO(line.encode()))
    return packed.getvalue()


BASE = "/api/v1/nodes/rack7/service"


async def _deploy(lab: Lab, line: str) -> None:
    """Start a program on the node, by an archive that is uploaded through the lab."""
    async with lab.client.post(f"{BASE}/upload-archive", headers=AUTHORIZED, data=_archive(line)) as answer:
        assert answer.status in (200, 201), await answer.text()
        source = (await answer.json())["source_url"]
    body = {"app": "app", "node": "web.0", "process_type": "web", "source_url": source, "env": {}}
    async with lab.client.post(f"{BASE}/create-process", headers=AUTHORIZED, json=body) as answer:
        assert answer.status == 201, await answer.text()


async def _kinds(lab: Lab) -> list[str]:
    events = (await lab.get("/api/v1/nodes/rack7/process-events"))["events"]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    assert len({event["id"] for event in events}) == len(events)
    return [event["kind"] for event in events]


async def test_a_killed_node_restores_its_programs_and_loses_nothing(lab: Lab, join: Join) -> None:
    """After SIGKILL the program runs again; the lab has each event once, in order, and the load of the machine."""
    node = await join("--label", "gpu")
    await lab.connected("rack7")
    await _deploy(lab, "web: exec sleep 1000")

    async def running() -> Any:
        [process] = (await lab.get(f"{BASE}/api/v1/processes"))["processes"]
        return process["pid"] if process["state"] == "running" else None

    async def delivered(starts: int) -> bool:
        return (await _kinds(lab)).count("started") == starts

    first = await until(running)
    # The program runs a moment before its start is in the journal of the node.
    await until(partial(delivered, 1))
    assert await node.kill() == -signal.SIGKILL
    await until(lambda: not Path(f"/proc/{first}").exists())
    again = await join()
    await lab.connected("rack7")
    assert await until(running) != first
    assert "joined" not in again.said

    await until(partial(delivered, 2))
    assert (await _kinds(lab))[:2] == ["created", "started"]
    assert (await lab.node("rack7"))["labels"] == {"gpu": ""}

    async def measured() -> Any:
        async with lab.client.get("/hosts/rack7", headers=AUTHORIZED) as answer:
            return answer.status == 200 and (await answer.json())["latest"]

    await until(measured)
    second = await running()
    assert await again.kill(signal.SIGTERM) == 0
    assert not Path(f"/proc/{second}").exists()


async def test_a_node_goes_on_alone_while_the_lab_is_away(lab: Lab, join: Join, tmp_path: Path) -> None:
    """A program that ends and starts meanwhile is told later: each event once, and in order."""
    done = tmp_path / "go"
    assert lab.client.port is not None
    async with wire_to(lab.client.port) as wire:
        await join(url=wire.url)
        await lab.connected("rack7")
        await _deploy(lab, f"web: while ! test -e {done}; do sleep 0.05; done; rm {done}; exit 3")

        async def started() -> Any:
            return "started" in await _kinds(lab)

        await until(started)
        wire.refuses = True
        wire.cut()

        async def away() -> Any:
            return not (await lab.node("rack7"))["connected"]

        await until(away)
        done.touch()
        await until(lambda: not done.exists())
        wire.refuses = False

        async def told() -> Any:
            kinds = await _kinds(lab)
            return "exited" in kinds and kinds.index("started") < kinds.index("exited")

        await until(told)
        events = (await lab.get("/api/v1/nodes/rack7/process-events"))["events"]
        assert [event["detail"]["status"] for event in events if event["kind"] == "exited"] == [3]


async def test_jobs_of_a_node_are_listed_by_the_lab(lab: Lab, join: Join) -> None:
    """A removed node ends with one line, and what it has recorded is removed with it."""
    node = await join()
    await lab.connected("rack7")
    async with lab.client.post(f"{BASE}/commands/exec", headers=AUTHORIZED, json=["exit 4"]) as answer:
        assert answer.status == 200
        assert '"exit_code":4' in await answer.text()

    async def listed() -> Any:
        jobs = (await lab.get("/api/v1/nodes/rack7/jobs"))["jobs"]
        return jobs and jobs[0]["record"]["ended_at"] and jobs

    [job] = await until(listed)
    assert (job["record"]["exit_code"], job["record"]["argv"]) == (4, ["exit 4"])
    async with lab.client.delete("/api/v1/nodes/rack7", headers=AUTHORIZED) as answer:
        assert answer.status == 204
    assert await node.ended() == 3
    assert "this node was removed from the service; join again with a token" in node.said
    assert not (await lab.get("/api/v1/nodes"))["nodes"]


async def test_wrong_options_and_refusals_end_with_one_line(lab: Lab, tmp_path: Path) -> None:
    """Exit code 2 for wrong usage, 3 for a service that refuses; each says what to do."""
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    wrong.write_text("not the token")
    right.write_text(TOKEN)
    taken = {"name": "taken"}
    async with lab.client.post("/api/v1/nodes/join", headers=AUTHORIZED, json=taken) as answer:
        assert answer.status == 201
    authority = Authority(tmp_path / "authority")
    cases: tuple[tuple[str, tuple[str | Path, ...], int, str], ...] = (
        ("lab:8080", ("--token-file", right), 2, "expected an address such as https://lab:8080"),
        (lab.url, ("--token-file", right, "--name", "a b"), 2, "cannot be the name of a node"),
        (lab.url, ("--token-file", right, "--label", "a b=c"), 2, "--label: expected KEY or KEY=VALUE"),
        (lab.url, ("--token-file", tmp_path / "none"), 2, "cannot read"),
        (lab.url, ("--ca-file", wrong, "--token-file", right), 2, "holds no certificate as PEM"),
        (lab.url, (), 3, "smartmob token add NAME --role node"),
        (lab.url, ("--token-file", wrong), 3, "does not accept the token"),
        (lab.url, ("--token-file", right, "--name", "taken"), 3, "there is a node taken already"),
        (lab.url.replace("http://", "https://"), ("--token-file", right, "--ca-file", authority.file), 3, "speak TLS"),
        (f"{lab.url}/nothing", ("--token-file", right), 3, "it knows no nodes"),
    )  # fmt: skip

    async def one(number: int) -> tuple[int, str]:
        url, options, _, _ = cases[number]
        async with joined(url, tmp_path / str(number), *options, program=[QUICK_PROGRAMS / "smartmob"]) as node:
            return await node.ended(), node.said

    for number, (url, options, code, said) in enumerate(cases):
        ended, text = await one(number)
        lines = [line for line in text.splitlines() if line.startswith("smartmob: ")]
        assert (ended, len(lines)) == (code, 1), (url, options, text)
        assert said in lines[0] and "Traceback" not in text, (url, options, text)


async def test_a_node_that_is_killed_again_and_again_loses_no_job(lab: Lab, join: Join) -> None:
    """Each job that was acknowledged is at the lab once, with its end, and none of its processes is left."""
    started: list[int] = []
    moments = random.Random(19)  # the same moments in each run

    async def call_until_lost() -> None:
        while True:
            body = {"cmd": f"exec sleep 0.0{moments.randrange(1, 9)}{len(started):05d}"}
            async with lab.client.post(f"{BASE}/commands/exec", headers=AUTHORIZED, json=body) as answer:
                if answer.status != 200:
                    return
                async for line in answer.content:
                    if (told := json.loads(line)).get("job"):
                        started.append(told["number"])

    for round_number in range(3):
        node = await join()
        await until(lambda node=node: "connected to" in node.said)

        async def usable() -> Any:
            async with lab.client.get(f"{BASE}/jobs", headers=AUTHORIZED) as answer:
                return answer.status == 200

        await until(usable)
        wanted = len(started) + moments.randrange(5, 15)
        calls = [asyncio.ensure_future(call_until_lost()) for _ in range(3)]
        await until(lambda wanted=wanted: len(started) >= wanted)
        assert await node.kill() == -signal.SIGKILL, round_number
        await asyncio.gather(*calls, return_exceptions=True)
    await join()
    await lab.connected("rack7")

    async def complete() -> Any:
        jobs = (await lab.get("/api/v1/nodes/rack7/jobs?limit=10000"))["jobs"]
        known = {job["job_id"] for job in jobs if job["record"]["ended_at"]}
        return jobs if set(started) <= known else None

    jobs = await until(complete)
    assert len({job["job_id"] for job in jobs}) == len(jobs)
    assert {job["record"]["state"] for job in jobs} <= {"exited", "lost"}
    commands = {job["record"]["argv"][0].removeprefix("exec ") for job in jobs}
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _command(path) in commands]
    assert left == []


def _command(path: Path) -> str:
    try:
        return path.read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@pytest.mark.long
async def test_a_link_that_falls_silent_is_given_up_and_replaced(lab: Lab, join: Join) -> None:
    """A firewall that forgets a connection ends it for neither side: both notice, and the node is listed once."""
    assert lab.client.port is not None
    async with wire_to(lab.client.port) as wire:
        node = await join(url=wire.url)
        await lab.connected("rack7")
        wire.hush()
        await until(lambda: node.said.count("connected to") >= 2)
        assert [each["name"] for each in (await lab.get("/api/v1/nodes"))["nodes"]] == ["rack7"]
        async with lab.client.post(f"{BASE}/commands/exec", headers=AUTHORIZED, json=["exit 4"]) as answer:
            assert '"exit_code":4' in await answer.text()


async def test_the_authorities_are_read_when_a_node_first_needs_them(tmp_path: Path) -> None:
    """Most nodes never call another machine by HTTPS; their clients trust the authorities of the machine as before."""
    trusted = Authority(tmp_path / "authority").file
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _LOOK, tmp_path / "node", stdout=asyncio.subprocess.PIPE,
        env=environment(SSL_CERT_FILE=str(trusted), SSL_CERT_DIR=str(tmp_path / "none")),
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), SECONDS)

    assert output.decode().split() == ["0", "1"]
