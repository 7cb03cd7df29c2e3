"""The plugin that measures tests, in runs of pytest of their own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from smartmob import pytest_measures
from smartmob.experiments import instruction_counts
from smartmob.experiments.measured_run import can_count, valgrind_options
from smartmob.pytest_measures import HardwareCounter, InstructionCounter
from tests.experiments.suites import write_suite


def _run(folder: Path, *words: str | Path) -> tuple[int, dict[str, Any]]:
    """Run the suite of a folder; return pytest's exit code, and the lines by test, that of the session as ""."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "smartmob.pytest_measures", folder]
    variables = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run([*command, *words], cwd=folder, env=variables, capture_output=True, check=False)
    path = folder / "measures"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return done.returncode, {line.get("test", "").partition("::")[2]: line for line in lines}


def test_each_test_has_a_line(tmp_path: Path) -> None:
    """Calls are measured as often as the plan says, with new fixtures; the outcome is the worst of all calls."""
    suite = write_suite(tmp_path / "suite")
    names = ("compute[1000]", "fixture", "waits", "only_once", "skipped", "fails")
    tests = {f"test_work.py::test_{name}": 3 for name in names} | {"test_work.py::TestOld::test_old": 2}
    (suite / "plan.json").write_text(json.dumps({"tests": tests, "modules": ["work", "absent"]}))

    code, found = _run(suite, "--measures", suite / "measures", "--measures-plan", suite / "plan.json")

    assert code == 1
    outcomes = {name: line["outcome"] for name, line in found.items() if name}
    assert outcomes == {
        **dict.fromkeys(("test_compute[1000]", "test_fixture", "test_waits", "TestOld::test_old"), "passed"),
        **dict.fromkeys(("test_only_once", "test_fails"), "failed"),
        "test_skipped": "skipped",
    }
    calls = {name: len(line["wall"]) for name, line in found.items() if name}
    assert calls["test_compute[1000]"] == calls["test_fixture"] == calls["test_waits"] == 3
    assert calls["TestOld::test_old"] == 2
    waits = found["test_waits"]
    assert all(wall >= 1_000_000 > cpu for wall, cpu in zip(waits["wall"], waits["cpu"], strict=True))
    assert len(waits["setup"]) == len(waits["teardown"]) == len(waits["queue"]) == 3
    assert Path(waits["file"]) == suite / "test_work.py"
    assert found[""]["session"]["modules"] == {"work": str(suite / "work.py"), "absent": None}


def test_memory_is_measured_where_the_plan_says(tmp_path: Path) -> None:
    """The memory of the other tests is null, which keeps their run short; without a plan all are measured."""
    suite = write_suite(tmp_path / "suite")
    words = ("--measures", suite / "measures", "-k", "fixture or waits")
    _, found = _run(suite, *words)
    is_known = {name: line["memory"] is not None for name, line in found.items() if name}
    assert is_known.keys() >= {"test_fixture", "test_waits"}
    (suite / "measures").unlink()
    (suite / "plan.json").write_text(json.dumps({"memory": ["test_work.py::test_waits"]}))
    _, found = _run(suite, *words, "--measures-plan", suite / "plan.json")
    assert found["test_fixture"]["memory"] is None
    assert (found["test_waits"]["memory"] is not None) == is_known["test_waits"]


def test_tests_that_set_the_time_are_measured(tmp_path: Path) -> None:
    """A fixture that replaces the clocks of Python for its test does not replace those of the measures."""
    (tmp_path / "test_time.py").write_text(
        "import time\nimport pytest\n\n@pytest.fixture\ndef frozen(monkeypatch):\n"
        "    monkeypatch.setattr(time, 'perf_counter_ns', lambda: 7)\n"
        "    monkeypatch.setattr(time, 'thread_time_ns', lambda: 7)\n\n"
        "def test_frozen(frozen):\n    sum(range(1000))\n"
    )
    code, found = _run(tmp_path, "--measures", tmp_path / "measures")
    assert code == 0
    assert min(found["test_frozen"]["wall"]) > 0
    assert min(found["test_frozen"]["cpu"]) > 0


