"""`smartmob fire`, `report`, `results-to-csv` and `rebuild-results`: load tests by a headquarters."""

from __future__ import annotations

import asyncio
import csv
import io
import signal
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import click
import orjson

from smartmob import csv_cells
from smartmob.cli import (
    find_capacity,
    kubernetes_turrets,
    local_load,
    output_files,
    printing,
    project_check,
    run_conditions,
    thresholds,
)
from smartmob.cli.capacity_options import CapacityOptions, with_capacity_options
from smartmob.cli.deploy import LEASE_SECONDS, Deployment, deployed, machines
from smartmob.cli.durations import duration_seconds
from smartmob.cli.kubernetes_turrets import ClusterOptions, with_cluster_options
from smartmob.cli.run_conditions import RunConditions
from smartmob.cli.server_options import with_rest_client
from smartmob.cli.suggestions import did_you_mean
from smartmob.client import http
from smartmob.client.http import RestClient
from smartmob.client.limits import LIMITS
from smartmob.counts import counted
from smartmob.errors import InvalidInput, NotFound, RemoteError, SettingsError, SmartmobError
from smartmob.turrets.project import find_config

RUNS = "/turret-runs"
_SEARCH_ALONE = (
    "--find-capacity has conditions and times of its own: without --fail-if, --junit, --warm-up and --no-wait"
)
_CONFIG = "config.json"
_PACKAGE_TYPE = "application/gzip"
_LEFT_OUT = ("results", "__pycache__", "templates")
_MAX_PACKAGE_BYTES = 12 * 1024 * 1024
_STATES = ("waiting", "running", "draining")
_FINAL_STATES = ("finished", "failed", "stopped")
_RECONNECT_SECONDS = 1.0
_ATTEMPTS = 60  # connections to a run whose connection breaks
_MOST_ERRORS = 10  # rows of the table of errors
_WARM_UP = "--warm-up"
_NOT_FOUND_STATUS = 404
_MOST_RUNS = 100  # among which one is looked for by the beginning of its id or by its name
_LEAST_BEGINNING = 4  # characters of an id
_NEWEST = "`last` is the newest one"
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
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the conditions as JUnit XML there.")  # fmt: skip
@click.option("--on", "services", metavar="MACHINES", multiple=True,
              help="Bring the project's turrets to these machines, and remove them at the end: HOST:PORT,... of "
              "services, or nodes by NAME,... or label=KEY[=VALUE],... or all; repeatable.")  # fmt: skip
@click.option("--hq-address", metavar="HOST", help="Where turrets brought with --on find the headquarters.")
@click.option("--lease", metavar="DURATION", default=f"{LEASE_SECONDS:g}s", show_default=True,
              help="Machines of --on remove turrets when this command is gone for so long.")  # fmt: skip
