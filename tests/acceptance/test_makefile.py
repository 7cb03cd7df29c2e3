"""`make`: what a person sees who has a wrong Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance

_MAKEFILE = Path(__file__).parents[2] / "Makefile"


@pytest.mark.parametrize(
    ("python", "said"),
    [("no-such-python", "There is no no-such-python."), ("./old", "./old is Python 3.9.2, and smartmob needs")],
)
def test_a_wrong_python_is_told_before_anything_is_made(python: str, said: str, tmp_path: Path) -> None:
    """One sentence says what is wrong and what to type, and no folder is left that a right Python would meet."""
    shutil.copy(_MAKEFILE, tmp_path / "Makefile")
    (tmp_path / "pyproject.toml").touch()
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "run", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert said in done.stderr
    assert "PYTHON=python3.12 make run" in done.stderr
    assert not (tmp_path / ".venv").exists()
