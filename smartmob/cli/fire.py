"""`smartmob fire`, `report`, `results-to-csv` and `rebuild-results`: load tests by a headquarters."""

from __future__ import annotations

import asyncio
import csv
import io
import signal
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import orjson

from smartmob import csv_cells
from smartmob.cli import find_capacity, output_files, printing, thresholds
from smartmob.cli.capacity_options import CapacityOptions, with_capacity_options
from smartmob.cli.deploy import deployed
from smartmob.cli.deploy import services as addresses
from smartmob.cli.run_display import RunDisplay
from smartmob.cli.server_options import with_rest_client
from smartmob.client import http
from smartmob.client.http import RestClient
from smartmob.client.limits import LIMITS
from smartmob.errors import InvalidInput, RemoteError, SmartmobError

RUNS = "/turret-runs"
_CONFIG = "config.json"
_LEFT_OUT = ("results", "__pycache__", "templates")
_MAX_PACKAGE_BYTES = 12 * 1024 * 1024
_STATES = ("waiting", "running", "draining")
_FINAL_STATES = ("finished", "failed", "stopped")
_RECONNECT_SECONDS = 1.0
_ATTEMPTS = 60  # connections to a run whose connection breaks
_HEADERS = ("elapsed time", "epoch (in seconds)", "turret name", "transaction time", "error")
_KEYS = ("elapsed", "epoch", "turret_name", "scriptrun_time", "error")


class RunFailed(SmartmobError):
    """The load test failed, or met a condition of --fail-if."""


@click.command("fire")
@click.argument("project", type=click.Path(exists=True, path_type=Path))
@click.option("--config-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Configuration to use, instead of config.json of the project.")  # fmt: skip
@click.option("--fail-if", "conditions", multiple=True, metavar="CONDITION",
              help="End with 1 if it is met: 'p99>200ms', 'errors>1%', 'TIMER:avg>1s'; repeatable.")  # fmt: skip
