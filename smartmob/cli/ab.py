"""`smartmob ab`: two versions of a project are measured alternately, until each test is known to be slower or not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import platformdirs

from smartmob.cli import experiment_formats, experiment_selftest, experiment_store, printing
from smartmob.cli.ab_on import with_machine
from smartmob.cli.compare import share
from smartmob.cli.durations import duration_seconds
from smartmob.cli.experiment_selftest import INJECTED
from smartmob.cli.experiment_store import Destination, with_store_options
from smartmob.cli.program_words import words_without_shell
from smartmob.cli.stopping_signals import cancelled_by_signals
from smartmob.counts import counted
from smartmob.errors import InvalidInput, SettingsError
from smartmob.experiments import measuring_machine
from smartmob.experiments.cleaner import Workplace
from smartmob.experiments.experiment import Experiment, ExperimentLimits, Progress, Witness
from smartmob.experiments.measured_run import MeasuredRuns, can_count
from smartmob.experiments.model import ExperimentReport
from smartmob.experiments.sides import Side, prepare, resolve, uncommitted
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner

ALARMS = ("slower", "memory", "undecided", "busy")
"""The words of --fail-on."""

_INTERRUPTED = 130  # the exit code of a program that CTRL-C has ended
_SIDES_COUNT = 2


class _Options(msgspec.Struct, frozen=True):
    """The options of the command for the measurement."""

    python: str | None
    install: Sequence[str]
    commands: Sequence[str]
    witness: Witness
    duet: tuple[int, int] | None
    limits: ExperimentLimits
    seed: int | None
    priority: bool
    memory: bool
    selftest: bool


def _alarms(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> list[str]:
    words = [word.strip() for text in texts for word in text.split(",")]
    for word in words:
        if word not in ALARMS:
            raise click.BadParameter(f"{word!r} is not one of {', '.join(ALARMS)}")
    return words


@click.command("ab", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("words", nargs=-1, metavar="BASE HEAD [-- PYTEST_ARGS...]")
@click.option("--command", "commands", multiple=True, metavar="COMMAND",
              help="Measure two programs instead of suites; given twice, for base and head.")  # fmt: skip
@click.option("--python", metavar="PATH",
              help="Python of an environment with the requirements of both sides' tests.")  # fmt: skip
@click.option("--install", multiple=True, metavar="WORD",
              help="Argument of `pip install` for the environments that are made; repeatable.")  # fmt: skip
@click.option("--witness", type=click.Choice(("clock", "instructions", "both")), default="both", show_default=True,
              help="Measure times, count instructions (with Valgrind), or count only what times leave "
              "undecided.")  # fmt: skip
@click.option("--duet", is_flag=True,
              help="Run both sides at the same time, each on its own core; needs four processors.")  # fmt: skip
@click.option("--min-effect", default="3%", show_default=True, metavar="SHARE", callback=share,
              help="Ignore smaller changes.")  # fmt: skip
@click.option("--max-time", default="10m", show_default=True, metavar="DURATION", help="Stop after this time.")
@click.option("--max-pairs", type=click.IntRange(1, 10_000), default=200, show_default=True,
              help="Stop after this number of pairs of runs.")  # fmt: skip
@click.option("--fail-on", multiple=True, metavar="WORD[,WORD…]", callback=_alarms,
              help="End with 1 if there is any: slower, memory (more memory), undecided, busy (the machine). "
              "Repeatable.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(experiment_formats.FORMATS), default="table", show_default=True,
              help="A table, JSON, Markdown for a pull request, or JUnit XML for CI.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--all", "everything", is_flag=True, help="Also show the tests without a change in the table.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the random orders and of the hash seeds.")
@click.option("--priority/--no-priority", default=True, show_default=True,
              help="Raise the priority of the tests where that is allowed.")  # fmt: skip
@click.option("--selftest", is_flag=True,
              help="Measure BASE against itself, and against itself with each call 10 % longer.")  # fmt: skip
@with_machine
@with_store_options
def command(
    words: tuple[str, ...],
    commands: tuple[str, ...],
    python: str | None,
    install: tuple[str, ...],
    witness: Witness,
    duet: bool,
    min_effect: float,
    max_time: str,
    max_pairs: int,
    fail_on: list[str],
    form: str,
    as_json: bool,
    everything: bool,
    seed: int | None,
    priority: bool,
    selftest: bool,
    destination: Destination | None,
) -> int:
    """Show which tests are slower in HEAD than in BASE, by measuring both alternately on this machine.

    BASE and HEAD are git revisions, folders or wheels. Arguments after `--` go to pytest. Only undecided tests run
    again. CTRL-C shows the verdicts so far. Exit codes: 0, 1 if --fail-on applies, 2 for a wrong argument, 130 after
    CTRL-C.
    """
    if commands and (len(commands) != _SIDES_COUNT or words):
        raise click.UsageError("--command is given twice, for base and head, and without other arguments")
    if not commands and len(words) < (1 if selftest else _SIDES_COUNT):
        raise click.UsageError("give BASE and HEAD: git revisions, folders or wheels")
    if commands and witness == "instructions":
        raise click.UsageError("instructions are counted for suites of tests: measure programs with --witness clock")
    if min_effect <= 0:
        raise click.UsageError("--min-effect must be above 0: no number of pairs can show that times are equal")
    if selftest:
        if commands or form not in ("table", "json"):
            raise click.UsageError("--selftest is for suites of tests, with the formats table and json")
        words = (words[0], *words)  # BASE stands for both sides
    limits = ExperimentLimits(min_effect, duration_seconds("--max-time", max_time), max_pairs)
    cores = _cores(commands) if duet else None
    options = _Options(python, install, commands, witness, cores, limits, seed, priority, "memory" in fail_on, selftest)
    try:
        (report, *more), interrupted = asyncio.run(_measure(words, options))
    except asyncio.CancelledError:
        return _INTERRUPTED  # nothing was measured yet
    form = "json" if as_json else form
    if selftest:
        return _INTERRUPTED if interrupted else experiment_selftest.show(report, more, form)
    experiment_formats.show(report, form, everything=everything)
    if destination is not None:
        experiment_store.store(report, destination)
    failed = experiment_formats.failed(report, fail_on)
    if failed:
        printing.say(f"--fail-on: {', '.join(failed)}")
    return _INTERRUPTED if interrupted else int(bool(failed))


def _cores(commands: Sequence[str]) -> tuple[int, int]:
    """Return the processors of --duet; raises a usage error where it cannot be used."""
    if commands:
        raise click.UsageError("--duet is for suites of tests: a program chooses its processors by itself")
    return measuring_machine.duet_processors()


async def _measure(words: Sequence[str], options: _Options) -> tuple[list[ExperimentReport], bool]:
    """Return the reports, and whether CTRL-C has ended the experiment.

    There are two with --selftest: of one side against itself, and against itself with each call made longer.
    """
    with cancelled_by_signals():
        workplace = await asyncio.to_thread(Workplace, Path(platformdirs.user_cache_path("smartmob")) / "experiments")
        tasks = TaskRegistry()
        spawner = Spawner(tasks)
        reports: list[ExperimentReport] = []
        try:
            notes: list[str] = []
            sides = await asyncio.to_thread(_sides, words, options, workplace, notes)
            runs = MeasuredRuns(
                spawner,
                workplace.folder,
                words[_SIDES_COUNT:],
                processor=measuring_machine.processor_to_pin(),
                priority=measuring_machine.priority() if options.priority else None,
            )
            for slower in (0.0, INJECTED) if options.selftest else (0.0,):
                experiment = Experiment(
                    base=sides[0],
                    head=sides[1],
                    runs=runs,
                    limits=options.limits,
                    witness="clock" if slower or options.commands else options.witness,
                    can_count=can_count(),
                    random_order=random.Random(options.seed),  # noqa: S311  # orders of runs are no secret
                    show=_show,
                    memory_counts=options.memory,
                    slower=slower,
                    duet=options.duet,
                    notes=list(notes),
                )
                try:
                    await experiment.run()
                except asyncio.CancelledError:
                    if not experiment.tests:
                        raise
                    return [*reports, experiment.report()], True
                reports.append(experiment.report())
            return reports, False
        finally:
            await asyncio.shield(spawner.close())
            await tasks.close()
            await asyncio.to_thread(workplace.close)


def _sides(words: Sequence[str], options: _Options, workplace: Workplace, notes: list[str]) -> list[Side]:
    """Return the sides, ready to run; notes for people are added to `notes`."""
    here = Path.cwd()
    if options.commands:
        split = [tuple(words_without_shell("--command", text)) for text in options.commands]
        return [Side(text, "command", here, command=one) for text, one in zip(options.commands, split, strict=True)]
    try:
        sides = [resolve(given, name, workplace, here) for given, name in zip(words[:_SIDES_COUNT], "ab", strict=True)]
    except InvalidInput as error:
        raise SettingsError(str(error)) from None  # 1 is for --fail-on, 2 for a wrong word
    if any(side.kind == "revision" for side in sides) and uncommitted(here):
        notes.append("changes that are not committed are in no revision; name the folder to measure them")
    absent = {side.given: ", ".join(side.absent) for side in sides if side.absent}
    for given, paths in absent.items():
        notes.append(f"{given} has submodules that are not in this clone (`git submodule update --init`): {paths}")
    printing.say("making the environments ..." if options.python is None else "looking at the environment ...")
    ready = prepare(sides, workplace, options.python, options.install)
    first, second = (side.python.version if side.python else "" for side in ready)
    if first != second:
        notes.append(f"the sides run with Python {first} and {second}")
    return ready


def _show(progress: Progress) -> None:
    """Show a line on the progress."""
    counts = f"{progress.decided} of {counted(progress.tests, 'test')} decided, " if progress.tests else ""
    pairs = f"pair {progress.pairs + 1}, " if progress.phase == "clock" else ""
    printing.say(f"{printing.span(progress.seconds)}: {progress.phase}: {pairs}{counts}".rstrip(", :"))
