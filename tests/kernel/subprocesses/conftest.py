"""Fixtures for the tests of children."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner
from tests.kernel.subprocesses.runs import Run


@pytest.fixture
async def spawner() -> AsyncIterator[Spawner]:
    tasks = TaskRegistry()
    spawner = Spawner(tasks)
    await spawner.start()
    yield spawner
    await spawner.close()
    await tasks.close()


@pytest.fixture
def null() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_RDWR)
    yield fd
    os.close(fd)


@pytest.fixture
def run(spawner: Spawner, tmp_path: Path, null: int) -> Run:
    return Run(spawner, tmp_path, null)
