"""The compilation of the modules of the tests before a run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.compiling import compile_modules, stale

_MODULES = 41
"""One more than are left to the workers."""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a package of modules without bytecode, of which one fails and one ends its process."""
    folder = tmp_path / "compiled_here"
    folder.mkdir()
    for number in range(_MODULES):
        (folder / f"module_{number:02}.py").write_text(f"NUMBER = {number}\n")
    (folder / "module_00.py").write_text("raise ValueError\n")
    (folder / "module_01.py").write_text("raise SystemExit(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return folder


# A worker has threads, unlike the process that starts the workers; the children use nothing that these could hold.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_modules_are_compiled_once_until_they_change(folder: Path) -> None:
    """All modules are compiled, also those that fail, none is imported here, and only a changed one is stale again."""
    names = stale(folder)
    assert names == [f"compiled_here.module_{number:02}" for number in range(_MODULES)]
    compile_modules(names)
    assert stale(folder) == []
    assert not sys.modules.keys() & set(names)
    changed = folder / "module_05.py"
    later = changed.stat().st_mtime + 3600
    changed.write_text("NUMBER = -5\n")
    os.utime(changed, (later, later))
    assert stale(folder) == ["compiled_here.module_05"]


def test_a_few_modules_are_left_to_the_workers(folder: Path) -> None:
    """Nothing is compiled for as few modules as a developer changes between two runs."""
    names = stale(folder)
    compile_modules(names[1:])
    assert stale(folder) == names
