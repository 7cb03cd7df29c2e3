"""Runs the examples of one page, in their order, in a folder of their own."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from docs._examples.matching import fits
from docs._examples.services import FILES, Files, Outside, Ports, Service, interrupt, serves, until
from docs._examples.shell import Ended, Shell
from tests.acceptance import forked
from tests.interop.environments import MONITOR_API, MONITOR_API_IMPORTS, PLUGIN, PLUGIN_IMPORTS, python_with
from tests.shared import folder_of_files

ROOT = Path(__file__).parents[2]
COMMIT = "90a8bcc1f6a5a7c0ac1d3e5c2f20ed6d4b1c9e77"
MACHINE = "rack7"
HOME = "/home/me"
"""What pages call the commit of the suite, the machine and the home folder."""

_ADDRESS = re.compile(r"\b(?:127\.0\.0\.1|localhost):8080\b")
_OUTSIDE = re.compile(r"@db\.example\.com(?::5432)?/(\w+)(\?)?")
_PYTHONS = {"pytest-monitor": (PLUGIN, PLUGIN_IMPORTS), "monitor-api": (MONITOR_API, MONITOR_API_IMPORTS)}
_ASKS = re.compile(r"\bsmartmob (?:tests|hosts|marks?|token|run|ps|logs|attach|restart|stop)\b")
_TURRET = re.compile(r"\bsmartmob turret\b(?!:)(?=.*--(?:tar|config-file))")
_INTERRUPTED = "^C"
_INDEX = "index"
"""What a page uses that installs packages; it only makes the page one that needs an index."""


class ExampleError(Exception):
    """An example does not do what its page says; `line` counts from the beginning of the example."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class Stage:
    """The place of one page's examples, with or without the machine's own curl. After use you must `close`."""

    def __init__(self, curl: bool) -> None:
        # Not one of pytest's folders: the database of a service that runs as root belongs to another user.
        self._folder = Path(tempfile.mkdtemp(prefix="smartmob-docs-", dir=folder_of_files()))
        self._folder.chmod(0o711)
        self._shell = Shell(self._folder)
        self._shell.add_program("git", "/bin/sh", "-c", f"echo {COMMIT}")
        if not curl:
            self._shell.add_program("curl", sys.executable, Path(__file__).with_name("curl.py"))
        self._service: Service | None = None
        self._outside: Outside | None = None
        self._files: Files | None = None
        self._ports = Ports()
        # Bound but not listening: the address of a service that is not running.
        self._unused_port = socket.socket()
        self._unused_port.bind(("127.0.0.1", 0))
        self._alone = False
        self._port = 0
        self._beside: list[subprocess.Popen[bytes]] = []

    def close(self) -> None:
        """End everything and remove the folder."""
        with ExitStack() as ends:
            ends.callback(shutil.rmtree, self._folder, ignore_errors=True)
            ends.callback(self._unused_port.close)
            ends.callback(self._ports.give_back)
            for process in self._beside:
                ends.callback(interrupt, process)
            for running in (self._outside, self._files, self._service):
                if running is not None:
                    ends.callback(running.stop)

    # -- what a page can ask for ----------------------------------------------------------------------------------

    def use_python(self, name: str) -> None:
        """Let `python` (for the plugin: `pytest`) be the one of an environment that has a third-party client."""
        if name == _INDEX:
            return
        installs, imports = _PYTHONS[name]
        python = forked.python(python_with(installs), *imports)
        if name == "pytest-monitor":
            self._shell.add_program("pytest", python, "-m", "pytest")
        else:
            self._shell.add_program("python", python)

    def be_alone(self) -> None:
        """Let there be no service at the address."""
        self._alone = True
        self._move(self._unused_port.getsockname()[1])

    def copy(self, name: str) -> None:
        """Copy a file or a folder of the repository into the present folder."""
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, self._shell.cwd, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, self._shell.cwd)

    def copy_folder(self, name: str) -> None:
        """Copy a folder of the repository, under its own name, into the present folder."""
        shutil.copytree(ROOT / name, self._shell.cwd / Path(name).name, ignore=shutil.ignore_patterns("__pycache__"))

    def write(self, name: str, text: str) -> None:
        """Write a file in the present folder."""
        path = self._shell.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.real(text))

    def execute(self, text: str) -> None:
        """Execute SQL as the administrator of the PostgreSQL server outside."""
        self._away().execute(text)

    def console(self, text: str, code: int, soon: bool = False) -> None:
        """Run the commands of a console and compare what they print; the last one must end with `code`.

        With `soon` each is repeated until it prints what the page shows.
        """
        commands = _commands(text)
        for number, (line, command, shown) in enumerate(commands, start=1):
            expected = code if number == len(commands) else 0
            if serves(command) and not expected:
                self._serve(line, command, shown)
                continue
            if _INTERRUPTED in shown.splitlines():
                self._interrupt(line, command, shown)
                continue
            ended = self._run_until(command, shown) if soon else self._shell.run(self.real(command))
            if ended.code != expected:
                raise ExampleError(line, f"$ {command}\nended with {ended.code}, not {expected}:\n{ended.output}")
            self._compare(line, command, shown, ended.output)

    def beside(self, text: str) -> None:
        """Start the commands of a console, which go on until the end of the page, and wait for what they print."""
        for line, command, shown in _commands(text):
            output = self._folder / f"beside-{len(self._beside)}.out"
            process = self._shell.start(self.real(command), output, {})
            self._beside.append(process)
            self._until_printed(line, command, shown, process, output)

    # -- what stands for what -------------------------------------------------------------------------------------

    def real(self, text: str) -> str:
        """Return `text` of a page with what is there in place of what the page calls it."""
        text = _OUTSIDE.sub(lambda match: self._away().url(match[1]) + ("&" if match[2] else ""), text)
        if _ADDRESS.search(text) or _ASKS.search(text):
            text = _ADDRESS.sub(f"127.0.0.1:{self._present()}", text)
        text = _TURRET.sub(lambda match: f"{match[0]} {self._ports.headquarters}", text)
        if FILES in text:
            text = text.replace(FILES, self._file_server().address)
        return self._ports.real(text).replace(HOME, str(self._shell.home))

    def shown(self, text: str) -> str:
        """Return output as a page shows it."""
        if self._port:
            text = text.replace(f"127.0.0.1:{self._port}", "127.0.0.1:8080")
            text = re.sub(rf"\bport(=|\": ?|', port=){self._port}\b", r"port\g<1>8080", text)
        if self._files is not None:
            text = text.replace(self._files.address, FILES)
        text = self._ports.shown(text)
        for name in {socket.getfqdn(), socket.gethostname()}:
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", MACHINE, text)
        return text.replace(str(self._shell.home), HOME)

    def _compare(self, line: int, command: str, shown: str, printed: str) -> None:
        # A page that shows nothing promises nothing about it.
        if shown and not fits(shown, self.shown(printed)):
            raise ExampleError(line, f"$ {command}\nprinted\n{self.shown(printed)}\nwhere the page shows\n{shown}")

    def _run_until(self, command: str, shown: str) -> Ended:
        """Run a command again and again, until it prints what the page shows or that is hopeless."""
        ended = self._shell.run(self.real(command))

        def fitting() -> bool | None:
            nonlocal ended
            if not shown or fits(shown, self.shown(ended.output)):
                return True
            ended = self._shell.run(self.real(command))
            return None

        with suppress(TimeoutError):
            until(fitting, "a command prints what the page shows")
        return ended

    def _interrupt(self, line: int, command: str, shown: str) -> None:
        """Press CTRL-C once the command has printed what the page shows before."""
        before, _, after = (part.strip() for part in shown.partition(_INTERRUPTED))
        before = before.removesuffix("\n...")
        output = self._folder / "command.out"
        process = self._shell.start(self.real(command), output, {})
        try:
            self._until_printed(line, command, before, process, output)
        finally:
            interrupt(process)
        printed = output.read_text(errors="replace")
        if process.returncode:
            raise ExampleError(line, f"$ {command}\nended with {process.returncode}:\n{printed}")
        self._compare(line, command, f"{before}...{after}", printed)

    def _until_printed(
        self, line: int, command: str, shown: str, process: subprocess.Popen[bytes], output: Path
    ) -> None:
        """Wait until a command that goes on has printed what the page shows, or has ended."""

        def ready() -> bool | None:
            printed = self.shown(output.read_text(errors="replace"))
            return True if fits(f"{shown}...", printed) or process.poll() is not None else None

        try:
            until(ready, "the command prints what the page shows")
        except TimeoutError:
            self._compare(line, command, shown, output.read_text(errors="replace"))

    def _file_server(self) -> Files:
        if self._files is None:
            self._files = Files(self._shell.home)
        return self._files

    def _serve(self, line: int, command: str, shown: str) -> None:
        if self._service is not None:
            self._service.stop()
            self._service = None
        # No test listens where others can connect.
        started = re.sub(r"--host \S+", "--host 127.0.0.1", self.real(command))
        try:
            self._service = Service(self._shell, self._folder, started, self._ports.base)
        except (ChildProcessError, TimeoutError) as error:
            raise ExampleError(line, f"$ {command}\n{error}") from None
        self._alone = False
        self._move(self._service.port)
        before, interrupted, after = shown.partition(_INTERRUPTED)
        until_bound = re.match(r".*?event\W+bind\b[^\n]*", self._service.output, re.DOTALL)
        start = until_bound[0] if until_bound else ""
        self._compare(line, command, before.strip(), start)
        if interrupted:
            self._service.stop()
            rest = self._service.output[len(start) :]
            self._service = None
            rest = "\n".join(said for said in rest.splitlines() if "/health" not in said)
            self._compare(line, command, after.strip(), rest)

    def _present(self) -> int:
        """Return the port of the service; one with the default settings is started where there is none."""
        if self._service is None and not self._alone:
            self._service = Service(self._shell, self._folder, "smartmob serve", self._ports.base)
            self._move(self._service.port)
        return self._port

    def _move(self, port: int) -> None:
        self._shell.replace_exported(f"127.0.0.1:{self._port}", f"127.0.0.1:{port}")
        self._shell.variables["SMARTMOB_SERVER"] = f"http://127.0.0.1:{port}"
        self._port = port

    def _away(self) -> Outside:
        if self._outside is None:
            self._outside = Outside(self._folder)
        return self._outside


def _commands(text: str) -> list[tuple[int, str, str]]:
    """Return the commands of a console: the line, the command and what is shown below it."""
    found: list[tuple[int, list[str], list[str]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif not found:
            raise ExampleError(number, "a console begins with a command behind `$ `")
        elif not found[-1][2] and found[-1][1][-1].endswith("\\"):
            found[-1][1].append(line)
        else:
            found[-1][2].append(line)
    return [(number, "\n".join(command), "\n".join(shown)) for number, command, shown in found]
