"""Imports the commands of `smartmob`, its service or other modules once, and runs each program in a fork of itself.

Arguments: the folder, the process of the test run, with which the server ends, and `commands`, `service`, `python`
with the modules that its programs import (`forked.py`), or `workers` with the paths of tests (`forked_workers.py`).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import marshal
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

_FURTHER = (
    *("aiohttp", "smartmob.client.command_client", "smartmob.client.http", "rich.table", "rich.live", "rich.progress"),
    *("smartmob.cli.change_results", "smartmob.cli.export_results", "smartmob.cli.follower", "smartmob.cli.trend_list"),
    *("concurrent.futures.thread", "encodings.idna"),
)
_SERVICE = (
    *("smartmob.app", "smartmob.kernel.observability.log", "smartmob.kernel.subprocesses.pid1", "uvloop", "_strptime"),
    *("smartmob.node_membership", "smartmob.kernel.http.server", "smartmob.kernel.maintenance"),
    "smartmob.kernel.observability.notify",
)
_POLL_SECONDS = 1.0
"""Seconds between looks whether the test run still goes on."""


class Request:
    """A program that asks for a copy: the files and the message of which parts have come so far."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.files: list[int] = []
        self._left = 0
        self._data = b""

    def read(self) -> bool:
        """Read what has come, and return whether it is all; raises EOFError when the program has gone."""
        if not self._left:
            length, self.files, _, _ = socket.recv_fds(self.line, 4, 3)
            self._left = int.from_bytes(length, "big")
        else:
            data = self.line.recv(self._left)
            self._data += data
            self._left -= len(data)
            if not data:
                self._left = -1
        if not self.files or self._left < 0:
            raise EOFError
        return not self._left

    def close(self) -> None:
        """Close all that came with it; the copy has its own."""
        for file in self.files:
            os.close(file)
        self.line.close()

    def take_over(self) -> None:
        """Let this process have all that the program was given."""
        argv, variables, folder, umask = marshal.loads(self._data)
        self.line.close()
        for number, file in enumerate(self.files):
            os.dup2(file, number)
            os.close(file)
        sys.argv = argv
        # What executes itself again does so as installed.
        sys.orig_argv = [sys.executable, str(Path(sys.executable).with_name(Path(argv[0]).name)), *argv[1:]]
        if pid_file := variables.pop("FORKED_PID", None):
            with open(pid_file, "w") as file:
                file.write(str(os.getpid()))
        os.environ.clear()
        os.environ.update(variables)
        time.tzset()
        os.umask(umask)
        os.chdir(folder)


class Copy:
    """A copy that runs: its process, the file that tells of its end, and the program that waits for it."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid = pid
        self.end = os.pidfd_open(pid)
        self.line = line

    def pass_on(self) -> bool:
        """Send the signal that the program got, or kill the copy and return False when the program was killed."""
        try:
            number = self.line.recv(1)
        except ConnectionError:
            number = b""
        os.kill(self.pid, number[0] if number else signal.SIGKILL)
        return bool(number)

    def tell_end(self) -> None:
        """Tell the program how the copy has ended."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        try:
            self.line.sendall(status.to_bytes(4, "big", signed=True))
        except OSError:
            pass  # the program has gone
        self.close()

    def close(self) -> None:
        """Close the files."""
        os.close(self.end)
        self.line.close()


