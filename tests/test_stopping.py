"""Benchmarks that are stopped leave nothing behind."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks import stopping
from tests.waiting import SECONDS, until

ROOT = Path(__file__).parent.parent
_PARTS = {"bare", "bare_commit", "bare_echo", "frames", "idle_node", "turret_bare", "turret_sender", "viewers", "scale"}
"""Programs that a benchmark starts and stops, and one that only computes."""


def _started(main: int) -> list[psutil.Process]:
    return psutil.Process(main).children(recursive=True)


@pytest.mark.parametrize("words", [("benchmarks.startup",), ("benchmarks", "--quick", "--only", "hosts")])
async def test_a_terminated_benchmark_stops_its_service(words: tuple[str, ...]) -> None:
    """Also where one program runs another one, which has the service."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *words, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )

    async def served() -> bool:
        assert process.returncode is None
        names = [each.name() for each in _started(process.pid)]
        return "postgres" in names

    await until(served)
    started = _started(process.pid)
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), SECONDS)
    _, left = await asyncio.to_thread(psutil.wait_procs, started, SECONDS)

    assert left == []
    assert b"Stopped; nothing that was started is left." in errors, errors
    assert process.returncode == stopping.STOPPED


def test_all_benchmarks_heed_signals() -> None:
    """Each program of its own calls its main function by `stopping.run`."""
    programs = {path.stem: path.read_text() for path in (ROOT / "benchmarks").glob("*.py")}
    mains = {name for name, text in programs.items() if '__name__ == "__main__"' in text}

    assert {name for name in mains if "stopping.run(" not in programs[name]} == _PARTS
    assert not [name for name, text in programs.items() if re.search(r"sys\.exit\(main\(", text) and name != "scale"]
