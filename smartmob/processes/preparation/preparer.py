"""Preparing the start of a process: download, unpack, copy, virtual environment, command and variables."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sys
from collections.abc import AsyncIterable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from smartmob.environment import environment
from smartmob.errors import InvalidInput, NotFound, Unavailable
from smartmob.feature_settings import ProcessesSettings
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.child import SpawnFailed
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.processes import model
from smartmob.processes.ports import Ports
from smartmob.processes.preparation import command, envfile, options_file, procfile
from smartmob.processes.preparation.download import DownloadError, DownloadLimits, StoredFile
from smartmob.processes.preparation.environments import EnvironmentFailure, Environments
from smartmob.processes.preparation.releases import ENV_FILE, Releases, UnpackedSource
from smartmob.processes.preparation.unpacked_tree import PROCFILE, ArchiveError, UnpackLimits
from smartmob.processes.spawned_program import OnOutput, run_to_end

_OWN_ARCHIVE = re.compile(r"/archives/([0-9a-f]{64})")
_SHELL_VARIABLE = "SHELL"
_LONGEST_MESSAGE = 1_000  # bytes of a shell's message about a command
_MOST_LISTED = 1_000  # files or folders among which a Procfile of another name is searched
_MOST_CHECKED = 1_000  # commands whose syntax was found correct
_QUICK_BYTES = 4_096  # of a Procfile
_INHERITED = ("PATH", "HOME", "LANG")
# The build of a package runs code of its authors: it must not see the settings of the service.
_PIP_VARIABLE = re.compile(
    r"PATH|HOME|LANG|LC_\w+|TMPDIR|(?:PIP|UV|POETRY|PIPENV|PYENV)_\w+|(?:https?|no|all)_proxy|SSL_CERT_\w+",
    re.IGNORECASE,
)


class PreparationError(Exception):
    """A process cannot be prepared: `state` is one of the model's FAILURES, the message is for people."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


class PreparationListener(Protocol):
    """The receiver of the progress of a preparation. The methods return at once."""

    def advanced(self, state: str, downloaded: tuple[int, int | None] | None = None) -> None:
        """Record that the state is `state`, with `downloaded` as (bytes received, bytes in total or None)."""

    def wrote(self, data: bytes) -> None:
        """Show output of a command of the preparation."""


