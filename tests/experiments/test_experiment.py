"""Whole experiments: with programs, and with a suite on both sides."""

from __future__ import annotations

import os
import random
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from smartmob.errors import InvalidInput
from smartmob.experiments.experiment import Experiment, ExperimentLimits, Progress
from smartmob.experiments.measured_run import COMMAND, MeasuredRuns
from smartmob.experiments.sides import Side, probe
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner
from tests.acceptance.installed import python_with_pytest
from tests.experiments.suites import WORK, write_suite

_LONG = ExperimentLimits(max_seconds=800.0, max_pairs=40)


@pytest.fixture(name="spawner")
async def _spawner() -> AsyncIterator[Spawner]:
    tasks = TaskRegistry()
    spawner = Spawner(tasks)
    yield spawner
    await spawner.close()
    await tasks.close()


def _experiment(spawner: Spawner, folder: Path, sides: tuple[Side, Side], limits: ExperimentLimits) -> Experiment:
    folder.mkdir()
    shown: list[Progress] = []
    return Experiment(
        base=sides[0],
        head=sides[1],
        runs=MeasuredRuns(spawner, folder, ()),
        limits=limits,
        witness="clock",
        can_count=False,
        random_order=random.Random(1),
        show=shown.append,
    )


async def test_a_slower_program_is_found(spawner: Spawner, tmp_path: Path) -> None:
    """A program that waits ten times as long is slower before the pairs are used up, and each block has both orders."""
    sides = (
        Side("fast", "command", tmp_path, command=("sleep", "0.02")),
        Side("slow", "command", tmp_path, command=("sleep", "0.5")),
    )
    experiment = _experiment(spawner, tmp_path / "runs", sides, _LONG)
    await experiment.run()
    report = experiment.report()
    assert report.verdict == "slower"
    (test,) = report.tests
    assert (test.name, test.verdict, test.witness) == (COMMAND, "slower", "clock")
    assert test.low is not None
    assert test.ratio is not None
    assert 1 < test.low < test.ratio
    assert report.ended == "all tests are decided"
    orders = [pair.first for pair in report.pairs]
    assert {frozenset(orders[at : at + 2]) for at in range(0, len(orders) - 1, 2)} == {frozenset(("base", "head"))}
    seeds = [pair.seed for pair in report.pairs]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.long
async def test_a_suite_on_both_sides(spawner: Spawner, tmp_path: Path) -> None:
    """Tests that pass on both sides are measured; those that do not are named, and the limit of pairs is kept."""
    python = probe(str(python_with_pytest()))
    sides = tuple(
        Side(name, "folder", write_suite(tmp_path / name, text), python=python)
        for name, text in (("one", WORK), ("two", WORK.replace("range(number)", "range(2 * number)")))
    )
    experiment = _experiment(
        spawner, tmp_path / "runs", (sides[0], sides[1]), ExperimentLimits(max_seconds=800.0, max_pairs=1)
    )
    await experiment.run()
    report = experiment.report()
    assert {test.name.partition("::")[2] for test in report.tests} == {
        *("test_compute[1000]", "test_compute[2000]", "test_fixture", "test_waits", "test_only_once"),
        "TestOld::test_old",
    }
    assert {test.pairs + test.set_aside for test in report.tests} == {1}
    assert report.ended == "the number of pairs was reached"
    assert any("test_fails" in note and "test_skipped" in note for note in report.notes)
    assert {test.verdict for test in report.tests} == {"undecided"}
    assert report.verdict == "undecided"


async def test_a_failure_costs_its_pair(spawner: Spawner, tmp_path: Path) -> None:
    """A test that fails after the warm-up has no value for the pair, which is told; the experiment goes on."""
    script = f"echo >> {tmp_path}/runs-so-far; [ $(wc -l < {tmp_path}/runs-so-far) -le 2 ]"
    side = Side("fails", "command", tmp_path, command=("sh", "-c", script))
    experiment = _experiment(spawner, tmp_path / "runs", (side, side), ExperimentLimits(max_seconds=800.0, max_pairs=2))
    await experiment.run()
    (test,) = experiment.report().tests
    assert (test.verdict, test.pairs, test.reason) == ("undecided", 0, "it failed in 2 pairs")


