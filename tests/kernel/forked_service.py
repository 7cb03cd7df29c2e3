"""Tiny services that are forks of one process with their imports, which are nine tenths of the cost of a start.

As a program it is that process: `python -m tests.kernel.forked_service FD`. For each message on the socket with this
number, which has an output, a socket, the arguments and the variables, it forks a service that leads a session of its
own. The socket of the service gets its process id and then its exit code, as four bytes each.
"""

from __future__ import annotations

import asyncio
import gc
import marshal
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

_ROOT = Path(__file__).parents[2]
_LARGEST = 2**20
"""The bytes of the longest message: arguments and variables of a service."""


class ForkedProcess:
    """A forked service, with what the tests use of `asyncio.subprocess.Process`."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, exit_code: asyncio.Future[int]) -> None:
        self.pid = pid
        self.stdout = stdout
        self._exit_code = exit_code

    @property
    def returncode(self) -> int | None:
        """Return the exit code, or None while the service runs."""
        return self._exit_code.result() if self._exit_code.done() else None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the service has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Return the exit code when the service has ended."""
        return await asyncio.shield(self._exit_code)

    async def communicate(self) -> None:
        """Read the rest of the output, and wait until the service has ended."""
        await self.stdout.read()
        await self.wait()


class ServiceForks:
    """The process that is forked; it is started at the first use, and ends with `close`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._line, self._other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    async def start(self, arguments: list[str], variables: Mapping[str, str]) -> ForkedProcess:
        """Return a new service with these arguments and variables."""
        output, line = self._ask(arguments, variables)
        stdout = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdout), output)
        numbers, writer = await asyncio.open_unix_connection(sock=line)
        pid = int.from_bytes(await numbers.readexactly(4), "big")

        async def end() -> int:
            code = int.from_bytes(await numbers.readexactly(4), "big", signed=True)
            writer.close()
            return code

        return ForkedProcess(pid, stdout, asyncio.ensure_future(end()))

    def _ask(self, arguments: list[str], variables: Mapping[str, str]) -> tuple[IO[bytes], socket.socket]:
        """Ask for a service; return the ends of its output and of the socket of its numbers."""
        if self._process is None:
            command = [sys.executable, "-m", "tests.kernel.forked_service", str(self._other.fileno())]
            self._process = subprocess.Popen(command, cwd=_ROOT, pass_fds=(self._other.fileno(),))
        output, written = os.pipe()
        line, told = socket.socketpair()
        socket.send_fds(self._line, [marshal.dumps((arguments, dict(variables)))], [written, told.fileno()])
        os.close(written)
        told.close()
        return os.fdopen(output, "rb"), line

    def close(self) -> None:
        """End the process; the services that it started go on."""
        self._line.close()
        self._other.close()
        if self._process is not None:
            self._process.wait()


def _serve(line: socket.socket) -> None:
    """Fork for each message; return when the other end is closed."""
    while True:
        message, files, _, _ = socket.recv_fds(line, _LARGEST, 2)
        if not message:
            return
        if os.fork() == 0:
            line.close()
            _attend(*marshal.loads(message), *files)
        for file in files:
            os.close(file)


def _attend(arguments: list[str], variables: dict[str, str], output: int, told: int) -> None:
    """Fork the service, and send its id and exit code; never return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os._exit(_run(arguments, variables, output))
    os.close(output)
    with socket.socket(fileno=told) as line:
        line.sendall(pid.to_bytes(4, "big"))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        line.sendall(code.to_bytes(4, "big", signed=True))
    os._exit(0)


def _run(arguments: list[str], variables: dict[str, str], output: int) -> int:
    """Run the service in a session of its own, and return its exit code."""
    os.setsid()
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.environ.clear()
    os.environ.update(variables)
    try:
        tiny_service.main(*arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


if __name__ == "__main__":
    from tests.kernel import tiny_service

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as listened:
        _serve(listened)
