"""The workers of a run, forked from a process that has imported all its tests once.

Half of the processor time in which a worker collects the tests is for importing them, and what they import. So the run
starts one process that collects them (`tests/acceptance/fork_server.py`), and its workers are copies of that: they
collect the tests again, with their own options, but all modules are there. What is imported later, or could not be
imported, they import as usual.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import forked
from tests.shared import SHARED


def fork_workers(config: pytest.Config, specs: Sequence[Any]) -> None:
    """Let pytest-xdist start the workers of this machine as copies of a process that has imported the tests."""
    if any(not spec.popen or spec.python or spec.chdir for spec in specs):
        return
    folder, python = Path(os.environ[SHARED]) / "workers", Path(sys.executable)
    forked.write(folder, python.parent, "worker")
    forked.start(folder, python, "workers", *config.args)
    for spec in specs:
        spec.python = shlex.quote(str(folder / "bin" / "worker"))


def import_tests(paths: Sequence[str]) -> None:
    """Import all tests below the paths, with assertions as pytest writes them, by collecting them."""
    del sys.path[0]  # the folder of the program
    pytest.main(["--collect-only", "--quiet", "-p", "no:cacheprovider", *paths])


def run_worker() -> None:
    """Run the program that pytest-xdist gives to a worker as `-c PROGRAM`."""
    program = sys.argv[sys.argv.index("-c") + 1]
    sys.argv = ["-c"]
    exec(program, {"__name__": "__main__"})