@pytest.mark.parametrize("name", ["inner[1]/test_one.py", "test_one::two.py"])
async def test_paths_that_pytest_takes_for_node_ids(spawner: Spawner, tmp_path: Path, name: str) -> None:
    """Tests in a file whose path cannot be an argument of pytest are measured with the arguments that were given."""
    folder = tmp_path / "one"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("def test_it():\n    pass\n")
    one = Side("one", "folder", folder, python=probe(str(python_with_pytest())))
    experiment = _experiment(spawner, tmp_path / "runs", (one, one), ExperimentLimits(max_seconds=800.0, max_pairs=1))
    await experiment.run()
    (test,) = experiment.report().tests
    assert (test.name, test.pairs + test.set_aside, test.reason) == (f"{name}::test_it", 1, "")


async def test_both_sides_of_a_duet_run_at_once(spawner: Spawner, tmp_path: Path) -> None:
    """After the warm-up one side waits for the other, which runs beside it."""
    os.mkfifo(tmp_path / "line")
    later = f"echo >> {tmp_path}/runs; [ $(wc -l < {tmp_path}/runs) -le 2 ] ||"
    scripts = [f"{later} read word < {tmp_path}/line", f"{later} echo word > {tmp_path}/line"]
    base, head = (Side(text, "command", tmp_path, command=("sh", "-c", text)) for text in scripts)
    experiment = _experiment(
        spawner, tmp_path / "folder", (base, head), ExperimentLimits(max_seconds=800.0, max_pairs=2)
    )
    experiment.duet = (0, 1)
    await experiment.run()
    (test,) = experiment.report().tests
    assert (test.pairs + test.set_aside, test.reason) == (2, "")


async def test_modules_of_another_place_are_refused(spawner: Spawner, tmp_path: Path) -> None:
    """Both sides would be measured alike if the tests imported one installed package."""
    elsewhere = write_suite(tmp_path / "elsewhere")
    side = write_suite(tmp_path / "one")
    (side / "conftest.py").write_text(f"import sys\nsys.path.insert(0, {str(elsewhere)!r})\nimport work\n")
    one = Side("one", "folder", side, python=probe(str(python_with_pytest())))
    experiment = _experiment(spawner, tmp_path / "runs", (one, one), _LONG)
    with pytest.raises(InvalidInput, match=r"import work from .*elsewhere/work\.py, not from"):
        await experiment.run()


async def test_a_wheel_behind_the_sources_is_refused(spawner: Spawner, tmp_path: Path) -> None:
    """Tests that import the modules of their folder in place of those of the wheel would measure neither wheel."""
    folder = write_suite(tmp_path / "one")
    wheel = tmp_path / "work-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("work.py", WORK)
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    (unpacked / "work.py").write_text(WORK)
    one = Side("work", "wheel", folder, wheel=wheel, python=probe(str(python_with_pytest())), unpacked=unpacked)
    with pytest.raises(InvalidInput, match=r"import work from .*one/work\.py, not from .*unpacked: run it in a folder"):
        await _experiment(spawner, tmp_path / "runs", (one, one), _LONG).run()
    (folder / "work.py").unlink()
    experiment = _experiment(
        spawner, tmp_path / "more", (one, replace(one, given="other")), replace(_LONG, max_pairs=1)
    )
    await experiment.run()
    assert len(experiment.report().tests) > 1


async def test_no_time_at_all(spawner: Spawner, tmp_path: Path) -> None:
    """When the time is up before both sides have run once, there is no report but advice."""
    side = Side("slow", "command", tmp_path, command=("sleep", "1000"))
    experiment = _experiment(spawner, tmp_path / "runs", (side, side), ExperimentLimits(max_seconds=0.2))
    with pytest.raises(InvalidInput, match="raise --max-time"):
        await experiment.run()


async def test_counting_leaves_time_for_the_clock(
    spawner: Spawner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count of instructions that does not end within its share of the time is ended; pairs follow, and it is told."""
    hangs = tmp_path / "bin" / "valgrind"
    hangs.parent.mkdir()
    hangs.write_text("#!/bin/sh\nexec sleep 10000\n")
    hangs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{hangs.parent}:{os.environ['PATH']}")
    one = Side("one", "folder", write_suite(tmp_path / "one"), python=probe(str(python_with_pytest())))
    experiment = _experiment(spawner, tmp_path / "runs", (one, one), replace(_LONG, max_pairs=1))
    experiment.witness, experiment.can_count, experiment.runs.by_hardware = "instructions", True, False
    experiment._started -= _LONG.max_seconds  # as if the time were up: the share is 0 s
    await experiment.run()
    report = experiment.report()
    assert len(report.pairs) == 1
    assert "in 0 s the instructions of one were counted for 0 of 6 tests: raise --max-time, or use --witness clock" in (
        report.notes
    )
