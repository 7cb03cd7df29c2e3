"""Runs a command once in the prepared folder of an application: attached to this terminal, or as a process."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import signal
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from smartmob.cli import printing
from smartmob.cli.attachment import Attachment, attached_to_terminal, window
from smartmob.cli.commands import CONNECT_SECONDS
from smartmob.cli.line_printer import EVENT_PREFIX, LinePrinter
from smartmob.cli.main import FAILED
from smartmob.cli.process_selection import Status
from smartmob.cli.processes import remarks
from smartmob.cli.server_options import command_line
from smartmob.client.command_client import CommandClient
from smartmob.client.http import RestClient
from smartmob.client.process_output import ALL_LINES, process_output
from smartmob.errors import RemoteError
from smartmob.processes import model

_ENDED = model.FAILURES | {model.STOPPED}
_TYPE = "run"
"""The process type of a command that is given on the command line."""
_SIGNAL_BASE = 128
"""A shell reports a program that was ended by signal N with the status 128 + N (POSIX.1-2017, XCU 2.8.2)."""


async def run_command(
    rest: RestClient, fields: dict[str, Any], words: Sequence[str], terminal: bool | None, *,
    as_json: bool, with_input: bool,
) -> int:  # fmt: skip
    """Run the command `words` once, and return its exit code; `fields` are those of a create request.

    One word is a text for a shell. Without `terminal` it runs on one if this command does. With `as_json` its lines are
    printed as JSON, and it gets no input.
    """
    text = words[0] if len(words) == 1 else shlex.join(words)
    request = fields | {"node": f"{_TYPE}.{secrets.token_hex(4)}", "process_type": _TYPE, "command": text}
    if as_json:
        return await run_once(rest, request, as_json=True)
    terminal = attached_to_terminal() if terminal is None else terminal
    return await _run_attached(rest, request, terminal=terminal, with_input=with_input, program=words[0])


async def _run_attached(
    rest: RestClient, request: dict[str, Any], *, terminal: bool, with_input: bool, program: str
) -> int:
    """Run the command of a create request once, as a job, and return its exit code as a shell shows it.

    Its input and output are those of this command, byte by byte; with `terminal` it runs on a pseudo-terminal. It ends
    with this command. `program` is its first word. Raises SmartmobError.
    """
    source = {name: request[name] for name in ("app", "source_url", "grace", "limits") if name in request}
    async with CommandClient(rest.url, rest.token, ca_file=rest.ca_file, timeout=CONNECT_SECONDS) as client:
        if not client.takes("exec", "source"):
            # A service of an earlier release.
            return await run_once(rest, request, as_json=False)
        how: dict[str, Any] = {"apart": True}
        if terminal:
            how = {"terminal": dict(zip(("columns", "rows"), window(), strict=True))}
        listener = client.start("exec", request["command"], binary=True, source=source, env=request["env"], **how)
        await listener.accepted()
        attachment = Attachment(client, listener, terminal=terminal, leave_twice=False, program=program)
        return await attachment.run(with_input=with_input)


async def run_once(rest: RestClient, request: dict[str, Any], *, as_json: bool) -> int:
    """Run the process of a create request once, with its output on standard output; return its exit code.

    A process that cannot be prepared or started is reported, and its exit code is FAILED. SIGTERM, SIGHUP and a reader
    that has gone end it. Raises RemoteError, and OSError when the output cannot be written.
    """
    slug = f"{request['app']}.{request['node']}"
    printer = LinePrinter({slug: slug}, as_json=as_json)
    await rest.post("/create-process", request | {"restart": model.NEVER})
    deleted, ended_by = False, 0
    loop, own = asyncio.get_running_loop(), asyncio.current_task()

    def end(number: int) -> None:
        nonlocal ended_by
        ended_by = number
        if own is not None:
            own.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        async with asyncio.TaskGroup() as group:
            broken = group.create_task(printer.broken())
            shown = group.create_task(_show(rest, slug, printer))
            status = await _ended(rest, slug)
            # The output ends with the deletion, after its last line.
            await _delete(rest, slug)
            deleted = True
            await shown
            printer.check()
            broken.cancel()
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    except asyncio.CancelledError:
        if not ended_by:
            raise
        return _SIGNAL_BASE + ended_by
    finally:
        if not deleted:
            await _clean_up(rest, slug)
    return _exit_code(status)


async def _show(rest: RestClient, slug: str, printer: LinePrinter) -> None:
    show = printer.show_piece if printer.takes_pieces else printer.show
    pieces, sources = printer.takes_pieces, printer.takes_sources
    async with process_output(rest, slug, tail=ALL_LINES, partial=pieces, sources=sources) as lines:
        async for line in lines:
            show(slug, line, lines.source)


async def _ended(rest: RestClient, slug: str) -> Status:
    """Wait until a process has ended or cannot be started; return its status."""
    async with process_output(rest, slug, tail=ALL_LINES, events=True) as lines:
        async for line in lines:
            if line.startswith(EVENT_PREFIX):
                status: Status = await rest.get(f"/process-status/{quote(slug, safe='')}")
                if status["state"] in _ENDED:
                    return status
    raise RemoteError(f"the connection to {rest.url} was lost before {slug} had ended")


async def _delete(rest: RestClient, slug: str) -> None:
    await rest.post(f"/delete-process/{quote(slug, safe='')}", {})


async def _clean_up(rest: RestClient, slug: str) -> None:
    try:
        await _delete(rest, slug)
    except RemoteError as error:
        way = command_line(rest, "stop", "--remove", slug)
        printing.say(f"{slug} is left behind: {error}. Remove it with {way}")


def _exit_code(status: Status) -> int:
    """Return the exit code of a process as a shell shows it; report one that could not be started."""
    if status["exit_status"] is not None:
        return int(status["exit_status"])
    if status["exit_signal"] is not None:
        return _SIGNAL_BASE + int(status["exit_signal"])
    said = [line.plain for line in remarks(status | {"output": []})]
    for line in said or [f"{status['slug']}: {status['detail'] or 'it ended with an unknown status'}"]:
        printing.say(line)
    return FAILED
