"""Fixtures of the acceptance tests: a small disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


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
