"""The way of a newcomer: the commands of the README and the quickstart, from a clone to the first stored measures."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import free_ports
from tests.acceptance.commands import environment
from tests.acceptance.installed import ROOT
from tests.acceptance.wheels import wheels
from tests.processes.commands import lay_quick_python

pytestmark = [pytest.mark.acceptance, pytest.mark.long, pytest.mark.timeout(3000)]

_TYPED = ("cd smartmob\nmake run ", "python3 -m venv suite-env\n", "suite-env/bin/pip install '../smartmob[suite]'")
"""Lines of the pages that the test types."""

Reached = Callable[[str], None]


@pytest.fixture(name="reached")
def _reached(record_property: Callable[[str, object], None]) -> Reached:
    """Return a function that notes the seconds since the call before; the end of the run prints them."""
    before = time.monotonic()

    def note(stage: str) -> None:
        nonlocal before
        now = time.monotonic()
        record_property(f"first value: {stage}", f"{now - before:.1f} s")
        before = now

    return note


def _variables(folder: Path) -> dict[str, str]:
    """Return the environment of a person who has just come: an empty home, and an index with the packages of this run.

    That pip finds them on the index of this machine was seen when the environment of the tests was made.
    """
    (folder / "home").mkdir()
    further = {"HOME": str(folder / "home"), "SMARTMOB_DATA_DIR": str(folder / "data")}
    # Half of the processor time of pip would go into the bytecode of modules that are never imported.
    further |= {"PIP_NO_COMPILE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    further |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels("server"))}
    found = environment(**further)
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "XDG_DATA_HOME"):
        found.pop(name, None)
    return found


def _clone(folder: Path) -> None:
    """Clone the checkout, or copy it where it has no history or belongs to another user, whose clones git refuses."""
    cloned = (ROOT / ".git").exists() and subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=False)
    if not cloned or cloned.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", ".venv", ".cache", "__pycache__"))


@contextmanager
def _make_run(clone: Path, port: int, variables: dict[str, str], reached: Reached) -> Iterator[None]:
    """Run `make run` until the end of the block, which begins when the service has said its address."""
    arguments = ["make", "run", f"PORT={port}", f"PYTHON={sys._base_executable}"]  # type: ignore[attr-defined] - of CPython
    with subprocess.Popen(
        arguments, cwd=clone, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as make:  # fmt: skip
        assert make.stdout is not None
        said = []
        try:
            for line in make.stdout:
                said.append(line)
                if line.startswith("2/2"):
                    reached("environment")
                elif "database.started" in line:
                    reached("packages and database")
                elif "event=bind" in line:
                    break
            else:
                pytest.fail("".join(said))
            yield
        finally:
            os.killpg(make.pid, signal.SIGINT)
            make.communicate()


def test_the_first_measures_after_a_clone(reachable_path: Path, reached: Reached) -> None:
    """Each command is typed as it stands there, and the table of runs has the suite."""
    pages = (ROOT / "README.md").read_text("utf-8") + (ROOT / "docs/quickstart/index.md").read_text("utf-8")
    for line in _TYPED:
        assert line in pages
    clone, suite = reachable_path / "smartmob", reachable_path / "words"
    variables = _variables(reachable_path)
    _clone(clone)
    reached("clone")
    shutil.copytree(clone / "examples" / "measure_a_suite", suite)
    port = free_ports.free_block()

    def run(*words: str | Path) -> str:
        done = subprocess.run(words, cwd=suite, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with _make_run(clone, port, variables, reached):
        reached("start")
        # One like it has just been made by `make run`, which is half of the processor time of an installation.
        run(lay_quick_python(reachable_path / "quick", "python3") / "python3", "-m", "venv", "suite-env")
        run(suite / "suite-env/bin/pip", "install", "--quiet", "../smartmob[suite]")
        reached("environment of the suite")
        bin_folder = suite / "suite-env" / "bin"
        assert "passed" in run(bin_folder / "pytest", "--remote-server", f"http://127.0.0.1:{port}", "--no-db")
        table = run(bin_folder / "smartmob", "tests", "ls", "--server", f"127.0.0.1:{port}")
        reached("measures")
    assert " 4 " in table
