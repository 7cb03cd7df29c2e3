"""One worker process, driven through its pipe."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from smartmob.turrets.turret import worker_pipe
from smartmob.turrets.turret.user_pool import FiringPlan
from tests.turrets.turret.turrets import COROUTINE, THREAD, package


@asynccontextmanager
async def _worker() -> AsyncIterator[tuple[worker_pipe.WorkerPipe, asyncio.subprocess.Process]]:
    ours, theirs = socket.socketpair()
    with theirs:
        command = (sys.executable, "-m", "smartmob.turrets.turret.worker", str(theirs.fileno()))
        process = await asyncio.create_subprocess_exec(*command, pass_fds=(theirs.fileno(),))
    pipe = await worker_pipe.WorkerPipe.of(ours)
    try:
        yield pipe, process
    finally:
        await pipe.close()
        await process.wait()


def _load(folder: Path, script: str) -> worker_pipe.LoadMessage:
    made = package(folder, (1, 1), script, cannons=4, processes=2)
    return worker_pipe.LoadMessage(made.given, str(made.script), [str(folder)], (1, 2))


async def test_a_worker_fires_its_share_and_ends_with_the_pipe(tmp_path: Path) -> None:
    """CTRL-C does not end it."""
    async with _worker() as (pipe, process):
        pipe.send(_load(tmp_path, THREAD))
        assert await pipe.receive() == worker_pipe.Loaded()
        process.send_signal(signal.SIGINT)
        pipe.send(
            worker_pipe.FireMessage(
                FiringPlan(start=time.monotonic(), end=time.monotonic() + 1e6, raw=True, context={})
            )
        )
        frames = 0
        while frames < 20:
            fired = await pipe.receive()
            assert isinstance(fired, worker_pipe.Fired)
            frames += len(fired.batch.frames)
        assert fired.batch.counts.users == 2
        pipe.send(worker_pipe.StopMessage(at_once=False))
        while not fired.ended:
            fired = await pipe.receive()
            assert isinstance(fired, worker_pipe.Fired)
            frames += len(fired.batch.frames)
        assert frames == fired.batch.counts.transactions
    assert process.returncode == 0


async def test_a_worker_reports_why_a_script_cannot_be_loaded(tmp_path: Path) -> None:
    """Another script can be loaded after it."""
    async with _worker() as (pipe, _):
        pipe.send(_load(tmp_path, "x = 1"))
        assert await pipe.receive() == worker_pipe.Loaded("v_user.py has no class Transaction")
        pipe.send(_load(tmp_path, COROUTINE))
        assert await pipe.receive() == worker_pipe.Loaded()