@click.option(
    _WARM_UP,
    metavar="DURATION",
    help="Leave out the first seconds of the run, such as 30s, of all figures; 0s for none.",
)
@with_capacity_options
@with_cluster_options
@click.option("--no-wait", is_flag=True, help="Print the id of the run and do not wait for its end.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@with_rest_client
@local_load.with_headquarters
async def fire(
    rest: RestClient,
    project: Path,
    config_file: Path | None,
    conditions: tuple[str, ...],
    target: Path | None,
    junit: Path | None,
    services: tuple[str, ...],
    hq_address: str | None,
    lease: str,
    warm_up: str | None,
    no_wait: bool,
    as_json: bool,
    search: CapacityOptions | None,
    cluster: ClusterOptions | None,
) -> None:
    """Fire the load test PROJECT: a folder with config.json, or a package of one.

    All turrets that are connected to the headquarters fire; the run begins when `min_turrets` of them are ready. CTRL-C
    stops the run early, a second CTRL-C leaves without waiting. With --on nodes of the service, or other services that
    accept the same token, run the turrets of PROJECT: in turn, until each machine has a turret and each turret has a
    machine. They begin together, when all of them are ready. With --kubernetes they are pods of a Job.

    When no service answers at the default address, or it is no headquarters, a headquarters and the turrets of PROJECT
    are started here for this run, and the report is written to PROJECT-report.html. Conditions of --fail-if add to
    those of `fail_if` in config.json, which can also stop the run.
    """
    asked, lease_seconds = _warm_up(warm_up), duration_seconds("--lease", lease)
    if search is not None and (conditions or no_wait or asked or junit is not None):
        raise click.UsageError(_SEARCH_ALONE)
    limits = await asyncio.to_thread(_checked, project, config_file, conditions, asked.get("warm_up"))
    if services or cluster is not None:
        if no_wait:
            raise click.UsageError("--no-wait and --on do not go together: the turrets are removed when fire ends.")
        async with _placed(rest, services, cluster, project, config_file, hq_address, lease_seconds) as sent:
            if sent is None:
                return
            if search is not None:
                await _find_capacity(rest, sent.folder, sent.config_file, search, target, as_json)
                return
            package = await _packed(sent.folder, sent.config_file, limits, project)
            run, state = await _fired(rest, package, asked)
    elif search is not None:
        await _find_capacity(rest, project, config_file, search, target, as_json)
        return
    else:
        package = await _packed(project, config_file, limits, project)
        if no_wait:
            await _leave(rest, package, asked)
            return
        run, state = await _fired(rest, package, asked, warn=True)
    summary = await rest.get(f"{RUNS}/{_ident(run)}/summary")
    limits.shown(summary)
    if target is not None:
        await _save(rest, f"{RUNS}/{_ident(run)}/report", target)
    if junit is not None:
        run_conditions.write_junit(summary, junit)
    _show_result(summary, state, limits, as_json=as_json)


async def _find_capacity(
    rest: RestClient,
    folder: Path,
    config_file: Path | None,
    search: CapacityOptions,
    target: Path | None,
    as_json: bool,
) -> None:
    package = await asyncio.to_thread(pack_project, folder, config_file)
    await find_capacity.find(rest, package, search, target, as_json=as_json)


@asynccontextmanager
async def _placed(
    rest: RestClient, services: tuple[str, ...], cluster: ClusterOptions | None, project: Path,
    config_file: Path | None, address: str | None, lease: float,
) -> AsyncIterator[Deployment | None]:  # fmt: skip
    """Bring the turrets of a project to a cluster, or to the machines of --on, until the end of the block."""
    if cluster is not None:
        async with kubernetes_turrets.deployed(rest, cluster, project, config_file, address) as pods:
            yield pods
        return
    async with deployed(rest, await machines(rest, services), project, config_file, address, lease) as sent:
        yield sent


async def _packed(folder: Path, config_file: Path | None, limits: RunConditions, project: Path) -> bytes:
    """Return the package of a project's folder with the conditions of the command line.

    Without a name in its configuration the run is named after `project`.
    """
    package = limits.packed(await asyncio.to_thread(pack_project, folder, config_file))
    return local_load.named(package, project, find_capacity.with_config)


async def _leave(rest: RestClient, package: bytes, asked: Mapping[str, str]) -> None:
    """Request a run with the query `asked`, and print its id."""
    run = await rest.post_bytes(RUNS, package, _PACKAGE_TYPE, **asked)
    await _warn_of_ports(rest, run["config"])
    click.echo(printing.printable(str(run["id"])))


async def _fired(
    rest: RestClient, package: bytes, asked: Mapping[str, str], *, warn: bool = False
) -> tuple[dict[str, Any], str]:
    """Request a run with the query `asked`, show it until its end, and return it with its final state.

    The first CTRL-C stops the run early, also when it is pressed before the service has answered the request. With
    `warn`, ports of the project that are not those of the headquarters are told.
    """
    with _interrupts() as interrupted:
        run: dict[str, Any] = await rest.post_bytes(RUNS, package, _PACKAGE_TYPE, **asked)
        if warn:
            await _warn_of_ports(rest, run["config"])
        return run, await _follow(rest, _ident(run), interrupted)


def _checked(
    project: Path, config_file: Path | None, conditions: tuple[str, ...], warm_up: str | None
) -> RunConditions:
    """Return the conditions of a project and of the command line; raises SettingsError for a fault of the project."""
    name = str(config_file or (project if project.is_file() else project / _CONFIG))
    try:
        package = pack_project(project, config_file)
        config = find_config(package)
    except InvalidInput as error:
        raise SettingsError(f"{project}: {error}") from None
    limits = run_conditions.read(package, conditions)
    for doubt in project_check.check(config, name, None if warm_up is None else float(warm_up)):
        printing.say(doubt)
    for inverted in filter(None, (condition.threshold.doubt() for condition in limits.all)):
        printing.say(inverted)
    return limits


def _warm_up(text: str | None) -> dict[str, str]:
    """Return the query for the option --warm-up; 0s asks for none, whatever the project has."""
    return {} if text is None else {"warm_up": f"{duration_seconds(_WARM_UP, text, may_be_zero=True):g}"}


def _show_result(summary: Mapping[str, Any], state: str, limits: RunConditions, *, as_json: bool) -> None:
    """Show the summary of a run; raises RunFailed when it failed or met a condition."""
    if as_json:
        printing.print_json(summary)
    else:
        print_summary(summary, printing.console().width)
    said = limits.violations(summary)
    if state != "finished":
        said.insert(0, f"the run is {state}" + (f": {summary['reason']}" if summary["reason"] else ""))
    if said:
        raise RunFailed("; ".join(said))


@click.command("report")
@click.argument("run", metavar="RUN")
@click.option("--against", metavar="RUN", help="Another run to compare with, side by side.")
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the page there; the default is report-RUN.html.")  # fmt: skip
@click.option(_WARM_UP, metavar="DURATION",
              help="Leave out the first seconds, such as 30s or 0s, instead of the warm-up of the run.")  # fmt: skip
@with_rest_client
async def report(rest: RestClient, run: str, against: str | None, target: Path | None, warm_up: str | None) -> None:
    """Write the report of RUN (its id, or "last") as one self-contained page."""
    run = await find_run(rest, run)
    query = _warm_up(warm_up) | ({"against": await find_run(rest, against)} if against is not None else {})
    await _save(rest, f"{RUNS}/{run}/report", target or Path(f"report-{run}.html"), **query)


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


async def _follow(rest: RestClient, run: str, interrupted: asyncio.Event) -> str:
    """Show a run until its end, and return its final state; stop it when `interrupted` is set."""
    path = f"{RUNS}/{run}"
    announced = False
    from smartmob.cli.run_display import RunDisplay  # it imports rich, which other commands of this module do without

    with RunDisplay() as display:
        for attempt in range(_ATTEMPTS):
            try:
                async for frame in rest.frames(f"{path}/live"):
                    if frame["state"] not in (*_STATES, *_FINAL_STATES):
                        raise RemoteError(f"the server names the unknown state {str(frame['state'])[:200]!r}")
                    if frame["state"] == "running" and not announced:
                        announced = True
                        for words in (await rest.get(path))["plan"]["words"]:
                            printing.say(words)
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


async def find_run(rest: RestClient, ident: str) -> str:
    """Return the id of a run from its id, the beginning of it, or `last`, quoted for a path; raises NotFound."""
    if ident != "last":
        return await _named(rest, ident)
    runs = (await rest.get(RUNS, limit=1))["runs"]
    if not runs:
        raise InvalidInput("there is no run yet; smartmob fire PROJECT makes one")
    return _ident(runs[0])


async def _named(rest: RestClient, ident: str) -> str:
    try:
        return _ident(await rest.get(f"{RUNS}/{quote(ident, safe='')}"))
    except RemoteError as error:
        if error.status != _NOT_FOUND_STATUS:
            raise
    runs = (await rest.get(RUNS, limit=_MOST_RUNS))["runs"]
    found = [run for run in runs if len(ident) >= _LEAST_BEGINNING and str(run["id"]).startswith(ident)]
    if len(found) == 1:
        return _ident(found[0])
    if found:
        raise InvalidInput(f"{ident} is the beginning of {len(found)} runs; give more of the id")
    named = [str(run["id"]) for run in runs if run["name"] == ident]
    hint = f"; the newest of this name is {named[0]}" if named else ""
    names = ["last", *(str(run["id"]) for run in runs)]
    raise NotFound(f"there is no load test {ident}{hint or did_you_mean(ident, names, _NEWEST)}")


def _ident(run: Mapping[str, Any]) -> str:
    """Return the id of a run, quoted for a path, an address or the name of a file."""
    return quote(str(run["id"]), safe="")


async def _save(rest: RestClient, path: str, target: Path, **query: str) -> None:
    with output_files.replacing(target) as file:
        async for chunk in rest.chunks(path, "text/html", max_bytes=LIMITS.report_bytes, query=query):
            file.write(chunk)
    printing.say(f"{target} is written")


def print_summary(summary: Mapping[str, Any], columns: int) -> None:
    """Print the statistics of a run, its errors and the doubts about it, for a terminal with so many columns."""
    title = (
        f"Run {summary['id']}: {counted(summary['transactions'], 'transaction')}, {counted(summary['errors'], 'error')}"
    )
    shown = _shown_durations(columns)
    after = f", after {summary['warm_up']:g} s of warm-up" if summary["warm_up"] else ""
    printing.print_lines([printing.plain(f"{title}, {printing.rate(summary['rate'])}{after}", "bold")])
    printing.print_table(
        "",
        ("Timer", ">OK", ">Failed", *(f">{name}" for name in shown)),
        (
            (name, f"{row['count'] - row['errors']:,}", f"{row['errors']:,}", *_durations(row, shown))
            for name, row in summary["timers"].items()
        ),
    )
    run_conditions.print_results(summary.get("conditions") or ())
    _print_failures(summary, shown)
    trust = summary["trust"]
    for fact in trust["facts"]:
        printing.tell(fact)
    if trust["doubts"]:
        rows = ((doubt["level"], doubt["what"]) for doubt in trust["doubts"])
        printing.print_table(f"Can this run be trusted? {trust['verdict'].capitalize()}", ("Level", "Doubt"), rows)
    else:
        printing.tell("Can this run be trusted? Yes: nothing speaks against it.")


def _print_failures(summary: Mapping[str, Any], shown: Sequence[str]) -> None:
    """Print the bytes of a run, the durations of its failures, and the errors of each timer with kind and code."""
    if summary["sent"] or summary["received"]:
        whole = ", in the whole run with its warm-up" if summary["warm_up"] else ""
        printing.tell(f"{printing.size(summary['received'])} received, {printing.size(summary['sent'])} sent{whole}")
    failed = {
        name: row["failed"] for name, row in summary["timers"].items() if row["failed"] and row["failed"]["count"]
    }
    if failed:
        rows = ((name, f"{row['count']:,}", *_durations(row, shown)) for name, row in failed.items())
        printing.print_table("Durations of failures", ("Timer", ">Failed", *(f">{name}" for name in shown)), rows)
    by_timer = {thresholds.ALL: summary["error_texts"], **summary["timer_errors"]}
    errors = [(name, error) for name, found in by_timer.items() for error in found]
    errors.sort(key=lambda found: -found[1]["count"])
    if errors:
        texts = (
            (f"{each['count']:,}", name, each["kind"], each["code"], each["text"])
            for name, each in errors[:_MOST_ERRORS]
        )
        printing.print_table("Errors", (">Count", "Timer", "Kind", "Code", "Error"), texts)
    more = len(errors) - _MOST_ERRORS + summary["other_error_texts"]
    if more > 0:
        printing.tell(f"and {counted(more, 'more different error')}; see the report")


_DURATIONS = ("Min", "Avg", "p50", "p90", "p95", "p99", "p99.9", "Max", "Stdev")
_NARROW_DURATIONS = ("Avg", "p50", "p95", "p99", "Max")
_WIDE_COLUMNS = 116  # of a terminal with room for all durations


def _shown_durations(columns: int) -> tuple[str, ...]:
    """Return the durations for a terminal with so many columns: a cut off cell would have lost its unit."""
    return _DURATIONS if columns >= _WIDE_COLUMNS else _NARROW_DURATIONS


def _durations(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the cells of durations by their names."""
    values = (row["percentiles"].get(name[1:]) if name.startswith("p") else row[name.lower()] for name in names)
    return [printing.seconds(value) for value in values]
