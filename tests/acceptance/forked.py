"""The installed `smartmob`, started by a fork of a process that has imported it already.

Of the processor time of a command 0.4 seconds are for its imports and some 0.03 for what it does, and the tests of the
command line and of the pages start hundreds. So one process of the test run imports the modules of all commands once,
forks each command and looks after it (`fork_server.py`). The folder `programs()` has a `smartmob` (`fork_client.py`)
that asks this process for a copy of itself. The copy gets the arguments, the variables, the folder and the open files,
and is a process with signals and an exit code like any other. Commands whose process is looked at are started as
installed.

Of the 0.8 seconds of a start and stop of the service 0.7 are for its imports. A second process has those: it is asked
when `FORKED_PID` names a file, into which the copy writes the id of its process.
"""

from __future__ import annotations

import asyncio
import marshal
import os
import socket
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.acceptance import installed
from tests.shared import SHARED

_CLIENT, _SERVER = (Path(__file__).with_name(f"fork_{name}.py") for name in ("client", "server"))


@cache
def programs() -> Path:
    """Return the folder of a `smartmob` that begins at once; one process of the test run makes it for all."""

    def make(folder: Path) -> None:
        real = installed.programs()
        write(folder, real, "smartmob", "smartmob-agent")
        for kind in ("commands", "service"):
            start(folder, real / "python", kind)

    return installed.made("forked", make) / "bin"


@cache
def python(real: Path, *modules: str) -> Path:
    """Return a Python that has imported `modules` already, for programs `-m MODULE` and scripts.

    It writes no bytecode, as with PYTHONDONTWRITEBYTECODE, and PYTHONUTF8 is set. With other options `real` itself is
    started.
    """

    def make(folder: Path) -> None:
        write(folder, real.parent, "python")
        start(folder, real, "python", *modules)

    return installed.made(f"forked-{real.parent.parent.name}", make) / "bin" / "python"


def write(folder: Path, real: Path, *names: str) -> None:
    """Write the programs that ask for a copy."""
    bin_folder = folder / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "installed").symlink_to(real)
    for name in names:
        (bin_folder / name).write_text(f"#!{real / 'python'} -IS\n{_CLIENT.read_text()}")
        (bin_folder / name).chmod(0o755)


def start(folder: Path, python: Path, kind: str, *modules: str) -> None:
    """Start a process that is copied."""
    run = (Path(os.environ[SHARED]) / "pid").read_text()
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    if kind == "python":
        variables["PYTHONUTF8"] = "1"
    subprocess.run([python, _SERVER, folder, run, kind, *modules], env=variables, check=True)


def kind_of(program: str, arguments: Sequence[str]) -> str | None:
    """Return which process forks a command that ends by itself, or None for one that is started as installed."""
    command = "serve" if program == "smartmob-agent" else next(iter(arguments), "")
    if program not in ("smartmob", "smartmob-agent") or command in ("demo", "bench"):
        return None
    return "service" if command == "serve" else "commands"


async def run(kind: str, program: str, arguments: Sequence[str], variables: dict[str, str]) -> tuple[int, bytes, bytes]:
    """Run a command that ends by itself, and return its exit code, output and errors.

    The test asks for the copy by itself: to start a program that does takes as long as what most commands do.
    """
    folder, loop = programs(), asyncio.get_running_loop()
    umask = os.umask(0)
    os.umask(umask)
    wanted = marshal.dumps(([str(folder / program), *arguments], variables, os.getcwd(), umask))
    pipes = [os.pipe(), os.pipe()]
    with socket.socket(socket.AF_UNIX) as line:
        # The command is killed when this is closed before its end.
        line.connect(str(folder.with_name(kind)))
        socket.send_fds(line, [len(wanted).to_bytes(4, "big")], [0, *(theirs for _, theirs in pipes)])
        for _, theirs in pipes:
            os.close(theirs)
        line.setblocking(False)
        await loop.sock_sendall(line, wanted)
        output, errors = await asyncio.gather(*(_read(ours) for ours, _ in pipes))
        status = await loop.sock_recv(line, 4)
        assert status, "what watches the command has ended"
    return int.from_bytes(status, "big", signed=True), output, errors


async def _read(file: int) -> bytes:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(file, "rb", buffering=0)
    )
    try:
        return await reader.read()
    finally:
        transport.close()
