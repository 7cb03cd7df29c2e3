"""Measures running programs, with circus and supervisord in the same run.

`python -m benchmarks.processes` from the root of the repository; see README.md beside this file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks import idle, output, starts, stopping
from benchmarks.candidates import CannotMeasure, say
from benchmarks.ingest import positive
from benchmarks.plan import Run, open_folder
from benchmarks.report import Section, machine_info, summary, table
from benchmarks.runners import CIRCUS, REQUIREMENTS, SUPERVISORD

BENCHMARKS: dict[str, Callable[[Run], Section]] = {
    "many": starts.measure_many,
    "one": starts.measure_one,
    "restart": starts.measure_restart,
    "flood": output.measure_peers,
    "viewers": output.measure_viewers,
    "steady": output.measure_steady,
    "idle": idle.measure_idle,
    "survivors": idle.measure_survivors,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the report, and return the exit code."""
    options = _parser().parse_args(arguments)
    options.seconds = options.seconds or (1 if options.quick else 5)
    options.rounds = options.rounds or (1 if options.quick else 3)
    try:
        with open_folder() as folder:
            run = Run(folder=folder, seconds=options.seconds, rounds=options.rounds, patience=options.patience)
            sections = _measure(run, options.only)
    except CannotMeasure as error:
        say(str(error))
        return 2
    if options.json is not None:
        raw = {"machine_info": _around(), "noise": run.noise(), "figures": run.raw}
        options.json.write_bytes(orjson.dumps(raw, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print(_report(sections, run, options))
    if all(section.sound for section in sections):
        return 0
    say("A run was not sound. Its numbers mean nothing.")
    return 1


def _measure(run: Run, only: Sequence[str]) -> list[Section]:
    sections = []
    for name, measure in BENCHMARKS.items():
        if name in only:
            say(f"-- {name}")
            sections.append(measure(run))
    return sections


def _around() -> dict[str, str]:
    peers = {name: REQUIREMENTS[name][0].partition("==")[2] for name in (SUPERVISORD, CIRCUS)}
    return machine_info(**peers)


def _report(sections: Sequence[Section], run: Run, options: argparse.Namespace) -> str:
    around: dict[str, Any] = _around()
    how = (
        f"{run.rounds} round{'s' if run.rounds > 1 else ''}, in which the managers took turns; medians (least to "
        f"greatest); {run.seconds} s for each measurement of output. Ratios are medians of the rounds' ratios. "
        f"{run.noise()}"
    )
    if options.quick:
        how += " **A quick run: it shows that everything works, its numbers say little.**"
    goals = [goal for section in sections for goal in section.goals]
    texts = [section.text() for section in sections]
    return "\n\n".join(("# Processes", table(tuple(around), [tuple(around.values())]), how, *texts, summary(goals)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.processes", description="Measure how programs are run; print a report in Markdown."
    )
    parser.add_argument(
        "--seconds", type=positive, metavar="N", help="seconds of each measurement of output (default 5)"
    )
    parser.add_argument("--rounds", type=positive, metavar="N", help="rounds of each benchmark (default 3)")
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument(
        "--patience", type=positive, metavar="N", default=20, help="seconds to wait for a quiet machine (default 20)"
    )
    parser.add_argument(
        "--only", type=_names, default=tuple(BENCHMARKS), metavar="NAME,...", help=f"some of {', '.join(BENCHMARKS)}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw numbers to FILE")
    return parser


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in BENCHMARKS]:
        raise argparse.ArgumentTypeError(f"there is no {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    return names


if __name__ == "__main__":
    sys.exit(stopping.run(main))
