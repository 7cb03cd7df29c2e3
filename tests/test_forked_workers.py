"""Workers of a run that are forked from a process with all its tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import execnet
import pytest

from tests import forked_workers
from tests.shared import SHARED

_REPORT = """
import os, sys
import tests.test_scale
module = sys.modules["tests.test_scale"]
at_import = module.__spec__.loader.__class__.__name__, "tests.test_tally" in sys.modules
channel.send((at_import, sys.argv, os.getcwd(), os.environ["SMARTMOB_TEST_WORD"], os.getpid()))
"""


def _specs(*texts: str) -> list[Any]:
    return [execnet.XSpec(text) for text in texts]


def _fork_workers(specs: list[Any]) -> None:
    paths = ["tests/test_scale.py", "tests/test_tally.py"]
    forked_workers.fork_workers(cast("pytest.Config", SimpleNamespace(args=paths)), specs)


def test_workers_have_the_tests_and_what_each_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a process of its own with its variables; the modules of tests are there, as pytest has written them."""
    monkeypatch.setenv(SHARED, str(tmp_path))
    (tmp_path / "pid").write_text(str(os.getpid()))
    specs = _specs("popen", "popen")

    _fork_workers(specs)

    group = execnet.Group(execmodel="main_thread_only")
    pids = set()
    try:
        for spec, word in zip(specs, ("first", "second"), strict=True):
            monkeypatch.setenv("SMARTMOB_TEST_WORD", word)
            imported, argv, folder, given, pid = group.makegateway(spec).remote_exec(_REPORT).receive()
            assert imported == ("AssertionRewritingHook", True)
            assert (argv, folder, given) == (["-c"], os.getcwd(), word)
            pids.add(pid)
        assert len(pids) == 2
    finally:
        group.terminate()
        shutil.rmtree(tmp_path / "workers")  # with it the process ends


def test_workers_elsewhere_are_started_as_usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a worker on another machine, of another Python or in another folder, none of the workers is forked."""
    monkeypatch.setenv(SHARED, str(tmp_path))
    for other in ("ssh=rack7", "popen//python=python3.13", "popen//chdir=elsewhere"):
        specs = _specs("popen", other)

        _fork_workers(specs)

        assert [str(spec) for spec in specs] == ["popen", other]
        assert specs[0].python is None
        assert list(tmp_path.iterdir()) == []
