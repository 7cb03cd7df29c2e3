"""Compile the modules of the tests once for a run, and not once by each of its workers.

In a new clone each worker would compile a thousand modules, with the assertions that pytest rewrites, read from as many
sources the constants that Hypothesis tries, and sort all characters of Unicode for it. That takes 12 s of processor
time, and the workers begin at the same time, so that none would find what another one has compiled.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import hypothesis
import hypothesis.strategies as st

_FEW = 40
"""The modules that the workers may compile themselves: it takes less time than to fork."""
_DRAWN = 200
"""Numbers of an example: Hypothesis takes one in 20 from the constants, and reads them when it takes the first."""


def stale(folder: Path) -> list[str]:
    """Return the names of the modules below the folder that have no bytecode, or have changed since it was written."""
    names = []
    for source in sorted(folder.rglob("*.py")):
        compiled = source.parent.glob(f"__pycache__/{source.stem}.{sys.implementation.cache_tag}*.pyc")
        if max((file.stat().st_mtime for file in compiled), default=0) < source.stat().st_mtime:
            names.append(".".join(source.relative_to(folder.parent).with_suffix("").parts))
    return names


def compile_modules(names: Sequence[str]) -> None:
    """Compile the modules and what they import, in a child for each processor, by importing them there.

    One that cannot be imported is left to the worker that collects its tests and says so.
    """
    if len(names) <= _FEW:
        return
    count = len(os.sched_getaffinity(0))
    children = [_fork(names[number::count]) for number in range(count)]
    for child in children:
        os.waitpid(child, 0)


def _fork(names: Sequence[str]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        for name in names:
            _import(name)
        _read_constants()
    finally:
        os._exit(0)


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except BaseException:  # also that of pytest for a module that is skipped
        pass


def _read_constants() -> None:
    """Run a property for which Hypothesis needs the constants of all modules and the kinds of all characters.

    It keeps both for other processes.
    """

    @hypothesis.settings(max_examples=3, database=None)
    @hypothesis.given(st.lists(st.integers(), min_size=_DRAWN, max_size=_DRAWN), st.text())
    def holds(_: list[int], __: str) -> None:
        pass

    holds()
