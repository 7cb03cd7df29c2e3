"""`smartmob exec`, `jobs`, `output` and `kill`: commands on machines where a service runs."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import termios
import threading
import tty
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from smartmob.cli import printing
from smartmob.cli.server_options import with_answer_timeout, with_rest_client, with_server_options
from smartmob.client import failures, streams
from smartmob.client.command_client import CommandClient
from smartmob.client.failures import ClientError, NotConnected
from smartmob.client.group import Group, Result
from smartmob.client.http import RestClient
from smartmob.client.listener import Listener
from smartmob.client.messages import LineSplitter
from smartmob.commands.model import BAD_PARAMETER
from smartmob.errors import RemoteError
from smartmob.kernel.subprocesses.variables import is_name

CONNECT_SECONDS = 10.0
_INTERRUPTED_CODE = 130  # 128 + SIGINT, as shells have it
_CLOSED_CODE = 141  # 128 + SIGPIPE
_END_SECONDS = 10.0  # for the answer of the service that it ends a job
_PORT = 8080
_LONGEST_SECONDS = 10_000_000
_STATES = ("running", "exited", "signaled", "failed", "timed out", "lost", "stopped")
_LARGEST_SIGNAL, _LARGEST_CODE = 127, 2**32  # exit codes are unsigned on Windows


def address(host: str) -> str:
    """Return the address of a service for `name`, `name:port` or a whole address; raises UsageError."""
    if "://" in host:
        return host
    name = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
    try:
        port = urlsplit(f"//{name}").port
    except ValueError:
        raise click.UsageError(f"{host!r} is not HOST or HOST:PORT with a port up to 65535") from None
    return f"http://{name}" if port else f"http://{name}:{_PORT}"


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.option(
    "--on", "hosts", metavar="HOST,...", help="Run on all these machines at once; lines begin with the machine."
)
@click.option("-t", "--tty", "terminal", is_flag=True, help="Run on a terminal, as an interactive program needs.")
@click.option("-C", "--chdir", "cwd", metavar="PATH", help="Working directory on the machine.")
@click.option("-e", "--env", "env", metavar="NAME=VALUE", multiple=True, help="Environment variable; repeatable.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Stop it after this number of seconds.")
@click.option("-n", "--no-stdin", is_flag=True, help="Do not pass standard input on.")
@click.option("--keep", is_flag=True, help="Keep the job when this command ends: by a closed pipe, TERM or HUP.")
@click.option("-d", "--detach", is_flag=True, help="Start the job, tell how to come back, and end at once.")
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@with_answer_timeout
@with_server_options
async def exec_command(
    server: str, token: str | None, ca_file: Path | None, words: tuple[str, ...], **options: Any
) -> int:
    """Run a command on a machine, pass input and output, and end with its exit code.

    One word is a command line for the shell of the machine, several are a program and its arguments. CTRL-C interrupts
    the command; a second CTRL-C detaches and prints how to come back. A signal N gives the exit code 128 + N.

    The job is ended when the reader of the output closes it, as `head` does, and when this command gets TERM or HUP.
    With --keep it goes on.
    """
    kwargs = _parameters(options)
    cmd: Any = words[0] if len(words) == 1 else list(words)
    if options["hosts"] is not None:
        if options["terminal"] or options["detach"] or options["keep"]:
            raise click.UsageError("-t, --detach and --keep need one machine")
        urls = tuple(address(host.strip()) for host in options["hosts"].split(",") if host.strip())
        if not urls or len(set(urls)) < len(urls):
            raise click.UsageError("--on: expected the names of different machines, separated by commas")
        return await _on_many(Group(urls, token, CONNECT_SECONDS, ca_file), cmd, kwargs)
    async with CommandClient(server, token, ca_file=ca_file, timeout=CONNECT_SECONDS) as client:
        if options["terminal"]:
            kwargs["terminal"] = dict(zip(("columns", "rows"), _window(), strict=True))
        listener = client.start("exec", cmd, binary=True, **kwargs)
        await listener.accepted()
        if options["detach"] and listener.number is not None:
            listener.cancel()
            printing.say(f"Job {listener.id} runs. {_come_back(listener.id)}")
            return 0
        attachment = _Attachment(client, listener, terminal=options["terminal"], keep=options["keep"])
        return await attachment.run(with_input=not options["no_stdin"])


def _come_back(job: int) -> str:
    return f"Come back with: smartmob output {job} -f"


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
    output = HostLines(group.hosts, as_written=sys.stdout is not None and sys.stdout.isatty())
    left: list[int] = []

    def leave(code: int) -> None:
        left.append(code)
        running.cancel()

    def show(host: str, data: bytes | None) -> None:
        try:
            if not left and (text := output.end(host) if data is None else output.add(host, data)):
                click.echo(text, nl=False)
        except BrokenPipeError:
            leave(_CLOSED_CODE)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, leave, 128 + number)
    running = loop.create_task(
        group.gather(
            "exec", (cmd,), kwargs | {"binary": True}, lambda host, data: show(host, _output(data)),
            ended=lambda ended: show(ended[0], None), keep=False, end_jobs=True,
        )
    )  # fmt: skip
    try:
        results = await running
    except asyncio.CancelledError:
        if not left:
            raise
        sys.stdout = None if left[0] == _CLOSED_CODE else sys.stdout  # what is buffered cannot be written
        return left[0]
    finally:
        await group.aclose()
    for result in results.values():
        if not result.good:
            printing.say(f"{result.host}: {_ending(result)}")
    return max((_exit_code(result.exit_code) for result in results.values()), default=0)


class HostLines:
    """The lines of several hosts, each with the name of its host before it.

    `as_written` is for a terminal: a line without its end, as a prompt, is shown at once, and when another host writes
    in the meantime, the rest of it begins a new line. Without it only whole lines are shown.
    """

    def __init__(self, hosts: Iterable[str], *, as_written: bool) -> None:
        self._lines = {host: LineSplitter() for host in hosts}
        self._as_written = as_written
        self._open: str | None = None

    def add(self, host: str, data: bytes) -> str:
        """Return what is to be shown after output of a host."""
        lines = self._lines[host]
        found = lines.add(data)
        if self._as_written and lines.has_rest:
            found.append(lines.take_rest())
        return self._shown(host, found)

    def end(self, host: str) -> str:
        """Return what is to be shown at the end of a host's output: its last line has a line end."""
        shown = self._shown(host, self._lines[host].end())
        if self._open == host:
            self._open = None
            shown += "\n"
        return shown

    def _shown(self, host: str, texts: list[str]) -> str:
        shown = ""
        for text in texts:
            if self._open != host:
                shown += ("\n" if self._open is not None else "") + f"{host}: "
            shown += text
            self._open = None if text.endswith("\n") else host
        return shown


