"""Fixtures of the acceptance tests: folders in memory, and a small disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shared import folder_of_files


@pytest.fixture(name="tmp_path")
def _tmp_path() -> Iterator[Path]:
    """Return a folder for the test. Most of these tests put the data directory of a service there."""
    folder = Path(tempfile.mkdtemp(prefix="smartmob-test-", dir=folder_of_files()))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(name="small_disk")
def _small_disk(reachable_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of 256 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = reachable_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256m,mode=711", "tmpfs", folder]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this container may not mount a small file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
