"""`smartmob run`: packs a folder, uploads it, creates its processes or runs a command, and follows the output."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec

from smartmob.cli import printing
from smartmob.cli.attachment import INTERRUPTED_CODE
from smartmob.cli.follower import OutputFollower
from smartmob.cli.limit_options import with_limits
from smartmob.cli.line_printer import EVENT_PREFIX, LinePrinter
from smartmob.cli.main import FAILED, GOOD, REMOTE
from smartmob.cli.node_output import is_one_of_many
from smartmob.cli.number_options import Number
from smartmob.cli.on_nodes import with_nodes
from smartmob.cli.process_selection import Status, listed
from smartmob.cli.processes import remarks
from smartmob.cli.program_starts import NOT_STARTED, is_unready, status_of, wait_until_started, with_port
from smartmob.cli.server_options import as_json, command_line, with_rest, with_server_options
from smartmob.cli.single_run import run_command, run_once
from smartmob.cli.source_upload import upload
from smartmob.client.http import RestClient
from smartmob.client.process_output import ALL_LINES
from smartmob.client.source_archive import PROCFILE
from smartmob.counts import counted
from smartmob.errors import Conflict, InvalidInput, RemoteError
from smartmob.kernel.subprocesses.variables import is_name
from smartmob.options import PREFIX
from smartmob.processes import model
from smartmob.processes.preparation import options_file, procfile
from smartmob.processes.protocol import LONGEST_GRACE
from smartmob.processes.state_machine import MINIMUM_UPTIME_SECONDS

_MAX_NODES = 1000  # processes of one run
_MAX_NAMED = 4  # slugs in a message
_SCALE = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*)=(\d{1,4})(/node)?")
_RELEASE = "release"
"""The process type that runs once before the others, as on Heroku."""
_ENDED = NOT_STARTED | {model.STOPPING}


class _Counts(dict[str, int]):
    """The numbers of programs by type; `totals` are the parts of the option that do not say that they are per node."""

    def __init__(self) -> None:
        super().__init__()
        self.totals: list[str] = []


class _Scale(click.ParamType[_Counts]):
    name = "scale"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> _Counts:
        if isinstance(value, _Counts):
            return value
        scale = _Counts()
        for part in value.split(","):
            match = _SCALE.fullmatch(part.strip())
            if match is None:
                self.fail(f"{part!r}: expected TYPE=NUMBER, as in web=2,worker=1", param, ctx)
            scale[match[1]] = int(match[2])
            if match[3] is None:
                scale.totals.append(part.strip())
        return scale


class _Variable(click.ParamType[tuple[str, str]]):
    name = "variable"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, separator, text = value.partition("=")
        if not separator or not is_name(name):
            self.fail(f"{value!r}: expected NAME=VALUE, the name of letters, digits and _", param, ctx)
        return name, text


class _ProcessFailed(Exception):
    """A process cannot be run."""


class _AllEnded(Exception):
    """All processes have ended, and none is started again."""


@click.command("run")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.argument("words", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--app", metavar="NAME", help="Name of the application.  [default: the folder's]")
@click.option("--scale", "scales", metavar="TYPE=N[/node],...", type=_Scale(), multiple=True,
              help="Number of programs of each type.  [default: one of each in the Procfile]")  # fmt: skip
@click.option("-f", "--procfile", "file", metavar="FILE", type=click.Path(path_type=Path),
              help="Another Procfile; a relative path is below FOLDER.  [default: Procfile]")  # fmt: skip
@click.option("--options", "options", metavar="FILE", type=click.Path(path_type=Path),
              help="Checks and dependencies, as in smartmob.toml; a relative path is below FOLDER.")  # fmt: skip
@click.option("--restart", type=click.Choice([model.ALWAYS, model.ON_FAILURE, model.NEVER]),
              help="When a program that has ended is started again.  [default: always]")  # fmt: skip
@click.option("--env", metavar="NAME=VALUE", type=_Variable(), multiple=True,
              help="Variable for all programs; repeatable.")  # fmt: skip
@click.option("--grace", metavar="SECONDS", type=Number(0, LONGEST_GRACE),
              help="Seconds between SIGTERM and SIGKILL.  [default: the service's]")  # fmt: skip
@with_limits
@click.option("--replace", is_flag=True, help="Stop and remove programs of the same names first.")
@click.option("-d", "--detach", is_flag=True,
              help="Return when the programs are ready, or have run for --uptime.")  # fmt: skip
@click.option("--uptime", type=Number(min=0, max=86_400), metavar="SECONDS", envvar=PREFIX + "UPTIME",
              default=MINIMUM_UPTIME_SECONDS, show_default=True,
              help="With --detach: how long a program without a readiness check must run.")  # fmt: skip
@click.option("-t/-T", "--tty/--no-tty", "terminal", default=None,
              help="Run COMMAND on a terminal, or not.  [default: on one if standard input and output are "
              "terminals]")  # fmt: skip
@click.option("-n", "--no-stdin", is_flag=True, help="Do not pass standard input on to COMMAND.")
@as_json
@with_server_options
@with_nodes(starts_programs=True, alone="terminal")
@with_rest
async def command(
    rest: RestClient,
    folder: Path,
    words: tuple[str, ...],
    app: str | None,
    scales: tuple[_Counts, ...],
    file: Path | None,
    options: Path | None,
    restart: str | None,
    env: tuple[tuple[str, str], ...],
    grace: float | None, replace: bool, detach: bool, uptime: float, terminal: bool | None, no_stdin: bool,
    as_json: bool, limits: dict[str, float],
) -> int:  # fmt: skip
    """Run the program in FOLDER on the service, and follow its output until CTRL-C, which leaves it running.

    FOLDER, by default the current one, has a Procfile, which names its process types and their commands. Files that
    `.slugignore` names, in the syntax of `.gitignore`, are not sent. Processes are named by application, type and
    number: `myapp.web.0`. The type `release` runs once before the others are created; if it fails, they are not.

    On several machines (--on) the command returns as with --detach. `--scale web=2/node` starts two programs on each.

    With COMMAND only this command runs, once, in the prepared folder and its environment. Input, output and errors
    are passed byte by byte, the exit code is its own, and CTRL-C interrupts it. When `smartmob run` ends, it ends, too.
    """
    app = app or folder.resolve().name
    common: dict[str, Any] = {"app": app, "env": dict(env)} | ({} if grace is None else {"grace": grace})
    common |= {"limits": limits} if limits else {}
    if words:
        if scales or file or options or restart or replace or detach:
            raise click.UsageError(
                "COMMAND runs once: leave out --scale, -f, --options, --restart, --replace and --detach"
            )
        common["source_url"] = await upload(rest, folder, for_command=True)
        return await run_command(rest, common, words, terminal, as_json=as_json, with_input=not no_stdin)
    if terminal is not None or no_stdin:
        raise click.UsageError("-t, -T and -n need a COMMAND, after --")
    scale = _scale_of(scales)
    declared = _read_procfile(folder, file)
    requests, release = _requests(declared, scale, with_commands=file is not None)
    if options:
        requests = _with_options(requests, _read_options(folder / options, declared))
    slugs = [f"{app}.{request['node']}" for request in requests]
    released = [f"{app}.{release['node']}"] if release else []
    old = await _existing(rest, [*released, *slugs], replace=replace)
    common["source_url"] = await upload(rest, folder)
    if release:
        await _remove(rest, [slug for slug in old if slug in released])
        if code := await _released(rest, common | release, as_json=as_json):
            return code
    await _remove(rest, [slug for slug in old if slug not in released])
    common |= {"restart": restart} if restart else {}
    try:
        # --restart replaces the value of a file.
        await _create(rest, [request | common for request in requests])
        if (detach or is_one_of_many()) and requests:
            return await _started(rest, app, slugs, uptime, as_json=as_json)
    except asyncio.CancelledError:
        printing.say(f"\nInterrupted; {_subject(slugs)} still starting.\n{_ways_back(rest, app, slugs)}")
        return INTERRUPTED_CODE
    return await _watch(rest, app, slugs, as_json=as_json) if requests else GOOD


def _scale_of(scales: Sequence[_Counts]) -> dict[str, int]:
    """Return the numbers of programs by type; raises UsageError for a total, which several machines would share."""
    if is_one_of_many() and (totals := [part for each in scales for part in each.totals]):
        raise click.UsageError(f"--scale: on several machines say how many run on each: {totals[0]}/node")
    return {name: count for each in scales for name, count in each.items()}


async def _released(rest: RestClient, request: dict[str, Any], *, as_json: bool) -> int:
    """Run the release process, and return its exit code; say that nothing else is changed when it fails."""
    printing.say("Running release")
    code = await run_once(rest, request, as_json=as_json)
    if code:
        printing.say(f"release failed with exit code {code}: nothing was started, and what ran before is still running")
    return code


def _read_procfile(folder: Path, file: Path | None) -> procfile.Procfile:
    """Return the Procfile of a folder, or of `file`; raises InvalidInput."""
    path = folder / (file or PROCFILE)
    try:
        return procfile.parse(path.read_bytes(), path.name)
    except FileNotFoundError:
        raise InvalidInput(
            f"{folder} has no {file or PROCFILE}, the file that says what to run: a line of it is `web: python app.py`"
        ) from None
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None


def _read_options(path: Path, declared: procfile.Procfile) -> options_file.OptionsFile:
    """Return the options in a file, for the process types of a Procfile; raises InvalidInput for any fault."""
    try:
        found = options_file.parse(path.read_bytes(), tuple(declared.commands), path.name)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None
    for name in declared.commands:
        found.of(name)
    return found


def _with_options(requests: list[dict[str, Any]], found: options_file.OptionsFile) -> list[dict[str, Any]]:
    """Return the requests with their options, each after those of the processes on which it depends."""
    graph = {name: table.get("depends_on", {}) for name, table in found.tables.items()}
    order: list[str] = []

    def add(name: str) -> None:
        for other in graph.get(name, ()):
            add(other)
        if name not in order:
            order.append(name)

    for request in requests:
        add(request["process_type"])
    added = [msgspec.to_builtins(found.tables.get(request["process_type"], {})) | request for request in requests]
    return sorted(added, key=lambda request: order.index(request["process_type"]))


def _requests(
    declared: procfile.Procfile, scale: dict[str, int], *, with_commands: bool
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Return the requests of the processes to create, and that of the release process or None.

    With `with_commands` they have the commands, because the source has another Procfile. Raises InvalidInput.
    """

    def request(node: str, name: str) -> dict[str, Any]:
        command = {"command": declared.command(name).text} if with_commands else {}
        return {"node": node, "process_type": name} | command

    nodes = _nodes(list(declared.commands), declared, scale)
    release = _RELEASE in declared.commands and scale.get(_RELEASE, 1) > 0
    if not nodes and not release:
        types = declared.commands
        raise InvalidInput(f"there is nothing to run: {'--scale asks for none' if types else 'the Procfile is empty'}")
    return [request(*each) for each in nodes], request(f"{_RELEASE}.0", _RELEASE) if release else None


