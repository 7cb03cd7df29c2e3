"""`smartmob cp`: copy files and folders to machines where a service runs, and back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from smartmob.cli import printing
from smartmob.cli.commands import CONNECT_SECONDS
from smartmob.cli.node_output import is_one_of_many, machine_name
from smartmob.cli.node_selection import find_node
from smartmob.cli.on_nodes import with_nodes
from smartmob.cli.server_options import address, with_answer_timeout, with_server_options
from smartmob.client.command_client import CommandClient
from smartmob.client.copying import Copy, need_folder_here
from smartmob.client.http import RestClient
from smartmob.client.streams import STREAM
from smartmob.counts import counted

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OWN_PREFIXES = ("/", "./", "../", "-")
"""Beginnings of a path on this machine, which may then contain a colon."""


@click.command("cp")
@click.option("--mkpath", is_flag=True, help="Create the folders of DEST that are missing; a DEST/ is a folder.")
@click.argument("src")
@click.argument("dest")
@with_answer_timeout
@with_server_options
@with_nodes()
async def cp_command(server: str, token: str | None, ca_file: Path | None, src: str, dest: str, mkpath: bool) -> int:
    """Copy a file, or a folder with its content, to a machine or from a machine.

    A path on a machine is written NODE:PATH, HOST:PATH, [HOST:PORT]:PATH, or :PATH for the machines of --on, or else
    the service of --server. A path on this machine is a file, a folder, or a stream: - for standard input or output, a
    pipe, a device. From several machines, DEST is a folder that gets a folder for each machine.

    Every file is checked by its SHA-256, and gets its name when it is complete. Links, fifos, times, and modes below
    the umask are kept. A copy goes into a folder that exists, as with cp, and the folder of DEST must exist unless
    --mkpath creates it. A repeated copy continues where the previous one was interrupted. Files that cannot be copied
    are listed, and the exit code is 1.
    """
    if not src or not dest:
        raise click.UsageError("SRC and DEST must not be empty; . is the folder where this command runs")
    async with RestClient(server, token, ca_file) as rest:
        remote = [await _remote(path, rest) for path in (src, dest)]
    if (remote[0] is None) == (remote[1] is None):
        raise click.UsageError("one of SRC and DEST must be HOST:PATH, the other one a path on this machine")
    url, path = remote[0] or remote[1] or ("", "")
    if is_one_of_many():
        dest = _for_one_of_many(src, dest, mkpath, fetches=remote[0] is not None, named=url != server)
    async with CommandClient(url, token, ca_file=ca_file, timeout=CONNECT_SECONDS) as client:
        with printing.transfer() as bars:
            task = bars.add_task(printing.printable(Path(src).name), total=None)

            def progress(done: int, total: int) -> None:
                bars.update(task, completed=done, total=total or None)

            copy = Copy(client, progress, make_path=mkpath)
            code = await _until_stopped(copy.send(src, path) if remote[1] is not None else copy.fetch(path, dest))
    for problem in copy.problems:
        printing.say(f"smartmob: {problem}")
    if code:
        printing.say(f"smartmob: stopped{_how_far(copy, src)}")
        return code
    if not copy.problems and not any(_is_stream(path) for path in (src, dest)):
        printing.say(f"Copied {_what(copy)} from {src} to {dest}")
    if len(copy.problems) > 1:
        printing.say(f"smartmob: {copy.count} were copied, {len(copy.problems)} were not")
    return 1 if copy.problems else 0


async def _until_stopped(copying: Coroutine[Any, Any, None]) -> int:
    """Copy until the end, and return 0, or until CTRL-C, TERM or HUP, and return the exit code of a shell for it."""
    if is_one_of_many():  # the signals are those of the command on all machines
        await copying
        return 0
    stopped: list[int] = []
    loop = asyncio.get_running_loop()
    task = loop.create_task(copying)

    def stop(number: int) -> None:
        stopped.append(128 + number)
        task.cancel()

    stopping = [number for number in _STOPPING if signal.getsignal(number) is not signal.SIG_IGN]  # as with nohup
    for number in stopping:
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise
        return stopped[0]
    finally:
        for number in stopping:
            loop.remove_signal_handler(number)
    return 0


def _how_far(copy: Copy, src: str) -> str:
    """Return how much a stopped copy has copied, and how to copy the rest."""
    if _is_stream(src):
        return ""
    done = f"{copy.count} of {copy.listed} were copied" if copy.listed > 1 else "the file is not complete"
    return f": {done}; the same command again copies the rest"


def _what(copy: Copy) -> str:
    """Return how many files a copy has copied, and how many bytes they have."""
    files = counted(copy.files, "file")
    return f"{files}, {printing.size(copy.bytes)}"


_FILES_IN_MEMORY = "/dev/shm/"  # noqa: S108  # files there are no devices, and none is made


def _is_stream(path: str) -> bool:
    """Return whether a path is standard input or output or a device, so that nothing may be printed."""
    return path == STREAM or (path.startswith("/dev/") and not path.startswith(_FILES_IN_MEMORY))


def _for_one_of_many(src: str, dest: str, mkpath: bool, *, fetches: bool, named: bool) -> str:
    """Return the destination for one of several machines; raises UsageError."""
    if named:
        raise click.UsageError("with several machines of --on, a path there is written :PATH")
    if not fetches:
        if src == "-" or not (Path(src).is_file() or Path(src).is_dir()):
            raise click.UsageError("a stream cannot be copied to several machines; put it into a file first")
        return dest
    if dest == "-":
        raise click.UsageError("files of several machines need a folder as DEST")
    name = machine_name()
    if name in (".", "..") or "/" in name:
        name = quote(name, safe="").replace(".", "%2E")
    need_folder_here(dest, mkpath)
    folder = Path(dest, name)
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


async def _remote(path: str, rest: RestClient) -> tuple[str, str] | None:
    """Return the address of the service and the path there, or None for a path on this machine."""
    if path.startswith("["):
        host, separator, remote = path[1:].partition("]:")
        return (address(host), remote or ".") if separator else None
    host, separator, remote = path.partition(":")
    if not separator or "/" in host or path.startswith(_OWN_PREFIXES):
        return None
    if not host:
        return rest.url, remote or "."
    node = await find_node(rest, host)
    return (address(host) if node is None else node.url), remote or "."