def _output(message: Any) -> bytes:
    """Return a message of `exec` as output: nothing for an exception, which is the result's; raises ClientError."""
    if isinstance(message, BaseException):
        return b""
    if not isinstance(message, bytes):
        raise ClientError("the server does not keep to the protocol: it sends messages as the output of a program")
    return message


def _ending(result: Result) -> str:
    return str(result.error) if result.error is not None else f"ended with {result.exit_code}"


def _exit_code(code: int | None) -> int:
    """Return the exit code of this command for that of a job; a code other than 0 never becomes 0."""
    if code is None:
        return 3
    if not -_LARGEST_SIGNAL <= code < _LARGEST_CODE:
        raise RemoteError(f"the server names {code} as exit code")
    return 128 - code if code < 0 else code & 0xFF or int(code != 0)


class _Attachment:
    """The connection between a job and this terminal: output, input, CTRL-C and the size of the window."""

    def __init__(self, client: CommandClient, listener: Listener, *, terminal: bool, keep: bool) -> None:
        self._client = client
        self._listener = listener
        self._terminal = terminal
        self._keep = keep
        self._left: tuple[int, bool] | None = None
        self._work: set[asyncio.Task[Any]] = set()

    async def run(self, *, with_input: bool) -> int:
        """Pass everything on until the job ends or this command must; return the exit code."""
        loop = asyncio.get_running_loop()
        presses = 0

        def interrupt() -> None:
            nonlocal presses
            presses += 1
            if presses > 1:
                self._leave(_INTERRUPTED_CODE, keep=True)
            else:
                self._call("signal", self._listener.id, "SIGINT")

        loop.add_signal_handler(signal.SIGINT, interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._leave, 128 + number)
        if self._terminal:
            loop.add_signal_handler(signal.SIGWINCH, self._resize)
        if with_input:
            threading.Thread(target=self._pass_input, args=(loop,), daemon=True).start()
        output = sys.stdout.fileno()
        if stat.S_ISFIFO(os.fstat(output).st_mode):
            # Nothing can be read from the end of a pipe that is written to, but its closing is reported.
            loop.add_reader(output, self._leave, _CLOSED_CODE)
        showing = loop.create_task(self._show(output))
        self._showing = showing
        with _raw_terminal(self._terminal and sys.stdin.isatty()):
            try:
                return await showing
            except BrokenPipeError as error:
                if failures.is_remote(error):
                    raise
                self._left = self._left or (_CLOSED_CODE, self._keep)
            except asyncio.CancelledError:
                if self._left is None:
                    raise
            except NotConnected:
                if self._listener.number is not None:
                    printing.say(f"Job {self._listener.id} may still run. {_come_back(self._listener.id)}")
                raise
            except BaseException:
                self._listener.cancel()
                raise
            finally:
                loop.remove_reader(output)
        return await self._end(*self._left)

    def _leave(self, code: int, *, keep: bool | None = None) -> None:
        """End this command with an exit code, and the job unless it is kept."""
        if self._left is None:
            self._left = (code, self._keep if keep is None else keep)
            self._showing.cancel()

    async def _end(self, code: int, keep: bool) -> int:
        """End the job unless it is kept, tell what stays, and return the exit code."""
        self._listener.cancel()
        job = self._listener.number
        if job is None:
            return code
        try:
            if not keep:
                await self._client.run("kill", job, timeout=_END_SECONDS)
                return code
        except ClientError as error:
            printing.say(f"smartmob: job {job} could not be ended: {error}")
        printing.say(f"Job {job} goes on. {_come_back(job)}")
        return code

    async def _show(self, output: int) -> int:
        async for message in self._listener:
            if isinstance(message, BaseException):
                printing.say(f"smartmob: {message}")
            else:
                await streams.write_all(output, _output(message))
        for first, last in self._listener.gaps:
            printing.say(f"smartmob: {last - first} bytes of output were no longer stored")
        ended = self._listener.ended
        if ended is not None and ended.state == "timed out":
            printing.say("smartmob: the time limit was reached")
        return _exit_code(self._listener.exit_code)

    def _call(self, name: str, *args: Any) -> None:
        work = asyncio.get_running_loop().create_task(self._client.run(name, *args))
        self._work.add(work)
        work.add_done_callback(self._work.discard)

    def _resize(self) -> None:
        columns, rows = _window()
        self._call("resize", self._listener.id, rows, columns)

    def _pass_input(self, loop: asyncio.AbstractEventLoop) -> None:
        """Pass standard input on, in a thread, because asyncio cannot wait for a file."""
        fd = sys.stdin.fileno()
        try:
            while data := os.read(fd, 64 * 1024):
                asyncio.run_coroutine_threadsafe(self._listener.write(data), loop).result()
        except (OSError, RuntimeError):
            pass  # it cannot be read, or the job or the loop has ended
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._listener.end_input)