def _nodes(types: list[str], declared: procfile.Procfile, scale: dict[str, int]) -> list[tuple[str, str]]:
    """Return the nodes to create with their process types, without the release process; raises InvalidInput."""
    if unknown := [name for name in scale if name not in types]:
        raise InvalidInput(f"--scale: {declared.unknown(unknown[0])}")
    if scale.get(_RELEASE, 0) > 1:
        raise InvalidInput("--scale: the type release runs once, before the others")
    types = [name for name in types if name != _RELEASE]
    if scale.keys() <= {_RELEASE}:
        scale = dict.fromkeys(types, 1)
    nodes = [(f"{name}.{number}", name) for name in types for number in range(scale.get(name, 0))]
    if len(nodes) > _MAX_NODES:
        raise InvalidInput(f"--scale: {counted(len(nodes), 'program')} asked for, more than {_MAX_NODES} at once")
    return nodes


async def _existing(rest: RestClient, slugs: Sequence[str], *, replace: bool) -> list[str]:
    """Return the slugs that exist already; raises Conflict unless `replace` is set."""
    there = {process["slug"]: process["state"] for process in await listed(rest)}
    old = [slug for slug in slugs if slug in there]
    if old and not replace:
        known = ", ".join(f"{slug} ({there[slug]})" for slug in old)
        raise Conflict(
            f"there is already {known}. Replace what is there with --replace, remove it with "
            f"`{command_line(rest, 'stop', '--remove', *old)}`, or choose another name with --app"
        )
    return old


