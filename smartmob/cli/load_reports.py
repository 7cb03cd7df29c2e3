"""`smartmob report`, `results-to-csv` and `rebuild-results`: files that are written from a stored load test."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import click
import orjson

from smartmob import csv_cells
from smartmob.cli import (
    output_files,
    printing,
    thresholds,
)
from smartmob.cli.durations import duration_seconds
from smartmob.cli.run_lookup import RUNS, find_run
from smartmob.cli.server_options import with_rest_client
from smartmob.client.http import RestClient
from smartmob.client.limits import LIMITS
from smartmob.counts import counted
from smartmob.errors import InvalidInput

WARM_UP = "--warm-up"


_HEADERS = ("elapsed time", "epoch (in seconds)", "turret name", "transaction time", "error")


_KEYS = ("elapsed", "epoch", "turret_name", "scriptrun_time", "error")


def warm_up_query(text: str | None) -> dict[str, str]:
    """Return the query for the option --warm-up; 0s asks for none, whatever the project has."""
    return {} if text is None else {"warm_up": f"{duration_seconds(WARM_UP, text, may_be_zero=True):g}"}


@click.command("report")
@click.argument("run", metavar="RUN")
@click.option("--against", metavar="RUN", help="Another run to compare with, side by side.")
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the page there; the default is report-RUN.html.")  # fmt: skip
@click.option(WARM_UP, metavar="DURATION",
              help="Exclude the first part of the run, such as 30s or 0s, instead of the run's own "
              "warm-up.")  # fmt: skip
@with_rest_client
async def report(rest: RestClient, run: str, against: str | None, target: Path | None, warm_up: str | None) -> None:
    """Write the report of RUN (its id, or "last") as one self-contained page."""
    run = await find_run(rest, run)
    query = warm_up_query(warm_up) | ({"against": await find_run(rest, against)} if against is not None else {})
    await save_report(rest, f"{RUNS}/{run}/report", target or Path(f"report-{run}.html"), **query)


@click.command("results-to-csv")
@click.argument("run", metavar="RUN")
@click.argument("target", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-d", "--delimiter", default=";", show_default=True, help="Separator of the columns.")
@with_rest_client
async def results_to_csv(rest: RestClient, run: str, target: Path, delimiter: str) -> None:
    """Write the single results of RUN as CSV, with the columns of OCT."""
    run = await find_run(rest, run)
    summary = await rest.get(f"{RUNS}/{run}/summary")
    timers = [name for name in summary["timers"] if name != thresholds.ALL]
    rows = 0
    with output_files.replacing(target) as raw, io.TextIOWrapper(raw, "utf-8", newline="") as file:
        writer = _csv_writer(file, target, delimiter, timers)
        async for line in rest.lines(f"{RUNS}/{run}/results"):
            result = orjson.loads(line)
            given = [result["custom_timers"].get(name) for name in timers]
            writer.writerow([csv_cells.guarded(cell) for cell in (*(result[key] for key in _KEYS), *given)])
            rows += 1
    if not rows and summary["transactions"]:
        printing.say('the turrets of this run sent slices; put "results": "raw" into config.json to keep each result')
    printing.say(f"{target}: {counted(rows, 'result')}")


def _csv_writer(file: TextIO, target: Path, delimiter: str, timers: Sequence[str]) -> Any:
    """Return a writer that has written the line of headers; raises InvalidInput for an unusable delimiter."""
    try:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow([csv_cells.guarded(name) for name in (*_HEADERS, *timers)])
    except (TypeError, csv.Error) as error:
        raise InvalidInput(f"cannot write {target} with the delimiter {delimiter!r}: {error}") from None
    return writer


@click.command("rebuild-results")
@click.argument("run", metavar="RUN")
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the report there; the default is report-RUN.html.")  # fmt: skip
@with_rest_client
async def rebuild_results(rest: RestClient, run: str, target: Path | None) -> None:
    """Compute the summary of RUN again from its stored results, and write its report."""
    run = await find_run(rest, run)
    summary = await rest.post(f"{RUNS}/{run}/rebuild", {})
    printing.say(f"{counted(summary['transactions'], 'transaction')}, {counted(summary['errors'], 'error')}")
    await save_report(rest, f"{RUNS}/{run}/report", target or Path(f"report-{run}.html"))


async def save_report(rest: RestClient, path: str, target: Path, **query: str) -> None:
    with output_files.replacing(target) as file:
        async for chunk in rest.chunks(path, "text/html", max_bytes=LIMITS.report_bytes, query=query):
            file.write(chunk)
    printing.say(f"Wrote {target}")
