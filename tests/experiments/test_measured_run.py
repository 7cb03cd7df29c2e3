"""Runs of one side: a suite, a program, and what neither can do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from smartmob.errors import InvalidInput
from smartmob.experiments.measured_run import COMMAND, MeasuredRuns, RunPlan
from smartmob.experiments.sides import Side, probe
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner
from tests.acceptance.installed import python_with_pytest
from tests.experiments.suites import write_suite
from tests.waiting import SECONDS, until


@pytest.fixture(name="spawner")
async def _spawner() -> AsyncIterator[Spawner]:
    tasks = TaskRegistry()
    spawner = Spawner(tasks)
    yield spawner
    await spawner.close()
    await tasks.close()


def _runs(spawner: Spawner, folder: Path, *words: str) -> MeasuredRuns:
    folder.mkdir()
    return MeasuredRuns(spawner, folder, words)


async def test_a_suite_is_run_without_traces(spawner: Spawner, tmp_path: Path) -> None:
    """Its tests are measured with the modules of the side, and nothing is written into its folder."""
    side = Side("one", "folder", write_suite(tmp_path / "one"), python=probe(str(python_with_pytest())))
    before = sorted(side.folder.rglob("*"))
    runs = _runs(spawner, tmp_path / "runs", "test_work.py")
    tests = {"test_work.py::test_compute[1000]": 2, "test_work.py::test_fixture": 1}
    result = await runs.run(side, RunPlan(7, tests, ("test_work.py",)))
    assert {name: len(measure.wall) for name, measure in result.measures.items()} == tests
    assert result.modules == {"work": str(side.folder / "work.py")}
    assert result.status == 0
    assert sorted(side.folder.rglob("*")) == before
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"plugin", "bytecode"}


async def test_modules_are_compiled_once(spawner: Spawner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytecode is kept for the next runs, even where the user wants none beside the sources."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    side = Side("one", "folder", write_suite(tmp_path / "one"), python=probe(str(python_with_pytest())))
    runs = _runs(spawner, tmp_path / "runs")
    await runs.run(side, RunPlan(7))
    compiled = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "bytecode").rglob("*.pyc")}
    assert {"work", "test_work", "argparse"} <= {path.name.partition(".")[0] for path in compiled}
    await runs.run(side, RunPlan(8))
    assert compiled == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "bytecode").rglob("*.pyc")}


async def test_a_run_has_the_priority_of_the_experiment(spawner: Spawner, tmp_path: Path) -> None:
    """It is set as soon as the process runs; a higher value stands for the lower one of an administrator."""
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "test_it.py").write_text(
        "import os, time\n\ndef test_it():\n"
        "    while os.getpriority(os.PRIO_PROCESS, 0) != 7:\n        time.sleep(0.01)\n"
    )
    (tmp_path / "runs").mkdir()
    runs = MeasuredRuns(spawner, tmp_path / "runs", (), priority=7)
    side = Side("one", "folder", folder, python=probe(str(python_with_pytest())))
    async with asyncio.timeout(SECONDS):
        result = await runs.run(side, RunPlan(1))
    assert result.measures["test_it.py::test_it"].outcome == "passed", result.output


async def test_options_of_the_project_stop_nothing(spawner: Spawner, tmp_path: Path) -> None:
    """A project that runs failed tests first and stops at a failure has its tests measured, and gets no cache.

    The file of its options is found in a folder above as well, and what it leaves out is left out.
    """
    folder = write_suite(tmp_path / "one")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --ff -x --deselect test_work.py::test_waits\n")
    (folder / "test_a.py").write_text("def test_fails_first(): assert False\n")
    before = sorted(folder.rglob("*"))
    result = await _runs(spawner, tmp_path / "runs").run(
        Side("one", "folder", folder, python=probe(str(python_with_pytest()))),
        RunPlan(1, {"test_work.py::test_fixture": 1}),
    )
    assert (result.status, list(result.measures)) == (0, ["test_work.py::test_fixture"]), result.output
    result = await _runs(spawner, tmp_path / "more").run(
        Side("one", "folder", folder, python=probe(str(python_with_pytest()))), RunPlan(1)
    )
    assert len(result.measures) == 8, result.output
    assert sorted(folder.rglob("*")) == before


async def test_plugins_that_the_project_has_switched_off_stop_nothing(spawner: Spawner, tmp_path: Path) -> None:
    """Options for a plugin are left out where the project has switched it off, and its tests are measured."""
    folder = write_suite(tmp_path / "one")
    side = Side("one", "folder", folder, python=probe(str(python_with_pytest("pytest-xdist", "pytest-randomly"))))
    assert side.python is not None
    assert side.python.modules >= {"xdist", "pytest_randomly"}
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:xdist -p no:randomly -p no:cov\n")
    result = await _runs(spawner, tmp_path / "runs").run(side, RunPlan(1, {"test_work.py::test_fixture": 1}))
    assert (result.status, list(result.measures)) == (0, ["test_work.py::test_fixture"]), result.output
    with pytest.raises(InvalidInput, match="unrecognized arguments: --dist"):
        await _runs(spawner, tmp_path / "more", "--dist", "loadfile").run(side, RunPlan(1))


async def test_a_test_that_ends_the_process_is_named(spawner: Spawner, tmp_path: Path) -> None:
    """The exit code alone does not tell that later tests did not run, as after `os._exit(0)`."""
    folder = tmp_path / "one"
    folder.mkdir()
    side = Side("one", "folder", folder, python=probe(str(python_with_pytest())))
    text = "import os, signal\n\ndef test_good(): pass\n\ndef test_ends(): {}\n\ndef test_later(): pass\n"
    ends = {
        "pass": None,
        "os._exit(0)": "the process ended (with 0) in test_it.py::test_ends, so 1 later test did not run",
        "os.kill(os.getpid(), signal.SIGSEGV)": "the process ended (SIGSEGV) in test_it.py::test_ends, so 1 later test "
        "did not run",
    }
    runs = _runs(spawner, tmp_path / "runs")
    for number, (call, said) in enumerate(ends.items()):
        (folder / "test_it.py").write_text(text.format(call) + f"# {'x' * number}\n")
        result = await runs.run(side, RunPlan(1))
        assert result.early_end() == said
        assert (await runs.run(side, RunPlan(1, {"test_it.py::test_good": 1}))).early_end() is None


async def test_a_test_that_hangs_is_known_when_its_run_is_ended(spawner: Spawner, tmp_path: Path) -> None:
    """So people see which one has used up the time."""
    folder, began = tmp_path / "one", tmp_path / "began"
    folder.mkdir()
    (folder / "test_it.py").write_text(
        "import pathlib, time\n\ndef test_good(): pass\n\n"
        f"def test_hangs():\n    pathlib.Path({str(began)!r}).touch()\n    time.sleep(1000)\n"
    )
    side = Side("one", "folder", folder, python=probe(str(python_with_pytest())))
    runs = _runs(spawner, tmp_path / "runs")
    running = asyncio.create_task(runs.run(side, RunPlan(1)))
    await until(began.exists)
    running.cancel()
    await asyncio.wait([running])
    assert runs.stopped_in == "test_it.py::test_hangs"


async def test_benchmarks_of_codspeed_are_not_repeated(
    spawner: Spawner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable that has them measured by their own plugin is not set in a run of tests, and is for a program."""
    monkeypatch.setenv("CODSPEED_ENV", "1")
    (tmp_path / "test_it.py").write_text("import os\n\ndef test_it(): assert 'CODSPEED_ENV' not in os.environ\n")
    side = Side("one", "folder", tmp_path, python=probe(str(python_with_pytest())))
    program = Side("two", "command", tmp_path, command=("sh", "-c", '[ "$CODSPEED_ENV" = 1 ]'))
    runs = _runs(spawner, tmp_path / "runs", "test_it.py")
    assert (await runs.run(side, RunPlan(1))).measures["test_it.py::test_it"].outcome == "passed"
    assert (await runs.run(program, RunPlan(1))).status == 0