def test_a_search_for_garbage_does_not_grow_with_the_tests_before(tmp_path: Path) -> None:
    """The objects that pytest keeps for each test are set aside, so that thousands of tests are measured in seconds."""
    (tmp_path / "test_many.py").write_text(
        "import gc, pathlib, pytest\n\n@pytest.mark.parametrize('number', range(400))\ndef test_it(number):\n"
        "    if number in (49, 399):\n"
        "        pathlib.Path(f'seen-{number}').write_text(str(len(gc.get_objects())))\n"
    )
    code, found = _run(tmp_path, "--measures", tmp_path / "measures")
    assert (code, len(found)) == (0, 401)
    early, late = (int((tmp_path / f"seen-{number}").read_text()) for number in (49, 399))
    assert late < 2 * early


def test_without_its_option_nothing_is_measured(tmp_path: Path) -> None:
    """The suite runs as it does without the plugin, and no file is written; without a plan each test is called once."""
    suite = write_suite(tmp_path / "suite")
    assert _run(suite, "-k", "fixture") == (0, {})
    code, found = _run(suite, "-k", "only_once", "--measures", "measures")
    assert code == 0
    assert (found["test_only_once"]["outcome"], len(found["test_only_once"]["wall"])) == ("passed", 1)


def test_calls_can_be_made_longer(tmp_path: Path) -> None:
    """With the share `slower` a call that sleeps for a millisecond takes at least a half more, on the processor."""
    suite = write_suite(tmp_path / "suite")
    plan = {"tests": {"test_work.py::test_waits": 1}, "slower": 0.5}
    (suite / "plan.json").write_text(json.dumps(plan))
    _, found = _run(suite, "--measures", suite / "measures", "--measures-plan", suite / "plan.json")
    assert found["test_waits"]["wall"][0] >= 1_500_000


_LOADED = """
import importlib.util, sys, types

# Only a part of the plugin is wanted, and pytest takes long to import under Valgrind.
pytest = types.ModuleType("pytest")
pytest.hookimpl = lambda *words, **named: lambda function: function
sys.modules["pytest"] = pytest
spec = importlib.util.spec_from_file_location("measures", sys.argv[1])
measures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(measures)
"""

_COUNTING = f"""{_LOADED}
def work(number):
    for each in range(number):
        each * each

counter = measures.InstructionCounter()
for label, number in (("warm", 10000), ("one", 10000), ("again", 10000), ("twice", 20000)):
    counter.begin()
    work(number)
    counter.end(label)
"""


def test_instructions_are_counted_where_valgrind_is(tmp_path: Path) -> None:
    """Two equal calls differ by less than 0.1 %, one of twice the work by a factor of two; elsewhere it is refused."""
    command = [sys.executable, "-I", "-S", "-c", _COUNTING, str(Path(pytest_measures.__file__))]
    if can_count():
        command = ["valgrind", *valgrind_options(tmp_path), *command]
    variables = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if not can_count():
        assert "Valgrind only" in done.stderr or "x86-64 only" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    parsed = (instruction_counts.parsed(path.read_bytes()) for path in tmp_path.glob("counts*"))
    counts = dict(each for each in parsed if each is not None)
    assert set(counts) == {"warm", "one", "again", "twice"}
    assert counts["again"] == pytest.approx(counts["one"], rel=0.001)
    assert 1.8 < counts["twice"] / counts["one"] < 2.05


def test_instructions_are_refused_without_valgrind() -> None:
    """The request for the state of Valgrind changes nothing elsewhere, and its answer is no."""
    with pytest.raises(RuntimeError, match=r"Valgrind only|x86-64 only"):
        InstructionCounter()


