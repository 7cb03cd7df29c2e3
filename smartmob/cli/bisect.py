"""`smartmob bisect`: the commit that made a test slower or faster, by the measurements of `smartmob ab`."""

from __future__ import annotations

import asyncio
import math
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Literal

import click
import msgspec
import platformdirs
from msgspec.structs import replace

from smartmob.cli import bisection_formats, printing
from smartmob.cli.compare import share
from smartmob.cli.durations import duration_seconds
from smartmob.cli.program_words import words_without_shell
from smartmob.cli.stopping_signals import cancelled_by_signals
from smartmob.experiments import commit_history, measuring_machine
from smartmob.experiments.bisection import Bisection
from smartmob.experiments.bisection_report import BisectionReport, BisectionStep, half_way
from smartmob.experiments.cleaner import Workplace
from smartmob.experiments.commit_environments import CommitEnvironments
from smartmob.experiments.commit_search import CommitSearch
from smartmob.experiments.experiment import Experiment, ExperimentLimits, Progress, Witness
from smartmob.experiments.measured_run import MeasuredRuns, can_count
from smartmob.experiments.model import VerdictOnTest
from smartmob.experiments.sides import Side, checked_out
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner

_INTERRUPTED = 130  # the exit code of a program that CTRL-C has ended
_FOUND = ("found", "several")


class _BisectOptions(msgspec.Struct, frozen=True):
    """The options of the command. `command` is a program to measure in place of tests."""

    good: str
    bad: str
    words: Sequence[str]
    command: tuple[str, ...]
    python: str | None
    install: Sequence[str]
    witness: Witness
    limits: ExperimentLimits
    seed: int | None
    priority: bool
    first_parent: bool
    skip: Sequence[str]


