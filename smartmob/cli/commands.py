"""`smartmob exec`, `jobs`, `output` and `kill`: commands on machines where a service runs."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from smartmob.cli import elsewhere, printing
from smartmob.cli.attachment import CLOSED_CODE, Attachment, come_back, exit_code, output_of, window
from smartmob.cli.host_lines import HostLines
from smartmob.cli.number_options import Number
from smartmob.cli.on_nodes import with_nodes
from smartmob.cli.server_options import with_answer_timeout, with_rest, with_server_options
from smartmob.cli.suggestions import meant
from smartmob.client.command_client import CommandClient
from smartmob.client.groups import Group, Result
from smartmob.client.http import RestClient
from smartmob.client.messages import StandardErrorBytes
from smartmob.commands.model import BAD_PARAMETER
from smartmob.errors import RemoteError, message_of
from smartmob.kernel.subprocesses.variables import is_name

CONNECT_SECONDS = 10.0
_LONGEST_SECONDS = 10_000_000
_MOST_JOBS = 100  # jobs among which the intended one is searched
_STATES = ("running", "exited", "signaled", "failed", "timed out", "lost", "stopped")


async def _on_hosts(
    urls: tuple[str, ...], token: str | None, ca_file: Path | None, words: tuple[str, ...], **options: Any
) -> int:
    """Run a command on services that are no nodes; return the highest exit code."""
    if options["terminal"] or options["detach"] or options["keep"]:
        raise click.UsageError("-t, --detach and --keep need one machine")
    cmd: Any = words[0] if len(words) == 1 else list(words)
    return await _on_many(Group(urls, token, CONNECT_SECONDS, ca_file), cmd, _parameters(options))


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.option("-t", "--tty", "terminal", is_flag=True, help="Run on a terminal, as an interactive program needs.")
@click.option("-C", "--chdir", "cwd", metavar="PATH", help="Working directory on the machine.")
@click.option("-e", "--env", "env", metavar="NAME=VALUE", multiple=True, help="Environment variable; repeatable.")
@click.option("--timeout", type=Number(min=0, min_open=True), help="Stop it after this number of seconds.")
@click.option("-n", "--no-stdin", is_flag=True, help="Do not pass standard input on.")
@click.option("--keep", is_flag=True, help="Keep the job running when a closed pipe, TERM or HUP ends this command.")
@click.option(
    "-d", "--detach", is_flag=True, help="Start the job without input, print how to follow it, and end at once."
)
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@with_answer_timeout
@with_server_options
@with_nodes(live=True, alone="terminal", direct=_on_hosts)
async def exec_command(
    server: str, token: str | None, ca_file: Path | None, words: tuple[str, ...], **options: Any
) -> int:
    """Run a command on a machine, pass input and output, and end with its exit code.

    One word is a command line for the shell of the machine, several are a program and its arguments. CTRL-C interrupts
    the command; a second CTRL-C detaches and prints how to follow the job. A signal N gives the exit code 128 + N.

    The job is ended when the reader of the output closes it, as `head` does, and when this command gets TERM or HUP.
    With --keep it continues.

    --on runs it on nodes, or on services at other addresses. On several machines it gets no input, and each line begins
    with its machine.
    """
    if words[0].startswith("-"):
        # The options of the command itself are passed on unread, so that a misspelt option arrives here.
        raise click.NoSuchOption(words[0], ctx=click.get_current_context())
    kwargs = _parameters(options)
    cmd: Any = words[0] if len(words) == 1 else list(words)
    async with CommandClient(server, token, ca_file=ca_file, timeout=CONNECT_SECONDS) as client:
        if options["terminal"]:
            kwargs["terminal"] = dict(zip(("columns", "rows"), window(), strict=True))
        elif client.takes("exec", "apart"):
            kwargs["apart"] = True
        listener = client.start("exec", cmd, binary=True, **kwargs)
        await listener.accepted()
        if options["detach"] and listener.number is not None:
            if not options["terminal"] and not options["keep"]:
                listener.end_input()  # a program that reads gets the end of its input
            listener.cancel()
            printing.say(f"Job {listener.id} is running. {come_back(listener.id, client.url)}")
            return 0
        attachment = Attachment(client, listener, terminal=options["terminal"], keep=options["keep"], program=words[0])
        return await attachment.run(with_input=not options["no_stdin"])


def _parameters(options: dict[str, Any]) -> dict[str, Any]:
    env = {}
    for given in options["env"]:
        name, separator, value = given.partition("=")
        if not separator or not is_name(name):
            raise click.UsageError(f"--env: expected NAME=VALUE with a name of letters, digits and _; got {given!r}")
        env[name] = value
    if options["timeout"] is not None and not options["timeout"] <= _LONGEST_SECONDS:
        raise click.UsageError(f"--timeout: expected a number of seconds up to {_LONGEST_SECONDS:,}")
    found = {"cwd": options["cwd"], "env": env or None, "timeout_": options["timeout"]}
    return {name: value for name, value in found.items() if value is not None}


async def _on_many(group: Group, cmd: Any, kwargs: dict[str, Any]) -> int:
    output = _Streams(group.hosts)
    left: list[int] = []

    def leave(code: int) -> None:
        left.append(code)
        running.cancel()

    def show(host: str, data: bytes | None) -> None:
        try:
            if not left:
                output.end(host) if data is None else output.add(host, data)
        except BrokenPipeError:
            leave(CLOSED_CODE)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, leave, 128 + number)
    running = loop.create_task(
        group.gather(
            "exec", (cmd,), kwargs | {"binary": True}, lambda host, data: show(host, output_of(data)),
            ended=lambda ended: show(ended[0], None), keep=False, end_jobs=True, apart=True,
        )
    )  # fmt: skip
    try:
        results = await running
    except asyncio.CancelledError:
        if not left:
            raise
        sys.stdout = None if left[0] == CLOSED_CODE else sys.stdout  # buffered output cannot be written
        return left[0]
    finally:
        await group.aclose()
    for result in results.values():
        if not result.good:
            printing.say(f"{result.host}: {_ending(result)}")
    return max((exit_code(result.exit_code) for result in results.values()), default=0)


class _Streams:
    """Standard output and standard error of several machines, each line with its machine; one if both are a terminal.

    The methods raise OSError, such as BrokenPipeError.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        terminals = [stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr)]
        self._output = HostLines(hosts, as_written=terminals[0])
        self._errors = self._output if all(terminals) else HostLines(hosts, as_written=False)

    def add(self, host: str, data: bytes) -> None:
        """Show output of a machine."""
        error = isinstance(data, StandardErrorBytes)
        self._show((self._errors if error else self._output).add(host, data), error=error)

    def end(self, host: str) -> None:
        """Show the rest of the output of a machine, whose last line may have no line end."""
        self._show(self._output.end(host), error=False)
        if self._errors is not self._output:
            self._show(self._errors.end(host), error=True)

    def _show(self, text: str, *, error: bool) -> None:
        if text:
            click.echo(text, nl=False, err=error)


