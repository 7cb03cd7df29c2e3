"""`smartmob experiments`: stored results of `smartmob ab`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import msgspec

from smartmob.cli import experiment_formats, printing
from smartmob.cli.experiment_store import PATH, send, waiting_folder
from smartmob.cli.server_options import as_json, with_rest_client
from smartmob.cli.suggestions import did_you_mean
from smartmob.client.http import ConnectionBroken, RestClient
from smartmob.counts import counted
from smartmob.errors import InvalidInput, NotFound, RemoteError
from smartmob.experiments.model import ExperimentReport

_SHORT = 13  # characters of an id of version 7: its time, to the millisecond
_MOST_LISTED = 1_000  # experiments that the service lists at once
_LATEST = "latest"
_STANDARD_INPUT = "-"
_COMMIT = 9  # characters of a commit
_NOT_ALLOWED = (401, 403)  # statuses
_FIRST_FAULT = 500  # the lowest status of an error of the service itself


@click.group("experiments")
def command() -> None:
    """Stored results of the command ab: list, show, send, remove."""


@command.command()
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, _MOST_LISTED), help="Experiments to list."
)
@click.option("--machine", help="Only those of this machine.")
@as_json
@with_rest_client
async def ls(rest: RestClient, limit: int, machine: str | None, as_json: bool) -> None:
    """List experiments, newest first."""
    found = await _listed(rest, limit, machine)
    if as_json:
        printing.print_json(found)
        return
    printing.print_table(
        "Experiments",
        (
            "Experiment",
            "Began",
            "Machine",
            "Base",
            "Head",
            "Verdict",
            ">Tests",
            ">Slower",
            ">Faster",
            ">Open",
            ">Pairs",
        ),
        (_cells(row) for row in found),
    )


def _cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    counts = row["counts"]
    verdict = experiment_formats.styled(row["verdict"])
    still = counts.get("undecided", 0) + counts.get("unfit", 0)
    return (
        *(row["id"][:_SHORT], printing.local_time(row["started_at"]), row["machine"]),
        *(_side(row["base"]), _side(row["head"]), verdict, row["tests"]),
        *(counts.get("slower", 0), counts.get("faster", 0), still, row["pairs"]),
    )


def _side(side: Mapping[str, Any]) -> str:
    commit = side["commit"][:_COMMIT]
    return f"{side['given']} ({commit})" if commit and not side["given"].startswith(commit) else side["given"]


@command.command()
@click.argument("ident", metavar="EXPERIMENT", default=_LATEST)
@click.option("--format", "form", type=click.Choice(experiment_formats.FORMATS), default="table", show_default=True,
              help="A table, JSON, Markdown for a pull request, or JUnit XML for CI.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--markdown", "as_markdown", is_flag=True, help="The same as --format markdown.")
@click.option("--all", "everything", is_flag=True, help="Also show the tests without a change in the table.")
@with_rest_client
async def show(rest: RestClient, ident: str, form: str, as_json: bool, as_markdown: bool, everything: bool) -> None:
    """Show an experiment as the command ab printed it: by its id, the beginning of the id, or the word latest."""
    found = await rest.get(f"{PATH}/{await _resolved(rest, ident)}/report")
    try:
        report = msgspec.convert(found, ExperimentReport)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    experiment_formats.show(report, "json" if as_json else "markdown" if as_markdown else form, everything=everything)


@command.command("send")
@click.argument("files", nargs=-1, metavar="[FILE|-]...")
@with_rest_client
async def send_files(rest: RestClient, files: tuple[str, ...]) -> int:
    """Send experiments that were not stored: those that wait on this machine, or documents of ab --json.

    A file that waited is removed when it is stored. An experiment that is stored already is not stored again.
    """
    waiting = sorted(waiting_folder().glob("*.json"))
    paths = [Path(name) for name in files] or waiting
    if not paths:
        printing.say(f"no experiment waits in {waiting_folder()}")
    failed = 0
    for path in paths:
        try:
            summary = await send(rest, _content(path))
        except (InvalidInput, RemoteError) as error:
            if isinstance(error, RemoteError) and _is_away(error):
                raise
            failed += 1
            printing.say(f"{path}: {error}")
            continue
        printing.say(f"{path}: stored, {summary['id']}")
        if path in waiting:
            path.unlink(missing_ok=True)
    return int(failed > 0)


def _is_away(error: RemoteError) -> bool:
    """Return whether the service, and not the file, is the reason."""
    if isinstance(error, ConnectionBroken) or error.status is None:
        return True
    return error.status in _NOT_ALLOWED or error.status >= _FIRST_FAULT


def _content(path: Path) -> bytes:
    """Return the report in a file; raises InvalidInput for a file that is not the report of an experiment."""
    try:
        data = sys.stdin.buffer.read() if str(path) == _STANDARD_INPUT else path.read_bytes()
        report = msgspec.json.decode(data, type=ExperimentReport)
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(f"is not a document of `smartmob ab --json`: {error}") from None
    if report.id is None or report.started_at is None:
        raise InvalidInput("has no id or time: it was made by a version without stored experiments")
    return data


@command.command("rm")
@click.argument("ident", metavar="EXPERIMENT")
@with_rest_client
async def remove(rest: RestClient, ident: str) -> None:
    """Remove a stored experiment."""
    found = await _resolved(rest, ident)
    await rest.delete(f"{PATH}/{found}")
    printing.say(f"removed {found}")


async def _listed(rest: RestClient, limit: int, machine: str | None = None) -> list[dict[str, Any]]:
    query: dict[str, object] = {"limit": limit} | ({} if machine is None else {"machine": machine})
    found: list[dict[str, Any]] = (await rest.get(PATH, **query))["experiments"]
    return found


async def _resolved(rest: RestClient, ident: str) -> str:
    """Return the id that begins with `ident`; raises NotFound and InvalidInput."""
    try:
        return str(UUID(ident))
    except ValueError:
        pass
    known = [row["id"] for row in await _listed(rest, 1 if ident == _LATEST else _MOST_LISTED)]
    if ident == _LATEST:
        if not known:
            raise NotFound("there is no experiment yet: `smartmob ab --store` makes one")
        return str(known[0])
    found = [name for name in known if name.startswith(ident.lower())]
    if not found:
        hint = did_you_mean(ident, [_LATEST, *known], "`smartmob experiments ls` lists them")
        raise NotFound(f"there is no experiment {ident}{hint}")
    if len(found) > 1:
        raise InvalidInput(f"{ident} is the beginning of {counted(len(found), 'experiment')}; give more of the id")
    return str(found[0])