@click.command("bisect", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("good")
@click.argument("bad")
@click.argument("words", nargs=-1, metavar="TEST [PYTEST_ARGS...]")
@click.option("--command", "program", metavar="COMMAND",
              help="Measure a program, run in the folder of each commit, instead of a test.")  # fmt: skip
@click.option("--python", metavar="PATH", help="Python of an environment with the requirements of the test.")
@click.option("--install", multiple=True, metavar="WORD",
              help="Argument of `pip install` for the environments that are made; repeatable.")  # fmt: skip
@click.option("--witness", type=click.Choice(("clock", "instructions", "both")), default="both", show_default=True,
              help="Measure times, count instructions, or count only what times leave undecided.")  # fmt: skip
@click.option("--min-effect", default="3%", show_default=True, metavar="SHARE", callback=share,
              help="Ignore smaller differences between GOOD and BAD.")  # fmt: skip
@click.option("--max-time", default="30m", show_default=True, metavar="DURATION", help="Stop after this time.")
@click.option("--max-pairs", type=click.IntRange(1, 10_000), default=200, show_default=True,
              help="Stop measuring a commit after this number of pairs of runs.")  # fmt: skip
@click.option("--first-parent", is_flag=True, help="Of merges, follow the first parent only.")
@click.option("--skip", multiple=True, metavar="REVISION", help="Do not measure this commit or range; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the random orders and of the hash seeds.")
@click.option("--priority/--no-priority", default=True, show_default=True,
              help="Raise the priority of the test where that is allowed.")  # fmt: skip
def command(
    good: str,
    bad: str,
    words: tuple[str, ...],
    program: str | None,
    python: str | None,
    install: tuple[str, ...],
    witness: Witness,
    min_effect: float,
    max_time: str,
    max_pairs: int,
    first_parent: bool,
    skip: tuple[str, ...],
    as_json: bool,
    seed: int | None,
    priority: bool,
) -> int:
    """Find the commit between GOOD and BAD that made TEST slower, or faster.

    Each commit that is tried is measured alternately with GOOD, as by `smartmob ab`. Commits that cannot be built, or
    on which TEST does not pass, are skipped. One wrong answer does not lead to a wrong commit. CTRL-C prints the
    commits that are left. Exit codes: 0 if the commit was found (or inseparable commits), 1 if not, 2 for a
    wrong argument, 130 after CTRL-C.
    """
    if (program is None) == (not words):
        raise click.UsageError("give a TEST, such as tests/test_x.py::test_y, or --command")
    if min_effect <= 0:
        raise click.UsageError("--min-effect must be above 0: no number of pairs can show that times are equal")
    split = () if program is None else tuple(words_without_shell("--command", program))
    limits = ExperimentLimits(min_effect, duration_seconds("--max-time", max_time), max_pairs)
    options = _BisectOptions(
        good=good, bad=bad, words=words, command=split, python=python, install=install, witness=witness, limits=limits,
        seed=seed, priority=priority, first_parent=first_parent, skip=skip,
    )  # fmt: skip
    try:
        report, interrupted = asyncio.run(_bisect(options))
    except asyncio.CancelledError:
        return _INTERRUPTED  # nothing was prepared yet
    if as_json:
        printing.print_json(bisection_formats.document(report))
    else:
        printing.print_lines(printing.plain(line) for line in bisection_formats.lines(report))
    return _INTERRUPTED if interrupted else int(report.verdict not in _FOUND)


async def _bisect(options: _BisectOptions) -> tuple[BisectionReport, bool]:
    """Return the report, and whether CTRL-C ended the search."""
    here = Path.cwd()
    with cancelled_by_signals():
        history = commit_history.read(here, options.good, options.bad, first_parent=options.first_parent)
        skip = commit_history.commits_of(here, options.skip)
        workplace = await asyncio.to_thread(Workplace, Path(platformdirs.user_cache_path("smartmob")) / "experiments")
        tasks = TaskRegistry()
        spawner = Spawner(tasks)
        numbers = count(1)

        def show(step: BisectionStep, search: CommitSearch) -> None:
            printing.say(bisection_formats.step_line(next(numbers), step, search))

        try:
            printing.say(
                f"{len(history.parents)} commits from {options.good} to {options.bad}; measuring both ends ..."
            )
            measurer = _Measurer(options, here, history.good, workplace, spawner)
            bisection = Bisection(history, measurer.measure, options.limits.max_seconds, show, skip)
            try:
                await bisection.run()
            except asyncio.CancelledError:
                return bisection.report(), True
            return bisection.report(), False
        finally:
            await asyncio.shield(spawner.close())
            await tasks.close()
            await asyncio.to_thread(workplace.close)


@dataclass(slots=True)
class _Measurer:
    """Measures commits alternately with the good one."""

    options: _BisectOptions
    here: Path
    good: str
    workplace: Workplace
    spawner: Spawner
    environments: CommitEnvironments = field(init=False)
    random_order: random.Random = field(init=False)
    _good: Side | None = None
    _number: int = 0

    def __post_init__(self) -> None:
        self.environments = CommitEnvironments(self.workplace.folder, self.options.python, self.options.install)
        self.random_order = random.Random(self.options.seed)  # noqa: S311  # orders of runs are no secret

    async def measure(self, commit: str, ends: VerdictOnTest | None, seconds: float) -> list[VerdictOnTest]:
        """Return the verdicts on the tests; with those of the ends, on that one test by the same witness."""
        sides = await asyncio.to_thread(self._sides, commit)
        self._number += 1
        # A folder of its own has no bytecode of other commits, whose files may have the same size and time.
        folder = self.workplace.folder / f"step-{self._number:04d}"
        folder.mkdir()
        try:
            return await self._measured(sides, folder, ends, seconds)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _measured(
        self, sides: Sequence[Side], folder: Path, ends: VerdictOnTest | None, seconds: float
    ) -> list[VerdictOnTest]:
        options = self.options
        words = options.words if ends is None else [ends.name, *(word for word in options.words if word[:1] == "-")]
        experiment = Experiment(
            base=sides[0],
            head=sides[1],
            runs=MeasuredRuns(
                self.spawner,
                folder,
                words,
                processor=measuring_machine.processor_to_pin(),
                priority=measuring_machine.priority() if options.priority else None,
            ),
            limits=replace(options.limits, max_seconds=seconds, min_effect=_least(options.limits.min_effect, ends)),
            witness=_witness(options.witness, ends),
            can_count=can_count() and not options.command,
            random_order=self.random_order,
            show=_silent,
        )
        await experiment.run()
        return experiment.report().tests

    def _sides(self, commit: str) -> list[Side]:
        """Return the good side and that of a commit, ready to run; raises InvalidInput."""
        if self._good is None:
            self._good = self._side(self.good, "a")
        return [self._good, self._side(commit, "b")]

    def _side(self, commit: str, name: Literal["a", "b"]) -> Side:
        side = checked_out(commit[:10], commit, name, self.workplace, self.here)
        if self.options.command:
            return replace(side, command=self.options.command)
        return replace(side, python=self.environments.interpreter(side))


def _witness(wanted: Witness, ends: VerdictOnTest | None) -> Witness:
    """Return the witness for a commit: the one that has distinguished the ends."""
    if ends is None:
        return wanted
    return "instructions" if ends.witness == "instructions" else "clock"


def _least(min_effect: float, ends: VerdictOnTest | None) -> float:
    """Return the smallest effect for a commit: half of that between the ends if the clock has distinguished them."""
    if ends is None or ends.witness == "instructions":
        return min_effect
    return max(min_effect, math.expm1(abs(half_way(ends))))


def _silent(_: Progress) -> None:
    """Show nothing: a line for each commit is enough."""
