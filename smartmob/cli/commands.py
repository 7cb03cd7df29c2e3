"""`smartmob exec`, `jobs`, `output`, `kill` and `cp`: commands and files on machines where a service runs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from rich.progress import Progress, TaskID

from smartmob.cli import printing
from smartmob.cli.server_options import with_answer_timeout, with_rest_client, with_server_options
from smartmob.client import safe_paths, transfer
from smartmob.client.command_client import CommandClient
from smartmob.client.failures import ClientError
from smartmob.client.group import Group, Result
from smartmob.client.http import RestClient
from smartmob.client.limits import LIMITS
from smartmob.client.listener import Listener
from smartmob.client.messages import LineSplitter
from smartmob.client.safe_paths import SafePath
from smartmob.errors import InvalidInput, RemoteError
from smartmob.kernel.subprocesses.variables import is_name

CONNECT_SECONDS = 10.0
_INTERRUPTED_CODE = 130  # 128 + SIGINT, as shells have it
_PORT = 8080
_LARGEST_BYTES = 2**63
_LARGEST_SIGNAL, _LARGEST_CODE = 127, 2**32  # exit codes are unsigned on Windows


def address(host: str) -> str:
    """Return the address of a service for `name`, `name:port` or a whole address."""
    if "://" in host:
        return host
    name = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
    return f"http://{name}" if urlsplit(f"//{name}").port else f"http://{name}:{_PORT}"


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.option("--on", "hosts", metavar="HOST,...", help="Run on all these hosts at once; lines begin with the host.")
@click.option("-t", "--tty", "terminal", is_flag=True, help="Run on a terminal, as an interactive program needs.")
@click.option("-C", "--chdir", "cwd", metavar="PATH", help="Working directory on the machine.")
@click.option("-e", "--env", "env", metavar="NAME=VALUE", multiple=True, help="Environment variable; repeatable.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Stop it after this number of seconds.")
@click.option("-n", "--no-stdin", is_flag=True, help="Do not pass standard input on.")
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@with_answer_timeout
@with_server_options
async def exec_command(
    server: str, token: str | None, ca_file: Path | None, words: tuple[str, ...], **options: Any
) -> int:
    """Run a command on a machine, pass input and output, and end with its exit code.

    One word is a command line for the shell of the machine, several are a program and its arguments. CTRL-C interrupts
    the command; a second CTRL-C detaches and prints how to come back. A signal N gives the exit code 128 + N.
    """
    kwargs = _parameters(options)
    cmd: Any = words[0] if len(words) == 1 else list(words)
    if options["hosts"]:
        if options["terminal"]:
            raise click.UsageError("-t needs one host")
        urls = tuple(address(host) for host in options["hosts"].split(",") if host)
        return await _on_many(Group(urls, token, CONNECT_SECONDS, ca_file), cmd, kwargs)
    async with CommandClient(server, token, ca_file=ca_file, timeout=CONNECT_SECONDS) as client:
        if options["terminal"]:
            kwargs["terminal"] = dict(zip(("columns", "rows"), _window(), strict=True))
        listener = client.start("exec", cmd, binary=True, **kwargs)
        await listener.accepted()
        return await _Attachment(client, listener, terminal=options["terminal"]).run(with_input=not options["no_stdin"])


def _parameters(options: dict[str, Any]) -> dict[str, Any]:
    env = {}
    for given in options["env"]:
        name, separator, value = given.partition("=")
        if not separator or not is_name(name):
            raise click.UsageError(f"--env: expected NAME=VALUE with a name of letters, digits and _; got {given!r}")
        env[name] = value
    found = {"cwd": options["cwd"], "env": env or None, "timeout_": options["timeout"]}
    return {name: value for name, value in found.items() if value is not None}


async def _on_many(group: Group, cmd: Any, kwargs: dict[str, Any]) -> int:
    lines = {host: LineSplitter() for host in group.hosts}

    def show(host: str, found: list[str]) -> None:
        for line in found:
            click.echo(f"{host}: {line}", nl=not line.endswith("\n"))

    try:
        results = await group.gather(
            "exec", (cmd,), kwargs | {"binary": True}, lambda host, data: show(host, lines[host].add(_output(data))),
            ended=lambda ended: show(ended[0], lines[ended[0]].end()), keep=False,
        )  # fmt: skip
    finally:
        await group.aclose()
    for result in results.values():
        if not result.good:
            printing.say(f"{result.host}: {_ending(result)}")
    return max((_exit_code(result.exit_code) for result in results.values()), default=0)


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

    def __init__(self, client: CommandClient, listener: Listener, *, terminal: bool) -> None:
        self._client = client
        self._listener = listener
        self._terminal = terminal
        self._detached = False
        self._work: set[asyncio.Task[Any]] = set()

    async def run(self, *, with_input: bool) -> int:
        loop = asyncio.get_running_loop()
        presses = 0

        def interrupt() -> None:
            nonlocal presses
            presses += 1
            if presses > 1:
                self._detached = True
                self._listener.failed(RemoteError("detached"))
            else:
                self._call("signal", self._listener.id, "SIGINT")

        loop.add_signal_handler(signal.SIGINT, interrupt)
        if self._terminal:
            loop.add_signal_handler(signal.SIGWINCH, self._resize)
        if with_input:
            threading.Thread(target=self._pass_input, args=(loop,), daemon=True).start()
        with _raw_terminal(self._terminal and sys.stdin.isatty()):
            try:
                return await self._show()
            except RemoteError:
                if not self._detached:
                    self._listener.cancel()
                    raise
        self._listener.cancel()
        printing.say(f"Job {self._listener.id} goes on. Come back with: smartmob output {self._listener.id} -f")
        return _INTERRUPTED_CODE

    async def _show(self) -> int:
        async for message in self._listener:
            if isinstance(message, BaseException):
                printing.say(f"smartmob: {message}")
            else:
                sys.stdout.buffer.write(_output(message))
                sys.stdout.buffer.flush()
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
            loop.call_soon_threadsafe(self._listener.end_input)
        except (OSError, RuntimeError):
            pass  # the job or the loop has ended


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
@click.option("--state", metavar="STATE", help="Only jobs in this state, such as running or exited.")
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
    code = (await rest.get(f"/jobs/{job}"))["exit_code"]
    if code is None:
        raise RemoteError(f"the server does not know the exit code of job {job}")
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


@click.command("cp")
@click.argument("src")
@click.argument("dest")
@with_answer_timeout
@with_server_options
async def cp_command(server: str, token: str | None, ca_file: Path | None, src: str, dest: str) -> None:
    """Copy a file, or a folder with its content, to a machine or from a machine.

    A path on a machine is written HOST:PATH, [HOST:PORT]:PATH, or :PATH for the service that --server names. Every file
    is checked by its SHA-256. A repeated copy continues where the one before was cut off.
    """
    remote = [_remote(path, server) for path in (src, dest)]
    if (remote[0] is None) == (remote[1] is None):
        raise click.UsageError("one of SRC and DEST must be HOST:PATH, the other one a path on this machine")
    url, path = remote[0] or remote[1] or ("", "")
    async with CommandClient(url, token, ca_file=ca_file, timeout=CONNECT_SECONDS) as client:
        if remote[1] is not None:
            await _send(client, Path(src), path)
        else:
            await _fetch(client, path, Path(dest))


def _remote(path: str, server: str) -> tuple[str, str] | None:
    """Return the address of the service and the path there, or None for a path on this machine."""
    if path.startswith("["):
        host, separator, remote = path[1:].partition("]:")
        return (address(host), remote or ".") if separator else None
    host, separator, remote = path.partition(":")
    if not separator or "/" in host:
        return None
    return (address(host) if host else server), remote or "."


async def _send(client: CommandClient, src: Path, dest: str) -> None:
    if not src.exists():
        raise InvalidInput(f"there is no {src} here")
    files = [(src, "")] if src.is_file() else _files(src)
    if dest.endswith("/") or dest in (".", ".."):
        dest = f"{dest.rstrip('/')}/{src.resolve().name}"
    total = sum(path.stat().st_size for path, _ in files)
    with printing.transfer() as bars:
        task = bars.add_task(src.name, total=total)
        before = 0
        for path, inner in files:
            target = f"{dest}/{inner}" if inner else dest
            await client.transfer(path, target, progress=_progress(bars, task, before))
            before += path.stat().st_size
            bars.update(task, completed=before)


def _progress(bars: Progress, task: TaskID, before: int) -> Callable[[int, int], None]:
    """Return the progress callback of one file, before which `before` bytes were done."""
    return lambda done, _: bars.update(task, completed=before + done)


def _files(folder: Path) -> list[tuple[Path, str]]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(path, str(path.relative_to(folder))) for path in found]


async def _fetch(client: CommandClient, src: str, dest: Path) -> None:
    listed = await client.run("find_files", src, raise_error=True, timeout=LIMITS.transfer_seconds)
    name = Path(src).name
    if dest.is_dir() and name != "..":
        dest = dest / name
    files = list(_listed(listed, src, dest))
    with printing.transfer() as bars:
        task = bars.add_task(printing.printable(name), total=sum(size for _, _, size in files))
        before = 0
        for origin, target, size in files:
            await transfer.download(client, origin, target, _progress(bars, task, before), size)
            before += size
            bars.update(task, completed=before)


def _listed(listed: list[Any], src: str, dest: Path) -> Iterator[tuple[str, SafePath, int]]:
    """Yield the path of each file on the server, its path here and its size; raises ClientError."""
    known: set[object] = set()
    for found in listed:
        inner, size = (found.get("path"), found.get("size")) if isinstance(found, dict) else (None, None)
        if type(size) is not int or not 0 <= size < _LARGEST_BYTES or not isinstance(inner, str) or inner in known:
            raise ClientError("the server's list of files is malformed: names are missing or repeated, or a size is")
        known.add(inner)
        if inner:
            yield f"{src}/{inner}", safe_paths.below(dest, inner), size
        elif len(listed) == 1 and dest.name not in ("", ".."):
            yield src, safe_paths.chosen(dest), size
        else:
            raise ClientError("the server names a file without a name")
