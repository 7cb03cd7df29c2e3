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


def serve(listener: socket.socket, folder: Path, run: int) -> None:
    """Attend to each program in a fork; return in the fork that is to be the command."""
    while True:
        ready, _, _ = select.select([listener], [], [], _POLL_SECONDS)
        _reap()
        if ready:
            line, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                attend(line)
                return
            line.close()
        elif not folder.exists() or not _is_alive(run):
            os._exit(0)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def attend(line: socket.socket) -> None:
    """Fork once more: one process watches, the other returns with all that the program was given."""
    length, files, _, _ = socket.recv_fds(line, 4, 3)
    argv, variables, folder, umask = marshal.loads(_receive(line, int.from_bytes(length, "big")))
    end, held = os.pipe()
    child = os.fork()
    if child:
        os.close(held)
        for file in files:
            os.close(file)
        watch(line, child, end)
    os.close(end)
    line.close()
    for number, file in enumerate(files):
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


def _receive(line: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += line.recv(count - len(data)) or sys.exit("the program has gone")
    return data


def watch(line: socket.socket, child: int, end: int) -> None:
    """Pass signals on, kill the command when the program was killed, and tell the program how the command ended."""
    while True:
        ready, _, _ = select.select([line, end], [], [])
        if end in ready:
            break
        number = line.recv(1)
        os.kill(child, number[0] if number else signal.SIGKILL)
        if not number:
            break
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        line.sendall(status.to_bytes(4, "big", signed=True))
    except OSError:
        pass
    os._exit(0)


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
    serve(door, place, run_pid)
    programs = {"python": run_python, "workers": lambda: forked_workers.run_worker()}
    run_to_end(programs.get(kind, run_smartmob))