class Preparer:
    """Prepares the start of processes; its files are in `folder`. Call `open` before use, and `close` at the end."""

    def __init__(
        self,
        folder: Path,
        spawner: Spawner,
        tasks: TaskRegistry,
        ports: Ports,
        settings: ProcessesSettings,
        *,
        least_free: int,
    ) -> None:
        self._spawner = spawner
        variables = environment()
        self._inherited = {name: variables[name] for name in _INHERITED if name in variables}
        self._ports = ports
        self._dotenv = settings.dotenv
        self._checked_commands: set[tuple[str, str]] = set()
        self._releases = Releases(
            folder,
            tasks,
            Environments(folder / "environments", self._run, tasks, _pip_variables(variables), least_free=least_free),
            downloads=DownloadLimits(
                settings.max_archive,
                stall_seconds=settings.stall_timeout,
                total_seconds=settings.download_timeout,
                least_free=least_free,
            ),
            unpacking=UnpackLimits(settings.max_unpacked, settings.max_files, least_free=least_free),
        )

    async def open(self) -> None:
        """Create the folders, and remove what an earlier service did not complete."""
        await self._releases.open()

    async def close(self) -> None:
        """Close connections and threads."""
        await self._releases.close()

    async def upload(self, chunks: AsyncIterable[bytes]) -> StoredFile:
        """Store an uploaded archive; raises TooLarge, Unavailable and the exceptions of `chunks`."""
        return await self._releases.upload(chunks)

    def archive(self, digest: str) -> Path:
        """Return the file of a stored archive; raises NotFound."""
        path = self._releases.archive(digest)
        if path is None:
            raise NotFound("there is no such archive")
        return path

    def uploaded(self, url: str) -> str | None:
        """Return the digest when `url` is the address of an archive, of any service, that is stored here already.

        The host in the address does not matter, because a digest identifies the content.
        """
        match = _OWN_ARCHIVE.fullmatch(urlsplit(url).path)
        return match[1] if match is not None and self._releases.holds(match[1]) else None

    async def release(self, slug: str) -> None:
        """Remove the working copy of a deleted process, and release its port."""
        self._ports.release(slug)
        await self._releases.remove_working_copy(slug)

    async def remove_unused(self, digests: Collection[str], slugs: Collection[str]) -> None:
        """Remove all releases and working copies except those of these sources and processes."""
        await self._releases.remove_unused(digests, slugs)

    async def prepare(self, definition: model.Definition, listener: PreparationListener) -> model.PreparedProcess:
        """Prepare the start of a process, and report to `listener`; raises PreparationError with the state to show."""
        digest = definition.digest
        if digest is None or not self._releases.holds(digest):
            digest = await self._download(definition, listener)
        listener.advanced(model.UNPACKING)
        try:
            source = await self._releases.source(digest)
            for remark in source.remarks:
                listener.wrote(f"source: {remark}\n".encode())
            listener.advanced(model.PROCESSING)
            if _is_quick_to_read(source):
                read = self._read_source(source, definition)
            else:
                read = await asyncio.to_thread(self._read_source, source, definition)
            found, index, variables, options, hint = read
            if hint is not None:
                listener.wrote(f"source: {hint}\n".encode())
            shell = _shell(definition, variables)
            argv = _argv(found, definition, shell)
            await self._check_syntax(argv, shell, source.root, found)
            folder = self._releases.copy_of(definition.slug, digest)
            if folder is None:
                folder = await self._releases.working_copy(source, definition.slug)
            venv = await self._releases.environment(source, listener.wrote)
        except (ArchiveError, NotFound) as error:
            raise PreparationError(model.UNPACK_FAILURE, str(error)) from None
        except EnvironmentFailure as error:
            raise PreparationError(error.state, str(error)) from None
        port = self._ports.assign(definition.slug, definition.node, index)
        env = {**self._default_variables(port, venv), **variables, **definition.env}
        return model.PreparedProcess(argv=argv, env=env, folder=str(folder), port=port, digest=digest, options=options)

    async def _download(self, definition: model.Definition, listener: PreparationListener) -> str:
        """Download the archive and return its digest."""
        try:
            stored = await self._releases.fetch(
                definition.source_url,
                request_id=definition.request_id or None,
                progress=lambda received, total: listener.advanced(model.DOWNLOADING, (received, total)),
            )
        except (DownloadError, Unavailable) as error:
            raise PreparationError(model.DOWNLOAD_FAILURE, str(error)) from None
        return stored.digest

    def _read_source(
        self, source: UnpackedSource, definition: model.Definition
    ) -> tuple[procfile.ProcfileCommand, int, dict[str, str], model.Options, str | None]:
        """Return the command of a process type, its index in the Procfile, the variables of .env, and the options.

        The last value is a remark, for people, on what other tools read differently in .env.
        """
        found, index = _find_command(source, definition)
        outer = {**self._inherited, **definition.env} if self._dotenv else None
        variables, remark = _env_file(source, outer)
        return found, index, variables, _options(source, definition), remark

    async def _check_syntax(self, argv: list[str], shell: str, folder: Path, found: procfile.ProcfileCommand) -> None:
        """Let the shell read a command without running it; raises PreparationError with its message.

        Otherwise a program with a mistake in its Procfile would be restarted repeatedly.
        """
        if not command.is_shell_text(argv, shell) or (shell, argv[2]) in self._checked_commands:
            return
        output = bytearray()
        try:
            status = await self._run([argv[0], "-n", "-c", argv[2]], folder, self._inherited, output.extend)
        except OSError as error:
            raise PreparationError(model.NO_PROCFILE, f"the shell of the program cannot be run: {error}") from None
        if status:
            raise PreparationError(model.NO_PROCFILE, f"{_command_location(found)}: {_shell_reason(output)}")
        if len(self._checked_commands) >= _MOST_CHECKED:
            self._checked_commands.clear()
        self._checked_commands.add((argv[0], argv[2]))

    def _default_variables(self, port: int, venv: Path | None) -> dict[str, str]:
        """Return the variables that every process gets; its .env file, Procfile and definition may replace them."""
        # Unbuffered: a Python program that writes to a pipe would otherwise show its output much later.
        variables = {"PATH": os.defpath, **self._inherited, "PORT": str(port), "PYTHONUNBUFFERED": "1"}
        # Programs of smartmob, such as turrets, need a Python that has smartmob; it may not be on the PATH.
        variables["SMARTMOB_PYTHON"] = sys.executable
        if venv is not None:
            variables |= {"VIRTUAL_ENV": str(venv), "PATH": f"{venv / 'bin'}{os.pathsep}{variables['PATH']}"}
        return variables

    async def _run(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], on_output: OnOutput) -> int:
        """Run a command and return its exit status; its whole process tree ends before this returns or raises."""
        try:
            status = await run_to_end(self._spawner, argv, cwd, env, on_output)
        except SpawnFailed as error:
            raise OSError(errno.ENOEXEC, str(error)) from None
        return 1 if status is None else status


def _is_quick_to_read(source: UnpackedSource) -> bool:
    """Return whether a source has only a short Procfile, which is read in less time than a thread takes to start."""
    try:
        return not source.files and os.stat(source.root / PROCFILE).st_size <= _QUICK_BYTES
    except OSError:
        return False


def _pip_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the service that pip may see."""
    return {name: value for name, value in variables.items() if _PIP_VARIABLE.fullmatch(name)}


def _shell_reason(output: bytearray) -> str:
    """Return the first line of a shell's message, without the position in the command."""
    lines = output[:_LONGEST_MESSAGE].decode(errors="replace").split("\n")
    return re.sub(r"^\S+: (?:-c: )?(?:line )?1: ", "", lines[0]) or "no shell command"


