"""The folders that all processes of one run of the tests share, made before it and removed after it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

SHARED, POSTGRES = "SMARTMOB_TEST_SHARED", "SMARTMOB_TEST_POSTGRES"
"""The variables that name them: of what is made once for a run, and of its PostgreSQL server."""

_NAME = "smartmob-shared"
_MEMORY, _ENOUGH = Path("/dev/shm"), 4 * 2**30


def quick_folder() -> Path | None:
    """Return a folder in memory when there is one with enough room: each test has a database, made by copying."""
    if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ENOUGH:
        return _MEMORY
    return None


class Shared:
    """Makes the folders, and removes them."""

    def __init__(self) -> None:
        os.environ[SHARED] = tempfile.mkdtemp(prefix="smartmob-test-")
        os.environ[POSTGRES] = tempfile.mkdtemp(prefix="smartmob-test-", dir=quick_folder())

    def pytest_unconfigure(self) -> None:
        """Stop the server of this run, if a test wanted it, and remove the folders."""
        postgres = Path(os.environ[POSTGRES])
        try:
            os.kill(int((postgres / "home" / "cluster" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        except (OSError, ValueError):
            pass
        for folder in (postgres, os.environ[SHARED]):
            shutil.rmtree(folder, ignore_errors=True)


def share(config: pytest.Config) -> None:
    """Make the folders once in a run: tests and the examples of the documentation are run together, or alone."""
    if not hasattr(config, "workerinput") and not config.pluginmanager.has_plugin(_NAME):
        config.pluginmanager.register(Shared(), _NAME)
