"""`smartmob ps`, `logs`, `attach`, `restart` and `stop`: processes that the service runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import groupby
from urllib.parse import quote

import click

from smartmob.cli import printing
from smartmob.cli.follower import OutputFollower
from smartmob.cli.limit_options import cpu_use, memory_use
from smartmob.cli.line_printer import LinePrinter
from smartmob.cli.main import FAILED, GOOD, REMOTE
from smartmob.cli.on_nodes import with_nodes
from smartmob.cli.process_selection import Status, complete, listed, select
from smartmob.cli.reserve import remark
from smartmob.cli.server_options import as_json, command_line, with_rest, with_server_options
from smartmob.cli.table_layout import StyledLine, StyledText
from smartmob.client.http import RestClient
from smartmob.client.process_output import ALL_LINES, process_output
from smartmob.errors import RemoteError
from smartmob.processes import model, state_machine
from smartmob.processes.protocol import STREAMS

_ATTACHED_LINES = 20
_STYLES = {model.RUNNING: "green", model.BACKOFF: "yellow", model.STOPPED: "dim"}
_REFUSAL_STATUS = (404, 409)

slugs_argument = click.argument("slugs", metavar="SLUG...", nargs=-1, required=True, shell_complete=complete)


@click.command()
@as_json
@with_server_options
@with_nodes()
@with_rest
async def ps(rest: RestClient, as_json: bool) -> None:
    """List programs with their state and their use of processors and memory."""
    processes = await listed(rest)
    if as_json:
        printing.print_json(processes)
        return
    if reservation := await remark(rest):
        printing.say(reservation)
    if not processes:
        printing.say(f"There are no programs; `{command_line(rest, 'run', 'FOLDER')}` starts some")
        return
    # A column that only some need: without checks the table stays narrow.
    checked = any(process.get("readiness") for process in processes)
    printing.print_table(
        "Programs",
        ("Slug", "State", *(["Ready"] if checked else []), ">PID", ">Uptime", ">Restarts", ">CPU", ">Memory", ">Port"),
        (
            (
                process["slug"],
                printing.plain(process["state"], style_of(process["state"])),
                *([_readiness(process)] if checked else []),
                process["pid"],
                printing.span(process["uptime"]),
                process["restarts"],
                cpu_use(process),
                memory_use(process),
                process["port"],
            )
            for process in processes
        ),
    )
    printing.print_lines(line for process in processes for line in remarks(process))


def _readiness(process: Status) -> StyledText | None:
    """Return whether a process is ready, or None when nothing checks it."""
    if not process.get("readiness"):
        return None
    return printing.plain("yes", "green") if process["ready"] else printing.plain("no", "yellow")


def style_of(state: str) -> str:
    """Return the style of a state."""
    return "red" if state in model.FAILURES else _STYLES.get(state, "cyan")


def remarks(process: Status) -> Iterator[StyledLine]:
    """Yield lines with the reason why a process does not run or is not ready, and the last output."""
    what = _reason(process)
    if not what:
        return
    yield StyledLine()
    slug, state = printing.plain(process["slug"], "bold"), printing.plain(f"  {process['state']}: ")
    yield StyledLine((slug, state, printing.plain(what)))
    for line, repeated in groupby(process["output"]):
        times = sum(1 for _ in repeated)
        yield StyledLine((printing.plain(f"  {line}{f'  ({times} times)' if times > 1 else ''}", "dim"),))


def _reason(process: Status) -> str:
    if process["state"] in {*model.FAILURES, model.STOPPED, model.WAITING}:
        return str(process["detail"] or "")
    if process["state"] == model.BACKOFF:
        next_try = f"next try at {printing.local_time(process['next_try_at'])}" if process["next_try_at"] else ""
        return ", ".join(filter(None, (process["detail"] or _end(process), next_try)))
    readiness = process.get("readiness")
    if process["state"] == model.RUNNING and readiness and not process["ready"]:
        return f"not ready: {readiness['detail']}" if readiness["detail"] else "not ready yet"
    if process["download"] is not None:
        total = process["download"]["total"]
        return printing.size(process["download"]["received"]) + (f" of {printing.size(total)}" if total else "")
    return ""


def _end(process: Status) -> str:
    """Return in words how the process last ended."""
    status, signal = process["exit_status"], process["exit_signal"]
    return "" if status is signal is None else state_machine.describe(status if signal is None else -signal)


@click.command()
@slugs_argument
@click.option("-f", "--follow", is_flag=True, help="Follow the output, until CTRL-C.")
@click.option("-n", "--tail", metavar="N", type=click.IntRange(0, ALL_LINES), default=ALL_LINES,
              help="Only the last N stored lines.  [default: all]")  # fmt: skip
@click.option("--stream", type=click.Choice(list(STREAMS)), default="all", show_default=True,
              help="Only the output to this stream.")  # fmt: skip
@as_json
@with_server_options
@with_nodes(live="follow")
@with_rest
async def logs(
    rest: RestClient, slugs: tuple[str, ...], follow: bool, tail: int, stream: str, as_json: bool
) -> int:  # fmt: skip
    """Show the output of programs; SLUG may also be an application, for all its programs.

    The service keeps the last lines of each. With several processes each line begins with the name of its process.
    Standard error is red on a terminal. With --json each line is an object with `slug` and `line`, and with `stream` if
    it was written to standard error.
    """
    names = {process["slug"]: process["slug"] for process in await select(rest, slugs)}
    printer = LinePrinter(names, as_json=as_json)
    if follow:
        return await _follow(OutputFollower(rest, printer, events=False, stream=stream), list(names), tail, "")
    sources = printer.takes_sources
    for slug in names:
        async with process_output(rest, slug, tail=tail, follow=False, sources=sources, stream=stream) as lines:
            async for line in lines:
                printer.show(slug, line, lines.source)
    printer.flush()
    return GOOD


@click.command()
@click.argument("slug", shell_complete=complete)
@click.option("-n", "--tail", metavar="N", type=click.IntRange(0, ALL_LINES), default=_ATTACHED_LINES,
              show_default=True, help="The last N lines first.")  # fmt: skip
@as_json
@with_server_options
@with_nodes(live=True)
@with_rest
async def attach(rest: RestClient, slug: str, tail: int, as_json: bool) -> int:
    """Follow the output and the events of a program until CTRL-C, which leaves it running.

    Lines about the process itself begin with `[smartmob]`. With --json each line is an object with `slug` and either
    `line` or `event`.
    """
    processes = await select(rest, (slug,))
    for process in processes:
        printing.say(f"Attached to {process['slug']}, which is {process['state']}; CTRL-C detaches")
    names = {process["slug"]: process["slug"] for process in processes}
    follower = OutputFollower(rest, LinePrinter(names, as_json=as_json), events=True)
    return await _follow(follower, list(names), tail, f"Detached; reattach with `{command_line(rest, 'attach', slug)}`")


async def _follow(follower: OutputFollower, slugs: list[str], tail: int, closing_text: str) -> int:
    """Follow until the end or CTRL-C, print `closing_text` after CTRL-C, and return the exit code."""
    try:
        return GOOD if await follower.follow(slugs, tail) else REMOTE
    except asyncio.CancelledError:
        # On the line after the ^C that the terminal shows.
        printing.say(f"\n{closing_text}".rstrip("\n"))
        return GOOD


@click.command()
@slugs_argument
@as_json
@with_server_options
@with_nodes()
@with_rest
async def restart(rest: RestClient, slugs: tuple[str, ...], as_json: bool) -> int:
    """Stop running programs and start them again; also start programs that failed, wait or were stopped.

    SLUG may also be an application, for all its processes.
    """
    return await _each(rest, slugs, "restart-process", "restarted", as_json=as_json)


@click.command()
@slugs_argument
@click.option("--remove", is_flag=True, help="Also remove them from the list.")
@as_json
@with_server_options
@with_nodes()
@with_rest
async def stop(rest: RestClient, slugs: tuple[str, ...], remove: bool, as_json: bool) -> int:
    """Stop programs with their whole process trees, and return when all have ended.

    They stay in the list, for `smartmob restart`, unless --remove is given. SLUG may also be an application, for all
    its processes.
    """
    if remove:
        return await _each(rest, slugs, "delete-process", "stopped and removed", as_json=as_json)
    return await _each(rest, slugs, "stop-process", "stopped", as_json=as_json)


async def _each(rest: RestClient, names: tuple[str, ...], action: str, said: str, *, as_json: bool) -> int:
    """Send the action for all processes at once, report each, and return the exit code."""
    codes = {GOOD}

    async def act(process: Status) -> Status | None:
        slug = process["slug"]
        try:
            answer = await rest.post(f"/{action}/{quote(slug, safe='')}", {})
        except RemoteError as error:
            printing.say(f"smartmob: {slug}: {error}")
            codes.add(FAILED if error.status in _REFUSAL_STATUS else REMOTE)
            return None
        if not as_json:
            printing.say(f"{slug} {said}")
        return answer or {"slug": slug, "removed": True}

    done = await asyncio.gather(*map(act, await select(rest, names)))
    if as_json:
        printing.print_json([document for document in done if document is not None])
    return max(codes)