def _find_command(source: UnpackedSource, definition: model.Definition) -> tuple[procfile.ProcfileCommand, int]:
    """Return the command of a process, and the index of its type in the Procfile.

    A command of the definition needs no Procfile; without one the index is 0.
    """
    process_type, data = definition.process_type, _read(source.root / PROCFILE)
    if definition.command is not None:
        return procfile.ProcfileCommand(definition.command.strip(), 0), _index(data, process_type)
    if data is None:
        raise PreparationError(
            model.NO_PROCFILE, f"the source has no Procfile at its root{_near_procfile(source.root)}"
        )
    try:
        parsed = procfile.parse(data)
        return parsed.command(process_type), list(parsed.commands).index(process_type)
    except procfile.BadLine as error:
        raise PreparationError(model.NO_PROCFILE, str(error)) from None
    except KeyError:
        raise PreparationError(model.UNKNOWN_PROCESS_TYPE, parsed.unknown(process_type)) from None


def _index(data: bytes | None, process_type: str) -> int:
    """Return the index of a process type in a Procfile, or 0 when it does not exist or cannot be read."""
    try:
        types = list(procfile.parse(data or b"").commands)
    except procfile.BadLine:
        return 0
    return types.index(process_type) if process_type in types else 0


def _near_procfile(root: Path) -> str:
    """Return a hint for a source without a Procfile: the path of a similar file, or ""."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink())[:_MOST_LISTED]
    for folder, prefix in ((root, ""), *((path, f"{path.name}/") for path in folders)):
        try:
            names = sorted(os.listdir(folder))[:_MOST_LISTED]
        except OSError:
            continue
        for name in names:
            if name.casefold() == PROCFILE.casefold() and (folder / name).is_file():
                what = "pack that folder" if name == PROCFILE else f"its name must be {PROCFILE}"
                return f"; there is {_shown_name(prefix + name)}: {what}"
    return ""


def _shown_name(name: str) -> str:
    """Return a name in quotes; bytes that are no UTF-8 are escaped, so that it can be stored and sent."""
    return repr(os.fsencode(name).decode(errors="backslashreplace"))


def _env_file(source: UnpackedSource, outer: Mapping[str, str] | None) -> tuple[dict[str, str], str | None]:
    """Return the variables of the .env file, if there is one; with `outer`, in the dialect of python-dotenv.

    The second value is a remark, for people, on what that dialect reads differently.
    """
    if ENV_FILE not in source.files or (data := _read(source.root / ENV_FILE)) is None:
        return {}, None
    try:
        if outer is not None:
            return envfile.parse_dotenv(data, outer), None
        return envfile.parse(data), envfile.remark(data)
    except procfile.BadLine as error:
        # Clients know no state for a bad .env file; this one says that the author of the source must correct a file.
        raise PreparationError(model.NO_PROCFILE, str(error)) from None


def _options(source: UnpackedSource, definition: model.Definition) -> model.Options:
    """Return the options of a process: those of the request, and for others those of smartmob.toml, if there is one.

    With a command of the request, the source may be run by another Procfile, so the types are not compared.
    """
    data = _read(source.root / options_file.NAME) if options_file.NAME in source.files else None
    types = None
    try:
        if data is None:
            found = model.Options()
        else:
            if definition.command is None:
                types = tuple(procfile.parse(_read(source.root / PROCFILE) or b"").commands)
            found = options_file.parse(data, types).of(definition.process_type)
    except InvalidInput as error:
        # As for .env: the author of the source must correct a file.
        raise PreparationError(model.NO_PROCFILE, str(error)) from None
    asked = {name: getattr(definition, name) for name in model.Options.__struct_fields__}
    return msgspec.structs.replace(found, **{name: value for name, value in asked.items() if value is not None})


def _shell(definition: model.Definition, variables: Mapping[str, str]) -> str:
    """Return the path of the shell, which SHELL of .env or of the request chooses; raises PreparationError."""
    shell = definition.env.get(_SHELL_VARIABLE) or variables.get(_SHELL_VARIABLE) or command.SHELL
    if not shell.startswith("/"):
        message = f"SHELL={shell}: expected the path of a shell, such as /bin/bash"
        raise PreparationError(model.NO_PROCFILE, message)
    return shell


def _argv(found: procfile.ProcfileCommand, definition: model.Definition, shell: str) -> list[str]:
    """Return the arguments of the program to start; raises PreparationError."""
    try:
        return command.argv(found.text, definition.env, shell)
    except ValueError as error:
        raise PreparationError(
            model.NO_PROCFILE, f"{_command_location(found)}: the process type {definition.process_type!r}: {error}"
        ) from None


def _command_location(found: procfile.ProcfileCommand) -> str:
    """Return the location of a command, for people."""
    return f"Procfile, line {found.line}" if found.line else "the command of the request"


def _read(path: Path) -> bytes | None:
    """Return the content of a small file of the source, or None when it cannot be opened.

    One byte above the limit is read, so that the parser sees that the file is too large.
    """
    try:
        with path.open("rb") as file:
            return file.read(procfile.MOST_BYTES + 1)
    except OSError:
        return None
