"""Waiting for the end of a process, with and without descriptors of processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest

from smartmob.kernel.embedded import process_end


@pytest.fixture(name="child", params=["descriptors", "threads"])
def _child(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that ends when its input is closed."""
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as child:
        if request.param == "threads":
            monkeypatch.setattr(process_end, "_HAS_DESCRIPTORS", False)
        yield child
        child.kill()


def test_a_process_that_runs_has_not_ended(child: subprocess.Popen[bytes]) -> None:
    assert not process_end.ended_within(child.pid, 0.0)


async def test_the_end_of_a_process_is_waited_for(child: subprocess.Popen[bytes]) -> None:
    """By the event loop and by a thread."""
    assert child.stdin is not None
    waiting = asyncio.create_task(process_end.ended(child.pid))
    blocked = asyncio.create_task(asyncio.to_thread(process_end.ended_within, child.pid, 600.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    child.stdin.close()
    await waiting
    assert await blocked


def test_a_process_that_was_reaped_has_ended(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    assert process_end.ended_within(child.pid, 600.0)
    asyncio.run(process_end.ended(child.pid))