def _ending(result: Result) -> str:
    return message_of(result.error) if result.error is not None else f"ended with {result.exit_code}"


@click.command("jobs")
@click.option("--state", type=click.Choice(_STATES), help="Only jobs in this state.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Jobs to list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_server_options
@with_nodes()
@with_rest
async def jobs_command(rest: RestClient, state: str | None, limit: int, as_json: bool) -> None:
    """List the running and the ended jobs of a service, newest first."""
    asked = {"limit": limit, **({"state": state} if state else {})}
    found = (await rest.get("/jobs", **asked))["jobs"]
    if as_json:
        printing.print_json(found)
        return
    columns = (">Job", "State", ">Code", "Began", ">Bytes", "Client", "Command")
    printing.print_table("Jobs", columns, map(_job_row, found))


def _job_row(job: dict[str, Any]) -> tuple[Any, ...]:
    return (
        job["id"],
        job["state"],
        job["exit_code"],
        printing.local_time(job["started_at"]),
        job["output_bytes"],
        job["client"],
        " ".join(job["argv"]),
    )


@click.command("output")
@click.option("-f", "--follow", is_flag=True, help="Follow until the job ends, and end with its exit code.")
@click.option("--from", "offset", type=click.IntRange(min=0), default=0, help="Begin at this byte.")
@click.option("--stream", type=click.Choice(("stdout", "stderr")), help="Only the output to this stream.")
@click.argument("job", type=click.IntRange(min=1))
@with_server_options
@with_nodes(live="follow")
@with_rest
async def output_command(rest: RestClient, job: int, follow: bool, offset: int, stream: str | None) -> int | None:
    """Print the output of a job, from its beginning or from a given byte.

    Both streams are printed to standard output, in their order. --stream selects one, if the job was started by
    `smartmob exec` or `smartmob run`, which keep the streams separate.
    """
    asked = {"from": offset, "follow": str(follow).lower(), **({"stream": stream} if stream else {})}
    there = partial(elsewhere.hint, rest, job=job)
    async with meant(str(job), partial(_numbers, rest), "`smartmob jobs` lists them", there):
        async for chunk in rest.chunks(f"/jobs/{job}/output", "text/plain", patient=follow, query=asked):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
    if not follow:
        return None
    return await _ended_code(rest, job)


async def _ended_code(rest: RestClient, job: int) -> int:
    """Return the exit code for a job that has ended; raises RemoteError if the server does not know its own."""
    ended = await rest.get(f"/jobs/{job}")
    code = ended["exit_code"]
    if code is None:
        raise RemoteError(f"the server does not know the exit code of job {job}")
    if code == BAD_PARAMETER and ended.get("signal") is None:
        return BAD_PARAMETER & 0xFF
    return exit_code(code)


async def _numbers(rest: RestClient) -> list[str]:
    return [str(job["id"]) for job in (await rest.get("/jobs", limit=_MOST_JOBS))["jobs"]]


@click.command("kill")
@click.option("-s", "--signal", "name", metavar="SIGNAL", help="Send this signal instead, such as HUP.")
@click.argument("job", type=click.IntRange(min=1))
@with_server_options
@with_nodes()
async def kill_command(server: str, token: str | None, ca_file: Path | None, job: int, name: str | None) -> int:
    """Ask a job to end, and kill it when it does not end in time."""
    async with CommandClient(server, token, ca_file=ca_file, timeout=CONNECT_SECONDS) as client:
        listener = client.start("kill", job) if name is None else client.start("signal", job, name)
        said = "\n".join(str(line) for line in await listener.output())
    if listener.exit_code:
        reason = said.removeprefix("Job ").rstrip(".")
        async with RestClient(server, token, ca_file) as rest:
            ending = await elsewhere.hint(rest, job=job) or "; `smartmob jobs --state running` lists those that run"
        raise RemoteError(f"job {job} {reason}{ending}", 404)
    printing.say(said)
    return 0