@click.option("-o", "--report", "target", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the report there.")  # fmt: skip
@click.option("--on", "services", metavar="HOST:PORT,...",
              help="Bring the project's turrets to these services, and remove them at the end.")  # fmt: skip
@click.option("--hq-address", metavar="HOST", help="Where turrets brought with --on find the headquarters.")
@with_capacity_options
@click.option("--no-wait", is_flag=True, help="Print the id of the run and do not wait for its end.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@with_rest_client
async def fire(
    rest: RestClient,
    project: Path,
    config_file: Path | None,
    conditions: tuple[str, ...],
    target: Path | None,
    services: str | None,
    hq_address: str | None,
    no_wait: bool,
    as_json: bool,
    search: CapacityOptions | None,
) -> None:
    """Fire the load test PROJECT: a folder with config.json, or a package of one.

    All turrets that are connected to the headquarters fire; the run begins when `min_turrets` of them are ready. CTRL-C
    stops the run early, a second CTRL-C leaves without waiting. With --on other services, which accept the same token,
    run the turrets of PROJECT: in turn, until each service has a turret and each turret has a service.
    """
    limits = thresholds.parse_all(conditions)
    if search is not None and (conditions or no_wait):
        raise click.UsageError("--find-capacity does not go with --fail-if or --no-wait: it has conditions of its own.")
    if services is not None:
        if no_wait:
            raise click.UsageError("--no-wait and --on do not go together: the turrets are removed when fire ends.")
        async with deployed(rest, addresses(services), project, config_file, hq_address) as sent:
            if search is not None:
                package = await asyncio.to_thread(pack_project, sent.folder, sent.config_file)
                await find_capacity.find(rest, package, search, target, as_json=as_json)
                return
            run = await _request_run(rest, sent.folder, sent.config_file)
            state = await _follow(rest, _ident(run))
    elif search is not None:
        package = await asyncio.to_thread(pack_project, project, config_file)
        await find_capacity.find(rest, package, search, target, as_json=as_json)
        return
    else:
        run = await _request_run(rest, project, config_file)
        await _warn_of_ports(rest, run["config"])
        if no_wait:
            click.echo(printing.printable(str(run["id"])))
            return
        state = await _follow(rest, _ident(run))
    await _show_result(rest, _ident(run), state, limits, target, as_json)


async def _request_run(rest: RestClient, project: Path, config_file: Path | None) -> dict[str, Any]:
    """Request a run of a project, and return it."""
    package = await asyncio.to_thread(pack_project, project, config_file)
    run: dict[str, Any] = await rest.post_bytes(RUNS, package, "application/gzip")
    return run


async def _show_result(
    rest: RestClient, run: str, state: str, limits: Sequence[thresholds.Threshold], target: Path | None, as_json: bool
) -> None:
    """Show the summary of a run; raises RunFailed when it failed or met a condition."""
    summary = await rest.get(f"{RUNS}/{run}/summary")
    if target is not None:
        await _save(rest, f"{RUNS}/{run}/report", target)
    if as_json:
        printing.print_json(summary)
    else:
        print_summary(summary)
    violations = [text for limit in limits if (text := limit.violation(summary)) is not None]
    if violations:
        raise RunFailed("; ".join(violations))
    if state != "finished":
        raise RunFailed(f"the run is {state}" + (f": {summary['reason']}" if summary["reason"] else ""))


@click.command("report")
@click.argument("run", metavar="RUN")
@click.option("--against", metavar="RUN", help="Another run to compare with, side by side.")
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the page there; the default is report-RUN.html.")  # fmt: skip
@with_rest_client
async def report(rest: RestClient, run: str, against: str | None, target: Path | None) -> None:
    """Write the report of RUN (its id, or "last") as one self-contained page."""
    run = await _find(rest, run)
    query = {"against": await _find(rest, against)} if against is not None else {}
    await _save(rest, f"{RUNS}/{run}/report", target or Path(f"report-{run}.html"), **query)


@click.command("results-to-csv")
@click.argument("run", metavar="RUN")
@click.argument("target", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-d", "--delimiter", default=";", show_default=True, help="Separator of the columns.")
@with_rest_client
async def results_to_csv(rest: RestClient, run: str, target: Path, delimiter: str) -> None:
    """Write the single results of RUN as CSV, with the columns of OCT."""
    run = await _find(rest, run)
    summary = await rest.get(f"{RUNS}/{run}/summary")
    timers = [name for name in summary["timers"] if name != thresholds.ALL]
    rows = 0
    with output_files.replacing(target) as raw, io.TextIOWrapper(raw, "utf-8", newline="") as file:
        try:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow([csv_cells.guarded(name) for name in (*_HEADERS, *timers)])
        except (TypeError, csv.Error) as error:
            raise InvalidInput(f"cannot write {target} with the delimiter {delimiter!r}: {error}") from None
        async for line in rest.lines(f"{RUNS}/{run}/results"):
            result = orjson.loads(line)
            given = [result["custom_timers"].get(name) for name in timers]
            writer.writerow([csv_cells.guarded(cell) for cell in (*(result[key] for key in _KEYS), *given)])
            rows += 1
    if not rows and summary["transactions"]:
        printing.say('the turrets of this run sent slices; put "results": "raw" into config.json to keep each result')
    printing.say(f"{target}: {rows} results")


@click.command("rebuild-results")
@click.argument("run", metavar="RUN")
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the report there; the default is report-RUN.html.")  # fmt: skip
@with_rest_client
async def rebuild_results(rest: RestClient, run: str, target: Path | None) -> None:
    """Compute the summary of RUN again from its stored results, and write its report."""
    run = await _find(rest, run)
    summary = await rest.post(f"{RUNS}/{run}/rebuild", {})
    printing.say(f"{summary['transactions']} transactions, {summary['errors']} errors")
    await _save(rest, f"{RUNS}/{run}/report", target or Path(f"report-{run}.html"))


def pack_project(project: Path, config_file: Path | None = None) -> bytes:
    """Return a project as a package; a package is returned unchanged. Raises InvalidInput."""
    try:
        if project.is_file():
            return project.read_bytes()
        config = config_file or project / _CONFIG
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            # First, because a reader of the package looks for it.
            archive.add(config, _CONFIG)
            for path in sorted(project.rglob("*")):
                name = path.relative_to(project)
                hidden = any(part.startswith(".") or part in _LEFT_OUT for part in name.parts)
                if path.is_file() and not hidden and path.suffix not in (".gz", ".pyc") and str(name) != _CONFIG:
                    archive.add(path, str(name))
                if packed.tell() > _MAX_PACKAGE_BYTES:
                    raise InvalidInput(
                        f"{project} has more than {_MAX_PACKAGE_BYTES} bytes packed; move data elsewhere"
                    )
    except OSError as error:
        raise InvalidInput(f"cannot read {error.filename or project}: {error.strerror}") from None
    return packed.getvalue()


async def _warn_of_ports(rest: RestClient, config: Mapping[str, Any]) -> None:
    """Warn when the ports in the configuration of a project differ from those of the headquarters."""
    there = (await rest.get("/turrets"))["headquarters"]
    for key in ("publish_port", "rc_port"):
        if there is not None and config.get(key) is not None and config[key] != there[key]:
            printing.say(f"config.json says {key} {config[key]}, but the headquarters has {there[key]}")


async def _follow(rest: RestClient, run: str) -> str:
    """Show a run until its end, and return its final state. The first CTRL-C stops the run early."""
    path = f"{RUNS}/{run}"
    with RunDisplay() as display, _interrupts() as interrupted:
        for attempt in range(_ATTEMPTS):
            try:
                async for frame in rest.frames(f"{path}/live"):
                    if frame["state"] not in (*_STATES, *_FINAL_STATES):
                        raise RemoteError(f"the server names the unknown state {str(frame['state'])[:200]!r}")
                    display.show(frame)
                    if frame["state"] in _FINAL_STATES:
                        return str(frame["state"])
                    if interrupted.is_set():
                        interrupted.clear()
                        printing.say("stopping; once more to leave without waiting")
                        await rest.post(f"{path}/stop", {})
            except http.ConnectionBroken:
                # The service may have been restarted; the run continues.
                if attempt == _ATTEMPTS - 1:
                    raise
            await asyncio.sleep(_RECONNECT_SECONDS)
    raise RemoteError(f"the run {run} cannot be followed any longer; ask for it with smartmob report {run}")


@contextmanager
def _interrupts() -> Iterator[asyncio.Event]:
    """Yield an event that the first SIGINT sets; the second SIGINT ends the command."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()

    def interrupt() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        interrupted.set()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _find(rest: RestClient, ident: str) -> str:
    """Return the id of a run from its id, or `last`."""
    if ident != "last":
        return quote(ident, safe="")
    runs = (await rest.get(RUNS, limit=1))["runs"]
    if not runs:
        raise InvalidInput("there is no run yet; smartmob fire PROJECT makes one")
    return _ident(runs[0])


def _ident(run: Mapping[str, Any]) -> str:
    """Return the id of a run, quoted for a path, an address or the name of a file."""
    return quote(str(run["id"]), safe="")


async def _save(rest: RestClient, path: str, target: Path, **query: str) -> None:
    with output_files.replacing(target) as file:
        async for chunk in rest.chunks(path, "text/html", max_bytes=LIMITS.report_bytes, query=query):
            file.write(chunk)
    printing.say(f"{target} is written")


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print the statistics of a run, its errors, and the doubts about its validity."""
    title = f"Run {summary['id']}: {summary['transactions']:,} transactions, {summary['errors']:,} errors"
    printing.print_table(
        f"{title}, {summary['rate']:,.1f}/s",
        ("Timer", ">Count", ">Errors", ">Min", ">Avg", ">p50", ">p90", ">p95", ">p99", ">p99.9", ">Max", ">Stdev"),
        (
            (
                *(name, f"{row['count']:,}", f"{row['errors']:,}", *map(printing.seconds, (row["min"], row["avg"]))),
                *(printing.seconds(row["percentiles"].get(share)) for share in ("50", "90", "95", "99", "99.9")),
                *map(printing.seconds, (row["max"], row["stdev"])),
            )
            for name, row in summary["timers"].items()
        ),
    )
    if summary["error_texts"]:
        rows = ((f"{error['count']:,}", error["text"]) for error in summary["error_texts"][:10])
        printing.print_table("Errors", (">Count", "Error"), rows)
    trust = summary["trust"]
    if trust["doubts"]:
        rows = ((doubt["level"], doubt["what"]) for doubt in trust["doubts"])
        printing.print_table(f"Can this run be trusted? {trust['verdict'].capitalize()}", ("Level", "Doubt"), rows)
    else:
        click.echo("Can this run be trusted? Yes: nothing speaks against it.")