class Server:
    """Forks a copy of this process for each program that asks, and looks after all copies.

    A process for each copy that looks after it would take a third of the processor time of a command.
    """

    def __init__(self, listener: socket.socket, folder: Path, run: int) -> None:
        self._listener, self._folder, self._run = listener, folder, run
        self._waiting: dict[int, Request] = {}
        self._lines: dict[int, Copy] = {}
        self._ends: dict[int, Copy] = {}
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)

    def serve(self) -> None:
        """Attend to each program; return in the fork that is to be the command."""
        while True:
            ready = [file for file, _ in self._poll.poll(_POLL_SECONDS * 1000)]
            # The ends come last: a signal that came before is for a process that has not been waited for.
            for file in sorted(ready, key=self._ends.__contains__):
                if file == self._listener.fileno():
                    self._accept()
                elif file in self._waiting:
                    if self._read(file):
                        return
                elif file in self._lines:
                    self._pass_on(file)
                elif file in self._ends:
                    self._end(file)
            if not ready and not self._ends and not (self._folder.exists() and _is_alive(self._run)):
                os._exit(0)

    def _accept(self) -> None:
        line, _ = self._listener.accept()
        self._waiting[line.fileno()] = Request(line)
        self._poll.register(line, select.POLLIN)

    def _read(self, file: int) -> bool:
        """Read from a program, and return True in the fork that is its copy."""
        request = self._waiting[file]
        try:
            if not request.read():
                return False
        except (EOFError, ConnectionError):
            self._poll.unregister(file)
            self._waiting.pop(file).close()
            return False
        del self._waiting[file]
        if (pid := os.fork()) == 0:
            self._close()
            request.take_over()
            return True
        for given in request.files:
            os.close(given)
        copy = Copy(pid, request.line)
        self._lines[file] = self._ends[copy.end] = copy
        self._poll.register(copy.end, select.POLLIN)
        return False

    def _pass_on(self, file: int) -> None:
        if not self._lines[file].pass_on():
            self._poll.unregister(file)
            del self._lines[file]

    def _end(self, file: int) -> None:
        copy = self._ends.pop(file)
        self._poll.unregister(file)
        if self._lines.pop(copy.line.fileno(), None):
            self._poll.unregister(copy.line)
        copy.tell_end()

    def _close(self) -> None:
        """Close in a copy what is of other programs."""
        self._listener.close()
        for other in (*self._waiting.values(), *self._ends.values()):
            other.close()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def run_to_end(program: Callable[[], None]) -> NoReturn:
    """Run the program, and end as the interpreter does, except that modules are not freed.

    To free them takes 0.05 seconds, since that copies all memory that the processes share.
    """
    code: object = 0
    try:
        program()
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            raise
    threading._shutdown()  # type: ignore[attr-defined] - the interpreter calls it: it waits for threads
    atexit._run_exitfuncs()
    try:
        for file in (sys.stdout, sys.stderr):
            if file is not None:
                file.flush()
    except OSError:
        sys.exit(code)  # the interpreter tries it again, and tells that it failed
    os._exit(code & 0xFF)


def run_python() -> None:
    """Run what the arguments of Python name: `-m MODULE` or a script."""
    del sys.argv[0]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        sys.path[0] = os.getcwd()
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
        runpy.run_path(sys.argv[0], run_name="__main__")


def run_smartmob() -> None:
    """Run the command or the service."""
    from smartmob.cli import main

    main.agent() if Path(sys.argv[0]).name == "smartmob-agent" else main.main()


def import_modules(kind: str) -> None:
    """Import what is imported when a command runs, or when the service starts."""
    from smartmob.cli import main
    from smartmob.cli import serve as serve_command

    if kind == "service":
        # Like the command does it: the log has no tracebacks of rich.
        with serve_command.hidden("rich"):
            importlib.import_module("structlog")
        import_all(_SERVICE)
        # Half of the time of a start would go into the patterns of routes and the schemas of messages, which are kept.
        app, settings = (importlib.import_module(f"smartmob.{name}") for name in ("app", "settings"))
        app.build(settings.Settings(data_dir=Path("nowhere")))
    else:
        import_all((*(module.partition(":")[0] for module, _ in main._COMMANDS.values()), *_FURTHER))


def import_all(modules: Sequence[str]) -> None:
    """Import modules by their names."""
    for module in modules:
        importlib.import_module(module)


if __name__ == "__main__":
    place, run_pid, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(place / kind))
    door.listen(100)
    if os.fork():
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    if kind == "python":
        # Those packages may not be compiled yet; programs that are forked write nothing.
        import_all(sys.argv[4:])
        if "pytest" in sys.modules:
            import_all([f"_pytest.{name}" for name in importlib.import_module("_pytest.config").default_plugins])
        sys.dont_write_bytecode = True
    elif kind == "workers":
        sys.path.append(str(Path(__file__).parents[2]))
        forked_workers = importlib.import_module("tests.forked_workers")
        forked_workers.import_tests(sys.argv[4:])
    else:
        import_modules(kind)
    gc.freeze()
    Server(door, place, run_pid).serve()
    programs = {"python": run_python, "workers": lambda: forked_workers.run_worker()}
    run_to_end(programs.get(kind, run_smartmob))
