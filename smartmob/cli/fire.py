"""`smartmob fire`: a load test by the turrets of a headquarters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click

from smartmob.cli import (
    find_capacity,
    kubernetes_turrets,
    local_load,
    printing,
    project_check,
    run_conditions,
)
from smartmob.cli.capacity_options import CapacityOptions, with_capacity_options
from smartmob.cli.deploy import LEASE_SECONDS, Deployment, deployed, machines
from smartmob.cli.durations import duration_seconds
from smartmob.cli.kubernetes_turrets import ClusterOptions, with_cluster_options
from smartmob.cli.live_run import answer_of, live_frames, stopped_by_interrupt
from smartmob.cli.load_reports import WARM_UP, save_report, warm_up_query
from smartmob.cli.load_summary import print_summary
from smartmob.cli.project_package import pack_project
from smartmob.cli.run_conditions import RunConditions
from smartmob.cli.run_lookup import RUNS, quoted_id
from smartmob.cli.server_options import with_rest_client
from smartmob.client.http import RestClient
from smartmob.errors import InvalidInput, SettingsError, SmartmobError
from smartmob.turrets.model import ENDED
from smartmob.turrets.project_archive import CONFIG, find_config

_SEARCH_ALONE = (
    "--find-capacity cannot be combined with --fail-if, --junit, --warm-up or --no-wait: it has its own conditions "
    "and times"
)
_PACKAGE_TYPE = "application/gzip"


class RunFailed(SmartmobError):
    """The load test failed, or met a condition of --fail-if."""


@click.command("fire")
@click.argument("project", type=click.Path(exists=True, path_type=Path))
@click.option("--config-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Configuration to use, instead of config.json of the project.")  # fmt: skip
@click.option("--fail-if", "conditions", multiple=True, metavar="CONDITION",
              help="End with 1 if it is met: 'p99>200ms', 'errors>1%', 'TIMER:avg>1s'; repeatable.")  # fmt: skip
@click.option("-o", "--report", "target", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the report to this file.")  # fmt: skip
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the conditions as JUnit XML to this file.")  # fmt: skip
@click.option("--on", "services", metavar="MACHINES", multiple=True,
              help="Deploy the project's turrets to these machines, and remove them at the end: HOST:PORT,... of "
              "services, or nodes by NAME,... or label=KEY[=VALUE],... or all; repeatable.")  # fmt: skip
@click.option("--hq-address", metavar="HOST", help="Address at which turrets of --on reach the headquarters.")
@click.option("--lease", metavar="DURATION", default=f"{LEASE_SECONDS:g}s", show_default=True,
              help="With --on: remove the turrets when this command has been silent for this long.")  # fmt: skip
@click.option(
    WARM_UP,
    metavar="DURATION",
    help="Exclude the first part of the run, such as 30s, from all statistics; 0s excludes nothing.",
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
    stops the run early, a second CTRL-C ends the command without waiting. With --on, the turrets of PROJECT run on
    nodes of the service, or on other services that accept the same token. They are assigned in turn, until each machine
    has a turret and each turret has a machine, and begin together when all are ready. With --kubernetes they are pods
    of a Job.

    If no service answers at the default address, or if it is not a headquarters, a headquarters and the turrets of
    PROJECT are started here for this run, and the report is written to PROJECT-report.html. Conditions of --fail-if add
    to those of `fail_if` in config.json, which can also stop the run.
    """
    asked, lease_seconds = warm_up_query(warm_up), duration_seconds("--lease", lease)
    if search is not None and (conditions or no_wait or asked or junit is not None):
        raise click.UsageError(_SEARCH_ALONE)
    limits = await asyncio.to_thread(_checked, project, config_file, conditions, asked.get("warm_up"))
    if services or cluster is not None:
        if no_wait:
            raise click.UsageError("--no-wait and --on cannot be combined: the turrets are removed when fire ends.")
        async with _deployed_turrets(rest, services, cluster, project, config_file, hq_address, lease_seconds) as sent:
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
    summary = await rest.get(f"{RUNS}/{quoted_id(run)}/summary")
    limits.shown(summary)
    if target is not None:
        await save_report(rest, f"{RUNS}/{quoted_id(run)}/report", target)
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
async def _deployed_turrets(
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
    return local_load.named(package, project)


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
    `warn`, it warns of ports of the project that are not those of the headquarters.
    """
    with stopped_by_interrupt() as interrupted:
        run: dict[str, Any] = await rest.post_bytes(RUNS, package, _PACKAGE_TYPE, **asked)
        if warn:
            await _warn_of_ports(rest, run["config"])
        return run, await _follow(rest, quoted_id(run), interrupted)


def _checked(
    project: Path, config_file: Path | None, conditions: tuple[str, ...], warm_up: str | None
) -> RunConditions:
    """Return the conditions of a project and of the command line; raises SettingsError for a fault of the project."""
    name = str(config_file or (project if project.is_file() else project / CONFIG))
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


async def _warn_of_ports(rest: RestClient, config: Mapping[str, Any]) -> None:
    """Warn when the ports in the configuration of a project differ from those of the headquarters."""
    found = await answer_of(rest.get("/turrets"))
    there = found and found["headquarters"]
    for key in ("publish_port", "rc_port"):
        if there is not None and config.get(key) is not None and config[key] != there[key]:
            printing.say(f"config.json says {key} {config[key]}, but the headquarters has {there[key]}")


async def _follow(rest: RestClient, run: str, interrupted: asyncio.Event) -> str:
    """Show a run until its end, and return its final state; stop it when `interrupted` is set."""
    announced, state = False, ""
    from smartmob.cli.run_display import RunDisplay  # it imports rich, which other commands of this module do not need

    with RunDisplay() as display:
        async for frame in live_frames(rest, run):
            state = str(frame["state"])
            if state == "running" and not announced and (found := await answer_of(rest.get(f"{RUNS}/{run}"))):
                announced = True
                for words in found["plan"]["words"]:
                    printing.say(words)
            display.show(frame)
            if interrupted.is_set() and state not in ENDED and await answer_of(rest.post(f"{RUNS}/{run}/stop", {})):
                interrupted.clear()
    return state