async def _remove(rest: RestClient, slugs: Sequence[str]) -> None:
    async def remove(slug: str) -> None:
        try:
            await rest.post(f"/delete-process/{quote(slug, safe='')}", {})
        except RemoteError as error:
            if error.status != 404:
                raise

    if slugs:
        printing.say(f"Removing {', '.join(slugs)}")
        await asyncio.gather(*map(remove, slugs))


async def _create(rest: RestClient, requests: Sequence[dict[str, Any]]) -> None:
    """Create all processes; if one fails, remove the others and raise its error.

    Those with dependencies are created one after the other, because the service refuses dependencies that do not exist.
    """
    done: list[Any] = []
    if any(wanted.get("depends_on") for wanted in requests):
        for wanted in requests:
            done += await asyncio.gather(rest.post("/create-process", wanted), return_exceptions=True)
    else:
        posts = (rest.post("/create-process", wanted) for wanted in requests)
        done = await asyncio.gather(*posts, return_exceptions=True)
    failures = [error for error in done if isinstance(error, BaseException)]
    if failures:
        await _remove(rest, [process["slug"] for process in done if not isinstance(process, BaseException)])
        raise failures[0]


async def _started(rest: RestClient, app: str, slugs: Sequence[str], uptime: float, *, as_json: bool) -> int:
    """Wait until each process has started, is ready or not, or has failed; return the exit code."""
    statuses = await wait_until_started(rest, slugs, uptime)
    if as_json:
        printing.print_json(statuses)
    for process in statuses:
        _show_start(process)
    if any(process["state"] in NOT_STARTED and not _has_succeeded(process) for process in statuses):
        return await _report(rest, statuses, NOT_STARTED)
    printing.say(_ways_back(rest, app, slugs))
    waiting = any(process["state"] == model.WAITING for process in statuses)
    return FAILED if waiting or any(map(is_unready, statuses)) else GOOD


