"""The connection between a job and the terminal, pipes or files of a command of this machine."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import stat
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from smartmob.cli import printing
from smartmob.cli.main import FAILED
from smartmob.cli.node_output import is_one_of_many
from smartmob.cli.server_options import command_line_at
from smartmob.client import failures, streams
from smartmob.client.command_client import CommandClient
from smartmob.client.failures import ClientError, NotConnected
from smartmob.client.listener import Listener
from smartmob.client.messages import StandardErrorBytes
from smartmob.errors import RemoteError, SmartmobError, message_of

INTERRUPTED_CODE = 130
"""128 + SIGINT, as shells report it (POSIX.1-2017, XCU 2.8.2)."""
CLOSED_CODE = 141
"""128 + SIGPIPE."""
_NOT_FOUND_CODE, _NOT_EXECUTABLE_CODE = 127, 126  # POSIX.1-2017, XCU 2.8.2
_END_SECONDS = 10.0  # for the answer of the service that it ends a job
_LARGEST_SIGNAL, _LARGEST_CODE = 127, 2**32  # exit codes are unsigned on Windows


class Attachment:
    """The connection between a job and this terminal: output, input, CTRL-C and the size of the window.

    `terminal` tells that the job runs on a terminal. With `keep` the job goes on when this command ends, and with
    `leave_twice` after a second CTRL-C. `program` is the first word of the command.
    """

    def __init__(
        self,
        client: CommandClient,
        listener: Listener,
        *,
        terminal: bool,
        keep: bool = False,
        leave_twice: bool = True,
        program: str = "",
    ) -> None:
        self._client = client
        self._listener = listener
        self._terminal = terminal
        self._keep = keep
        self._leave_twice = leave_twice
        self._program = program
        self._input_error: OSError | None = None
        self._left: tuple[int, bool] | None = None
        self._work: set[asyncio.Task[Any]] = set()

    async def run(self, *, with_input: bool) -> int:
        """Pass everything on until the job ends or this command must; return the exit code."""
        if is_one_of_many():
            return await self._run_for_many()
        loop = asyncio.get_running_loop()
        presses = 0

        def interrupt() -> None:
            nonlocal presses
            presses += 1
            if presses > 1:
                self._leave(INTERRUPTED_CODE, keep=self._leave_twice)
            else:
                self._call("signal", self._listener.id, "SIGINT")

        loop.add_signal_handler(signal.SIGINT, interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._leave, 128 + number)
        if self._terminal:
            loop.add_signal_handler(signal.SIGWINCH, self._resize)
        if with_input:
            threading.Thread(target=self._pass_input, args=(loop,), daemon=True).start()
        elif not self._keep:  # a job that is kept may get input from another client
            self._listener.end_input()  # a program that reads gets the end of its input, as with ssh -n
        output = sys.stdout.fileno()
        if stat.S_ISFIFO(os.fstat(output).st_mode):
            # Nothing can be read from the end of a pipe that is written to, but its closing is reported.
            loop.add_reader(output, self._leave, CLOSED_CODE)
        showing = loop.create_task(self._show(output))
        self._showing = showing
        with _raw_terminal(self._terminal and sys.stdin.isatty()):
            try:
                return await showing
            except BrokenPipeError as error:
                if failures.is_remote(error):
                    raise
                self._left = self._left or (CLOSED_CODE, self._keep)
            except asyncio.CancelledError:
                if self._left is None:
                    raise
            except NotConnected:
                if self._listener.number is not None:
                    again = come_back(self._listener.id, self._client.url)
                    printing.say(f"Job {self._listener.id} may still be running. {again}")
                raise
            except BaseException:
                self._listener.cancel()
                raise
            finally:
                loop.remove_reader(output)
        code = await self._end(*self._left)
        if self._input_error is not None:
            raise SmartmobError(f"standard input cannot be read: {self._input_error.strerror}")
        return code

    async def _run_for_many(self) -> int:
        """Pass output on until the job ends, without input; a job whose command is cancelled is ended."""
        self._listener.end_input()
        try:
            return await self._show(None)
        except asyncio.CancelledError:
            await self._end(INTERRUPTED_CODE, self._keep)
            raise

    def _leave(self, code: int, *, keep: bool | None = None) -> None:
        """End this command with an exit code, and the job unless it is kept."""
        if self._left is None:
            self._left = (code, self._keep if keep is None else keep)
            self._showing.cancel()

    async def _end(self, code: int, keep: bool) -> int:
        """End the job unless it is kept, report what remains, and return the exit code."""
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
        printing.say(f"Job {job} is still running. {come_back(job, self._client.url)}")
        return code

    async def _show(self, output: int | None) -> int:
        """Show the output, on the file `output` or, for one of several machines, on its own output."""
        async for message in self._listener:
            if isinstance(message, BaseException):
                printing.say(f"smartmob: {message_of(message)}")
                continue
            is_error = isinstance(message, StandardErrorBytes)
            if output is None:
                (sys.stderr if is_error else sys.stdout).buffer.write(output_of(message))
            else:
                await streams.write_all(sys.stderr.fileno() if is_error else output, output_of(message))
        self._say_what_is_missing()
        code = self._start_code()
        return exit_code(self._listener.exit_code) if code is None else code

    def _say_what_is_missing(self) -> None:
        """Say which output is missing, and whether the time limit was reached."""
        for first, last in self._listener.gaps:
            printing.say(f"smartmob: {last - first} bytes of output were no longer stored")
        ended = self._listener.ended
        if ended is not None and ended.state == "timed out":
            printing.say("smartmob: the time limit was reached")

    def _start_code(self) -> int | None:
        """Return the exit code for a program that was not found or cannot be executed, as shells do."""
        error, ended = self._listener.error, self._listener.ended
        if not isinstance(error, OSError) or ended is None or ended.state != "failed":
            return None
        if error.filename is None or error.filename != self._program:
            return None
        return _NOT_FOUND_CODE if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE_CODE

    def _call(self, name: str, *args: Any) -> None:
        work = asyncio.get_running_loop().create_task(self._client.run(name, *args))
        self._work.add(work)
        work.add_done_callback(self._work.discard)

    def _resize(self) -> None:
        columns, rows = window()
        self._call("resize", self._listener.id, rows, columns)

    def _fail_input(self, error: OSError) -> None:
        self._input_error = error
        self._leave(FAILED, keep=False)

    def _pass_input(self, loop: asyncio.AbstractEventLoop) -> None:
        """Pass standard input on, in a thread, because asyncio cannot wait for a file."""
        fd = sys.stdin.fileno()
        try:
            while data := os.read(fd, 64 * 1024):
                asyncio.run_coroutine_threadsafe(self._listener.write(data), loop).result()
        except (ClientError, RuntimeError):
            return  # the job or the loop has ended
        except OSError as error:
            # A closed input is empty, as for ssh; so is that of a terminal that has gone.
            if error.errno != errno.EBADF and not os.isatty(fd):
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._fail_input, error)
                return
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._listener.end_input)


def attached_to_terminal() -> bool:
    """Return whether both the input and the output of this command are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def window() -> tuple[int, int]:
    """Return the columns and rows of this terminal, or 80 by 24 if it has no size."""
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


def output_of(message: Any) -> bytes:
    """Return a message of `exec` as output: nothing for an exception, which is the result's; raises ClientError."""
    if isinstance(message, BaseException):
        return b""
    if not isinstance(message, bytes):
        raise ClientError("the server violates the protocol: it sends messages as the output of a program")
    return message


def exit_code(code: int | None) -> int:
    """Return the exit code of this command for that of a job; a code other than 0 never becomes 0."""
    if code is None:
        return 3
    if not -_LARGEST_SIGNAL <= code < _LARGEST_CODE:
        raise RemoteError(f"the server names {code} as exit code")
    return 128 - code if code < 0 else code & 0xFF or int(code != 0)


def come_back(job: int, url: str) -> str:
    """Return how to follow a job of the service at `url` again, for people."""
    return f"Attach again with: {command_line_at(url, 'output', str(job), '-f')}"
