"""Measures writing and reading of metrics, with the physical limit and a peer in the same run.

`python -m benchmarks.ingest` from the root of the repository; see README.md beside this file.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks import bulk, pages, posts, process, stopping
from benchmarks.candidates import CannotMeasure, say, smartmob
from benchmarks.load import Wrk
from benchmarks.plan import Plan, open_folder
from benchmarks.report import Section, machine_info, summary, table

BENCHMARKS: dict[str, Callable[[Plan], Section]] = {
    "posts": posts.measure,
    "bulk": bulk.measure,
    "pages": pages.measure,
    "memory": process.measure_memory,
    "start": process.measure_start,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the report, and return the exit code."""
    options = _parser().parse_args(arguments)
    options.seconds = options.seconds or (1 if options.quick else 5)
    options.rounds = options.rounds or (1 if options.quick else 5)
    try:
        with open_folder() as folder:
            sections, raw = _run(_plan(options, folder), options.only)
    except CannotMeasure as error:
        say(str(error))
        return 2
    if options.json is not None:
        options.json.write_bytes(orjson.dumps(raw, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print(_report(sections, raw, options))
    if all(section.sound for section in sections):
        return 0
    say("A run was not sound: requests failed or rows are missing. Its numbers mean nothing.")
    return 1


def _run(plan: Plan, only: Sequence[str]) -> tuple[list[Section], dict[str, Any]]:
    around = machine_info(PostgreSQL=_postgres_version(plan), wrk=plan.wrk.version().removeprefix("wrk "))
    sections = []
    for name, measure in BENCHMARKS.items():
        if name in only:
            say(f"-- {name}")
            sections.append(measure(plan))
    return sections, {"machine_info": around, "noise": plan.noise(), "figures": plan.raw}


def _report(sections: Sequence[Section], raw: dict[str, Any], options: argparse.Namespace) -> str:
    around = raw["machine_info"]
    how = (
        f"Medians of {options.rounds} round{'s' if options.rounds > 1 else ''} (least to greatest), in which the "
        f"candidates took turns; {options.seconds} s for each run of wrk. Ratios are medians of the rounds' ratios. "
        f"{raw['noise']}"
    )
    if options.quick:
        how += " **A quick run with small sizes: it shows that everything works, its numbers say little.**"
    goals = [goal for section in sections for goal in section.goals]
    texts = [section.text() for section in sections]
    return "\n\n".join(("# Ingest", table(tuple(around), [tuple(around.values())]), how, *texts, summary(goals)))


def _postgres_version(plan: Plan) -> str:
    async def ask() -> str:
        connection = await service.connect()
        try:
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()

    with plan.place() as folder, smartmob(folder / "data") as service:
        return asyncio.run(ask())


def _plan(options: argparse.Namespace, folder: Path) -> Plan:
    quick = options.quick
    return Plan(
        wrk=Wrk(folder),
        folder=folder,
        seconds=options.seconds,
        rounds=options.rounds,
        bulk_rows=20_000 if quick else 200_000,
        stored_rows=50_000 if quick else 1_000_000,
        page_requests=50 if quick else 500,
        starts=2 if quick else 5,
        settle_seconds=1.0 if quick else 5.0,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest", description="Measure ingest, and print a report in Markdown."
    )
    parser.add_argument("--seconds", type=positive, metavar="N", help="seconds of each run of wrk (default 5)")
    parser.add_argument("--rounds", type=positive, metavar="N", help="rounds of each benchmark (default 3)")
    parser.add_argument("--quick", action="store_true", help="one short round of everything, with small sizes")
    parser.add_argument(
        "--only", type=_names, default=tuple(BENCHMARKS), metavar="NAME,...", help=f"some of {', '.join(BENCHMARKS)}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw numbers to FILE")
    return parser


def positive(text: str) -> int:
    """Return a whole number from 1, for an option."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in BENCHMARKS]:
        raise argparse.ArgumentTypeError(f"there is no {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    return names


if __name__ == "__main__":
    sys.exit(stopping.run(main))