async def test_a_run_that_is_ended_returns_the_tests_before(spawner: Spawner, tmp_path: Path) -> None:
    """A run of some tests that takes longer than its plan allows returns those that were measured."""
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "test_it.py").write_text("import time\n\ndef test_good(): pass\n\ndef test_hangs(): time.sleep(10_000)\n")
    side = Side("one", "folder", folder, python=probe(str(python_with_pytest())))
    runs = _runs(spawner, tmp_path / "runs")
    tests = {"test_it.py::test_good": 1, "test_it.py::test_hangs": 1}
    seconds = [0.0, *(2.0**power for power in range(10))]  # a busy machine needs the later ones
    results = [await runs.run(side, RunPlan(1, tests, seconds=seconds[0]))]
    while not results[-1].measures:
        results.append(await runs.run(side, RunPlan(1, tests, seconds=seconds[len(results)])))
    assert {result.status for result in results} == {None}
    assert set(results[-1].measures) == {"test_it.py::test_good"}
    assert not results[0].measures


async def test_a_suite_that_cannot_be_run(spawner: Spawner, tmp_path: Path) -> None:
    """The message has the last lines of pytest."""
    folder = write_suite(tmp_path / "one")
    side = Side("one", "folder", folder, python=probe(str(python_with_pytest())))
    with pytest.raises(InvalidInput, match=r"cannot be run:\n(?s:.)*no-such-option"):
        await _runs(spawner, tmp_path / "runs", "--no-such-option").run(side, RunPlan(1))


async def test_a_program_is_measured_with_its_processes(spawner: Spawner, tmp_path: Path) -> None:
    """Time, processor time and memory are of all of it; what it leaves behind is ended."""
    script = "import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True); x = b'x' * 50_000_000"
    side = Side("x", "command", tmp_path, command=(sys.executable, "-c", script))
    result = await _runs(spawner, tmp_path / "runs").run(side, RunPlan(1))
    measure = result.measures[COMMAND]
    assert measure.outcome == "passed"
    assert measure.wall[0] > 0 < measure.cpu[0]
    assert measure.memory is not None
    assert measure.memory > 50_000_000

    def ended() -> bool:
        return not [child for child in psutil.Process().children(recursive=True) if child.name() == "sleep"]

    assert await until(ended)


async def test_a_program_that_fails(spawner: Spawner, tmp_path: Path) -> None:
    """Its exit status is a failure, so that it is not compared."""
    side = Side("x", "command", tmp_path, command=("false",))
    result = await _runs(spawner, tmp_path / "runs").run(side, RunPlan(1))
    assert result.measures[COMMAND].outcome == "failed"
