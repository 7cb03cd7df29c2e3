"""Measuring the resource use of processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from smartmob.processes.sampler import ProcessSampler
from tests.waiting import until

BUSY = "import os, time\nos.fork()\nx = bytearray(20_000_000)\nwhile True: pass"


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True)
    yield process
    subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
    process.wait()


async def test_a_sample_covers_the_whole_process_tree(busy: subprocess.Popen[bytes]) -> None:
    """It has the CPU use since the previous sample, the memory, and the number of processes."""
    sampler, moment = ProcessSampler(), 0.0
    assert sampler.sample({"a": busy.pid}, moment)["a"].cpu_percent == 0

    def used() -> bool:
        nonlocal moment
        moment += 0.001
        sample = sampler.sample({"a": busy.pid}, moment).get("a")
        return sample is not None and sample.cpu_percent > 0 and sample.processes == 2 and sample.memory > 40_000_000

    await until(used)


def test_an_ended_process_has_no_sample() -> None:
    """The samples of the others are not affected."""
    process = subprocess.Popen(["true"])
    process.wait()
    sampler = ProcessSampler()
    samples = sampler.sample({"gone": process.pid, "own": os.getpid()}, 1.0)
    assert list(samples) == ["own"]