def _show_start(process: Status) -> None:
    """Print whether a process has started; one that could not start is reported with its output instead."""
    if is_unready(process):
        printing.say(f"{with_port(process)}, but is not ready: {process['readiness']['detail']}")
    elif process["state"] == model.RUNNING:
        printing.say(with_port(process))
    elif _has_succeeded(process):
        printing.say(f"{process['slug']} has ended: {process['detail']}")
    elif process["state"] == model.WAITING:
        printing.say(f"{process['slug']} {process['detail']}")


async def _watch(rest: RestClient, app: str, slugs: Sequence[str], *, as_json: bool) -> int:
    """Follow until CTRL-C or until a process fails; return the exit code."""
    printing.say(f"Running {', '.join(slugs)}; CTRL-C detaches")
    printer = LinePrinter({slug: slug.removeprefix(f"{app}.") for slug in slugs}, as_json=as_json)

    reported: set[str] = set()
    ended: set[str] = set()

    async def check(slug: str, line: str) -> None:
        process = await status_of(rest, slug)
        if process["state"] in model.FAILURES:
            raise _ProcessFailed
        # Its last event, which follows all of its output, whatever the state says already.
        last = line.startswith(f"{EVENT_PREFIX}{model.STOPPED}") and process["state"] == model.STOPPED
        if last and process["restart_policy"] != model.ALWAYS:
            ended.add(slug)
            if len(ended) == len(slugs):
                raise _AllEnded
        if process["state"] == model.RUNNING and slug not in reported:
            reported.add(slug)
            printing.say(with_port(process))

    try:
        deleted = await OutputFollower(rest, printer, events=True, on_event=check).follow(slugs, ALL_LINES)
    except _AllEnded:
        printer.flush()
        processes = [process for process in await listed(rest) if process["slug"] in slugs]
        return GOOD if all(map(_has_succeeded, processes)) else FAILED
    except _ProcessFailed:
        printer.flush()
        processes = [process for process in await listed(rest) if process["slug"] in slugs]
        return await _report(rest, processes, model.FAILURES, shown=True)
    except asyncio.CancelledError:
        printer.flush()
        printing.say(f"\nDetached; {_subject(slugs, 'keeps running', 'keep running')}.\n{_ways_back(rest, app, slugs)}")
        return GOOD
    return GOOD if deleted else REMOTE


def _has_succeeded(process: Status) -> bool:
    """Return whether a process has ended by itself with the exit status 0 and is not started again."""
    policy, state = process["restart_policy"], process["state"]
    return bool(policy != model.ALWAYS and state == model.STOPPED and process["exit_status"] == 0)


def _subject(slugs: Sequence[str], one: str = "is", many: str = "are") -> str:
    return f"{slugs[0]} {one}" if len(slugs) == 1 else f"{len(slugs)} programs {many}"


def _ways_back(rest: RestClient, app: str, slugs: Sequence[str]) -> str:
    slugs = slugs if len(slugs) <= _MAX_NAMED else (app,)
    return f"  follow:    {command_line(rest, 'logs', '-f', *slugs)}\n  stop:      {command_line(rest, 'stop', *slugs)}"


async def _report(rest: RestClient, processes: Sequence[Status], failed: Container[str], *, shown: bool = False) -> int:
    """Report why processes are in a `failed` state, with their last lines unless these are `shown` already."""
    bad = [process for process in processes if process["state"] in failed and not _has_succeeded(process)]
    for process in bad:
        for line in remarks(process | ({"output": []} if shown else {})):
            printing.say(line.plain)
    remove = command_line(rest, "stop", "--remove", *(process["slug"] for process in bad))
    printing.say(f"\nCorrect it and run it again with --replace, or remove it: {remove}")
    mine = {each["slug"] for each in processes if each not in bad}
    # Some processes may have ended since.
    if others := [each["slug"] for each in await listed(rest) if each["slug"] in mine and each["state"] not in _ENDED]:
        printing.say(f"Still running: {', '.join(others)}")
    return FAILED