def _window() -> tuple[int, int]:
    """Return the columns and rows of this terminal, or 80 by 24 where it has no size."""
    size = os.get_terminal_size(sys.stdin.fileno()) if sys.stdin.isatty() else os.terminal_size((0, 0))
    return size.columns or 80, size.lines or 24


@contextmanager
def _raw_terminal(raw: bool) -> Iterator[None]:
    if not raw:
        yield
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@click.command("jobs")
@click.option("--state", type=click.Choice(_STATES), help="Only jobs in this state.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Jobs to list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_rest_client
async def jobs_command(rest: RestClient, state: str | None, limit: int, as_json: bool) -> None:
    """List the running and the ended jobs of a service, newest first."""
    asked = {"limit": limit, **({"state": state} if state else {})}
    found = (await rest.get("/jobs", **asked))["jobs"]
    if as_json:
        printing.print_json(found)
        return
    rows = (
        (
            job["id"],
            job["state"],
            job["exit_code"],
            printing.local_time(job["started_at"]),
            job["output_bytes"],
            job["client"],
            " ".join(job["argv"]),
        )
        for job in found
    )
    printing.print_table("Jobs", (">Job", "State", ">Code", "Began", ">Bytes", "Client", "Command"), rows)


@click.command("output")
@click.option("-f", "--follow", is_flag=True, help="Follow until the job ends, and end with its exit code.")
@click.option("--from", "offset", type=click.IntRange(min=0), default=0, help="Begin at this byte.")
@click.argument("job", type=click.IntRange(min=1))
@with_rest_client
async def output_command(rest: RestClient, job: int, follow: bool, offset: int) -> int | None:
    """Print the output of a job, from its beginning or from a byte on."""
    asked = {"from": offset, "follow": str(follow).lower()}
    async for chunk in rest.chunks(f"/jobs/{job}/output", "text/plain", patient=follow, query=asked):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    if not follow:
        return None
    ended = await rest.get(f"/jobs/{job}")
    code = ended["exit_code"]
    if code is None:
        raise RemoteError(f"the server does not know the exit code of job {job}")
    if code == BAD_PARAMETER and ended.get("signal") is None:
        return BAD_PARAMETER & 0xFF
    return _exit_code(code)


@click.command("kill")
@click.option("-s", "--signal", "name", metavar="SIGNAL", help="Send this signal instead, such as HUP.")
@click.argument("job", type=click.IntRange(min=1))
@with_server_options
async def kill_command(server: str, token: str | None, ca_file: Path | None, job: int, name: str | None) -> int:
    """Ask a job to end, and kill it when it does not end in time."""
    async with CommandClient(server, token, ca_file=ca_file, timeout=CONNECT_SECONDS) as client:
        listener = client.start("kill", job) if name is None else client.start("signal", job, name)
        said = await listener.output()
    printing.say("\n".join(str(line) for line in said))
    return 1 if listener.exit_code else 0
