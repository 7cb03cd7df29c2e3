"""Runs one side once, in a fresh process that ends with all its descendants, and returns what it measured."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

import smartmob
from smartmob.counts import counted
from smartmob.environment import inherited
from smartmob.errors import InvalidInput
from smartmob.experiments import instruction_counts, measuring_machine
from smartmob.experiments.git_repository import without_repository
from smartmob.experiments.model import Measure
from smartmob.experiments.sides import Interpreter, Side
from smartmob.kernel.subprocesses.child import Exit
from smartmob.kernel.subprocesses.spawner import Spawner

COMMAND = "command"
"""The name of the only measure of a command that is not a test suite."""

_PLUGIN = "smartmob_measures"
_DUMPS_SECONDS = 1.0
"""Seconds between two searches for dumps of Valgrind, which take some 100 KiB of disk for each call."""
_KEPT_OUTPUT_BYTES = 16 * 1024
_SHOWN_LINES = 20
ENDS_OF_PYTEST = (0, 1, 5)
"""Exit codes of pytest after it has run: all passed, some failed, there were none."""
_OPTIONS = ("-q", "-p", "no:smartmob-measures", "-p", _PLUGIN, "--tb=line", "--maxfail", "0")
_START = (
    "import sys; sys.path[:1] = [] if sys.path[:1] == [''] else sys.path[:1]; "
    "import pytest; raise SystemExit(int(pytest.main()))"
)
"""Runs pytest without the current folder on the module search path: its modules would hide those of a wheel."""


class RunPlan(msgspec.Struct, frozen=True):
    """The task of one run: the tests with their number of calls, or None for all, and the seed of hashes.

    `under_valgrind` asks for a count of instructions, by the processor's counters if it has some. `slower` is the share
    by which each call is made longer, to test which changes can be found. `processor` replaces the processor of all
    runs. Without `tests`, each test is called `calls` times. `memory` are the tests whose memory is measured. After
    `seconds` the run is ended, and its result has the tests that were measured until then.
    """

    seed: int
    tests: Mapping[str, int] | None = None
    files: Sequence[str] = ()
    under_valgrind: bool = False
    slower: float = 0.0
    processor: int | None = None
    calls: int = 1
    memory: Sequence[str] = ()
    seconds: float | None = None


class RunResult(msgspec.Struct):
    """The result of a run. `status` is that of pytest, None if it was ended early; `modules` are the files of the
    side's modules.

    `collected` are the tests with which a run of all tests began, in their order, after `start_seconds` of
    the processor.
    """

    status: int | None
    exit: Exit | None = None
    ended_ns: int = 0
    start_seconds: float = 0.0
    measures: dict[str, Measure] = msgspec.field(default_factory=dict)
    modules: dict[str, str | None] = msgspec.field(default_factory=dict)
    counts: dict[str, list[int]] = msgspec.field(default_factory=dict)
    output: str = ""
    collected: Sequence[str] = ()

    def early_end(self) -> str | None:
        """Return the test in which the process ended early, with the number of tests after it, as a text; or None."""
        missing = [name for name in self.collected if name not in self.measures]
        if not missing:
            return None
        how = (
            signal.Signals(-self.status).name if self.status is not None and self.status < 0 else f"with {self.status}"
        )
        later = f", so {counted(len(missing) - 1, 'later test')} did not run" if len(missing) > 1 else ""
        return f"the process ended ({how}) in {missing[0]}{later}"


class MeasuredRuns:
    """Runs sides. `words` are arguments of pytest; `processor` and `priority` are for the processes."""

    def __init__(
        self,
        spawner: Spawner,
        folder: Path,
        words: Sequence[str],
        *,
        processor: int | None = None,
        priority: int | None = None,
    ) -> None:
        self._spawner = spawner
        self._folder = folder
        self._words = list(words)
        self._processor, self._priority = processor, priority
        self._number = 0
        self.stopped_in: str | None = None
        """The test that was running when a run of all tests was cancelled."""
        self.by_hardware = measuring_machine.has_counters()
        plugins = folder / "plugin"
        plugins.mkdir()
        shutil.copy(Path(smartmob.__file__).with_name("pytest_measures.py"), plugins / f"{_PLUGIN}.py")

    async def run(self, side: Side, plan: RunPlan) -> RunResult:
        """Run a side as the plan says.

        Raises InvalidInput when a run of all tests yields none, because pytest could not run them.
        """
        if side.command:
            return await self._run_command(side, plan)
        assert side.python is not None
        self._number += 1
        under_valgrind = plan.under_valgrind and not self.by_hardware
        # Paths of both sides have the same length, because tests also compute with the texts of paths.
        folder = self._folder / f"run-{self._number:06d}"
        folder.mkdir()
        optional = _options_of_plugins(side.python, plan)
        (folder / "plan.json").write_bytes(
            msgspec.json.encode(
                {
                    "tests": plan.tests,
                    "calls": plan.calls,
                    "memory": plan.memory,
                    "modules": side.modules(),
                    "instructions": under_valgrind,
                    "hardware": plan.under_valgrind and self.by_hardware,
                    "slower": plan.slower,
                    "plain": True,
                    "optional": optional,
                    "processor": None if under_valgrind else self._processor_of(plan),
                }
            )
        )
        argv = [side.python.path, "-c", _START, *_OPTIONS, *optional]
        argv += ["--rootdir", str(side.folder), "-o", f"cache_dir={folder}/cache", *(plan.files or self._words)]
        # Each option is one word: until pytest knows the options of plugins, it takes a word that is a path for a
        # folder of tests, and looks for its configuration there.
        argv += [f"--measures={folder / 'measures'}", f"--measures-plan={folder / 'plan.json'}"]
        if under_valgrind:
            argv = ["valgrind", *valgrind_options(folder), *argv]
        dumps: dict[str, int] = {}
        reading = asyncio.get_running_loop().create_task(_take_dumps_meanwhile(folder, dumps))
        try:
            result = await self._execute(argv, side, plan, None if under_valgrind else self._priority)
        except asyncio.CancelledError:
            stopped = RunResult(None)
            self._read(folder, stopped, dumps)
            self.stopped_in = next((name for name in stopped.collected if name not in stopped.measures), None)
            raise
        finally:
            reading.cancel()
        _take_dumps(folder, dumps)
        self._read(folder, result, dumps)
        shutil.rmtree(folder)
        # In a later run, a crash costs only its pair.
        if plan.tests is None and not result.measures and result.status not in ENDS_OF_PYTEST:
            raise InvalidInput(f"the tests of {side.given} cannot be run:\n{result.output}")
        return result

    async def _run_command(self, side: Side, plan: RunPlan) -> RunResult:
        """Run a program once; its only measure is of the whole program. A status other than 0 is a failure."""
        began = time.perf_counter_ns()
        result = await self._execute(side.command, side, plan)
        assert result.exit is not None
        spent = int((result.exit.user_time + result.exit.system_time) * 1e9)
        outcome = "passed" if result.status == 0 else "failed"
        wall, memory = [result.ended_ns - began], result.exit.max_memory
        result.measures[COMMAND] = Measure(COMMAND, outcome, wall=wall, cpu=[spent], queue=[0], memory=memory)
        return result

    def _processor_of(self, plan: RunPlan) -> int | None:
        return self._processor if plan.processor is None else plan.processor

    @property
    def selects_by_files(self) -> bool:
        """Return whether the arguments of pytest name only paths of tests, so that files can replace them."""
        return not any(word.startswith("-") for word in self._words)

    async def _execute(self, argv: Sequence[str], side: Side, plan: RunPlan, priority: int | None = None) -> RunResult:
        written = bytearray()

        def keep(data: bytes) -> None:
            written.extend(data)
            del written[:-_KEPT_OUTPUT_BYTES]

        child, pipes = await self._spawner.spawn_with_output(argv, self._variables(side, plan), side.folder, keep)
        end = None
        try:
            if priority is not None:
                await child.started()
                measuring_machine.set_priority(child.pid, priority)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(plan.seconds):
                    end = await child.exited()
            ended_ns = time.perf_counter_ns()
        finally:
            # No program that a test has started may run on beside the next run.
            child.kill()
            await asyncio.shield(child.gone())
            for pipe in pipes:
                self._spawner.pipe_reader.drain(pipe)
                self._spawner.pipe_reader.close(pipe)
        lines = written.decode(errors="replace").splitlines()[-_SHOWN_LINES:]
        return RunResult(None if end is None else end.status, end, ended_ns, output="\n".join(lines))

    def _variables(self, side: Side, plan: RunPlan) -> dict[str, str]:
        """Return the environment of a run."""
        variables = without_repository(inherited())
        if not side.command:
            variables.pop("CODSPEED_ENV", None)  # it would repeat benchmarks as the option --codspeed does
        own = [str(self._folder / "plugin"), *map(str, side.import_path)]
        before = variables.get("PYTHONPATH", "")
        return variables | {
            "PYTHONPATH": ":".join([*own, before] if before else own),
            "PYTHONHASHSEED": str(plan.seed),
            # Nothing is written into the folders of the user. Both sides share the bytecode of what both import.
            # Images of containers often say that none is written: then each run would compile all modules again.
            "PYTHONPYCACHEPREFIX": str(self._folder / "bytecode"),
            "PYTHONDONTWRITEBYTECODE": "",
        }

    def _read(self, folder: Path, result: RunResult, dumps: Mapping[str, int]) -> None:
        """Read the output of the plugin; an incomplete line is left out. `dumps` are counts by label."""
        lines = (folder / "measures").read_bytes().splitlines() if (folder / "measures").exists() else []
        for line in lines:
            try:
                found: Any = msgspec.json.decode(line)
                if "session" in found:
                    result.modules = found["session"]["modules"]
                elif "collected" in found:
                    result.collected = found["collected"]
                    result.start_seconds = found["start"]
                else:
                    measure = msgspec.convert(found, Measure)
                    result.measures[measure.test] = measure
            except msgspec.DecodeError:
                continue
        for name, measure in result.measures.items():
            if measure.outcome == "passed" and measure.instructions and min(measure.instructions) > 0:
                result.counts[name] = measure.instructions[1:] or measure.instructions
        for name, measure in result.measures.items():
            labelled = [dumps[label] for label in measure.counts if label in dumps]
            if measure.outcome == "passed" and len(labelled) == len(measure.counts) > 0:
                result.counts[name] = labelled


async def _take_dumps_meanwhile(folder: Path, found: dict[str, int]) -> None:
    while True:
        await asyncio.sleep(_DUMPS_SECONDS)
        _take_dumps(folder, found)


def _take_dumps(folder: Path, found: dict[str, int]) -> None:
    """Add the complete dumps of Valgrind in a folder to those that were found, by label, and remove their files."""
    for path in folder.glob("counts*"):
        dump = instruction_counts.parsed(path.read_bytes())
        if dump is not None:
            found[dump[0]] = dump[1]
            path.unlink()


def _options_of_plugins(python: Interpreter, plan: RunPlan) -> list[str]:
    """Return options of one word each, which make the installed plugins not distort the measures.

    The project may have switched a plugin off; then `pytest_measures` takes its options out of the command line.
    """
    known = {
        "pytest_cov": ["--no-cov"],
        "xdist": ["-n0"],
        # Plugins that are switched off as a whole would not know their options in `addopts`.
        "pytest_randomly": ["--randomly-dont-reorganize", f"--randomly-seed={plan.seed}"],
        "random_order": ["--random-order-bucket=none"],
        "pytest_timeout": ["--timeout=0"] if plan.under_valgrind else [],
    }
    return [word for name, words in known.items() if name in python.modules for word in words]


def can_count() -> bool:
    """Return whether instructions can be counted here: by the processor, or by Valgrind on x86-64."""
    return measuring_machine.has_counters() or has_valgrind()


def has_valgrind() -> bool:
    """Return whether Valgrind can count instructions here."""
    return shutil.which("valgrind") is not None and platform.machine() in ("x86_64", "AMD64")


def valgrind_options(folder: Path) -> list[str]:
    """Return the options of Valgrind to count on request, and to write the counts into a folder."""
    options = ["-q", "--vgdb=no", "--instr-atstart=no", f"--callgrind-out-file={folder}/counts"]
    return ["--tool=callgrind", *options, f"--log-file={folder}/log"]
