"""The search for a capacity with the installed commands, against a target whose capacity is known."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from pathlib import Path

import pytest

from tests.acceptance.commands import QUICK_PROGRAMS, environment, run, serving

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

FREE = ("--hq-publish-port", "0", "--hq-rc-port", "0", "--hq-external-port", "0")
# On a busy machine a turret may be silent for longer than the usual ten seconds, and a run without turrets fails.
PATIENT = ("--turrets-lost-after", "600")
PLACES, SERVICE_SECONDS = 4, 0.05
CAPACITY = PLACES / SERVICE_SECONDS  # 80 requests a second
SCRIPT = """
import asyncio

from smartmob.turrets.scripting import BaseTransaction


class Transaction(BaseTransaction):
    reader = None

    async def run(self):
        if self.reader is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.config["port"])
        self.writer.write(b"?")
        await self.reader.readexactly(1)
"""


class LimitedTarget(asyncio.Protocol):
    """A target that serves a fixed number of requests at a time, each for a fixed time, and queues the others.

    It counts for itself: `served`, and the most requests that were ever `waiting`.
    """

    waiting: deque[asyncio.Transport]
    free: int
    served: int
    longest_queue: int

    @classmethod
    def reset(cls) -> None:
        """Make all places free."""
        cls.waiting, cls.free, cls.served, cls.longest_queue = deque(), PLACES, 0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Serve each byte as a request."""
        for _ in data:
            self.waiting.append(self.transport)
        self.serve()

    @classmethod
    def serve(cls) -> None:
        """Begin with requests while there are places."""
        loop = asyncio.get_running_loop()
        while cls.free and cls.waiting:
            cls.free -= 1
            loop.call_later(SERVICE_SECONDS, cls.finish, cls.waiting.popleft())
        cls.longest_queue = max(cls.longest_queue, len(cls.waiting))

    @classmethod
    def finish(cls, transport: asyncio.Transport) -> None:
        """Answer a request, and begin with the next."""
        cls.free += 1
        cls.served += 1
        transport.write(b"!")
        cls.serve()


def _project(folder: Path, ports: dict[str, int], port: int) -> Path:
    """Return a packed project whose turret fires at a port."""
    (folder / "test_scripts").mkdir(parents=True)
    (folder / "test_scripts" / "v_user.py").write_text(SCRIPT)
    turret = {"name": "asking", "cannons": 400, "script": "test_scripts/v_user.py", "port": port, "grace": 60}
    config = {"run_time": 2, "publish_port": ports["publish_port"], "rc_port": ports["rc_port"], "turrets": [turret]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


async def test_the_capacity_of_a_limited_target_is_found(tmp_path: Path) -> None:
    """The rate that held is not above the capacity that the target has, and the bracket contains it.

    On a machine that is too busy, the result must be that the generator was the limit, with its evidence.
    """
    LimitedTarget.reset()
    server = await asyncio.get_running_loop().create_server(LimitedTarget, "127.0.0.1", 0)
    page = tmp_path / "capacity.html"
    async with server, serving(tmp_path / "data", "--hq", *FREE, *PATIENT) as service:
        event = await service.event("turrets.listening")
        project = _project(tmp_path / "project", event, server.sockets[0].getsockname()[1])
        assert (await run("pack-turrets", project))[0] == 0
        turret = await asyncio.create_subprocess_exec(
            *(QUICK_PROGRAMS / "smartmob", "turret", "--tar", project / "asking.tar.gz"),
            env=environment(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            code, output, errors = await run(
                *("fire", project, "--find-capacity", "p90<250ms", "--server", service.url, "--json"),
                *(
                    "--start-rate",
                    "32",
                    "--max-rate",
                    "200",
                    "--growth",
                    "3.9",
                    "--resolution",
                    "99%",
                    "--repeats",
                    "1",
                ),
                *("--step-time", "1.5s", "--step-warm-up", "1s", "--cool-down", "0", "-o", page),
            )
        finally:
            turret.kill()
            await turret.wait()
    assert output, errors
    found = json.loads(output)
    result, steps = found["result"], found["steps"]
    assert all(f"/turret-runs/{step['run']}/report" in page.read_text() for step in steps)
    assert round(sum(step["achieved"] * 2.5 for step in steps)) == LimitedTarget.served, errors
    warm = [step["achieved"] * 2.5 - step["transactions"] for step in steps]
    assert all(0 < count < step["achieved"] * 2.5 for count, step in zip(warm, steps, strict=True)), "of 1 in 2.5 s"
    if result["ending"] == "generator":
        assert any(step["outcome"] == "saturated" and step["reasons"] for step in steps), steps
        return
    assert (code, result["ending"]) == (0, "found"), errors
    assert result["held"] < CAPACITY < result["refused"]
    assert LimitedTarget.longest_queue > 0