def test_instructions_are_counted_by_the_processor_or_refused_with_the_reason() -> None:
    """Machines without counters are many; the clock of the task is an event of the same call that most kernels have."""
    software, task_clock = 1, 1  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK
    for kind, event in ((HardwareCounter.HARDWARE, HardwareCounter.INSTRUCTIONS), (software, task_clock)):
        try:
            counter = HardwareCounter(kind, event)
        except RuntimeError as error:
            assert str(error).startswith("instructions cannot be counted by the processor")  # either way
            continue
        counter.begin()
        few = sum(range(10))
        short = counter.end()
        counter.begin()
        many = sum(range(200_000))
        assert counter.end() > short >= 0
        assert few < many
        counter.close()


_GROWING = f"""{_LOADED}
peak = measures.MemoryPeak()
for grow in (lambda: bytearray(1 << 20), lambda: [bytes(100) for _ in range(8192)]):
    for _ in range(3):
        before, held = peak.before()
        grow()
        print(None if before is None else measures._status("VmHWM") - before)
        held.clear()
"""


def test_memory_that_was_used_before_is_seen_again() -> None:
    """A call that takes a mebibyte shows the most of it each time, in one piece or in small objects.

    The kernel counts pages in batches, up to 256 KiB late; without a peak there is None.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _GROWING, str(Path(pytest_measures.__file__))],
        capture_output=True,
        text=True,
        check=True,
    )
    grown = done.stdout.split()
    assert len(grown) == 6
    assert all(each == "None" or int(each) > 500_000 for each in grown), grown


def test_no_report_of_junit_is_written(tmp_path: Path) -> None:
    """A run for measures would write that of the project's configuration into the folder of the user."""
    suite = write_suite(tmp_path / "suite")
    (suite / "pytest.ini").write_text("[pytest]\naddopts = --junitxml=report.xml -k fixture\n")
    assert _run(suite)[0] == 0
    assert (suite / "report.xml").exists()
    (suite / "report.xml").unlink()
    (suite / "plan.json").write_text(json.dumps({"plain": True}))
    code, found = _run(suite, "--measures", suite / "measures", "--measures-plan", suite / "plan.json")
    assert (code, set(found)) == (0, {"test_fixture", ""})
    assert not (suite / "report.xml").exists()


def test_benchmarks_are_plain_whatever_the_project_configures(tmp_path: Path) -> None:
    """They run once, also with --benchmark-enable, --codspeed, or --benchmark-skip and -only, and keep no files."""
    option = argparse.Namespace(
        xmlpath=None,
        codspeed=True,
        benchmark_only=True,
        benchmark_skip=True,
        benchmark_enable=True,
        benchmark_disable=False,
        benchmark_storage=".",
    )
    pytest_measures._make_plain(option, str(tmp_path))
    assert vars(option) == {
        "xmlpath": None,
        "codspeed": False,
        "benchmark_only": False,
        "benchmark_skip": False,
        "benchmark_enable": False,
        "benchmark_disable": True,
        "benchmark_storage": str(tmp_path / "benchmarks"),
    }


def test_fixtures_that_set_the_clock_have_their_own_time(tmp_path: Path) -> None:
    """A fixture that replaces the clock of pytest, as libraries for frozen time do, does not seem to take years."""
    suite = write_suite(tmp_path / "suite")
    (suite / "test_frozen.py").write_text(
        "import time, pytest, _pytest.timing\n\n"
        "@pytest.fixture\ndef frozen(monkeypatch):\n"
        "    for name in ('time', 'perf_counter'):\n"
        "        monkeypatch.setattr(time, name, lambda: 4e9)\n"
        "        monkeypatch.setattr(_pytest.timing, name, lambda: 4e9)\n\n"
        "def test_frozen(frozen): assert time.time() == 4e9\n"
    )
    code, found = _run(suite, "--measures", suite / "measures", "-k", "frozen")
    assert code == 0
    (setup,), (teardown,) = found["test_frozen"]["setup"], found["test_frozen"]["teardown"]
    assert 0 < setup < 1e9 * 1e6 > teardown > 0
