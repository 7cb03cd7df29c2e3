"""From a source's address to everything that is needed to start a process: archive, copy, environment, command."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sys
from collections.abc import AsyncIterable, Collection, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from smartmob.errors import InvalidInput, NotFound, Unavailable
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.child import SpawnFailed
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.processes import model
from smartmob.processes.ports import Ports
from smartmob.processes.preparation import command, envfile, procfile
from smartmob.processes.preparation.archive import PROCFILE, ArchiveError, UnpackLimits
from smartmob.processes.preparation.download import DownloadError, DownloadLimits, Stored
from smartmob.processes.preparation.environments import EnvironmentFailure, Environments, OnOutput
from smartmob.processes.preparation.releases import Releases, Source
from smartmob.processes.supervisor import PreparationError, Supervisor
from smartmob.settings import ProcessesSettings, environment

_OWN_ARCHIVE = re.compile(r"/archives/([0-9a-f]{64})")
_ENV_FILE = ".env"
_INHERITED = ("PATH", "HOME", "LANG")
# The build of a package is a program of somebody else's: it sees nothing of the service's own settings.
_FOR_PIP = re.compile(r"PATH|HOME|LANG|LC_\w+|TMPDIR|PIP_\w+|(?:https?|no|all)_proxy|SSL_CERT_\w+", re.IGNORECASE)


class Preparer:
    """Prepares processes; what it keeps is in `folder`. After `open` you must `close`."""

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
        ours = environment()
        self._inherited = {name: ours[name] for name in _INHERITED if name in ours}
        self._ports = ports
        self._releases = Releases(
            folder,
            tasks,
            Environments(folder / "environments", self._run, tasks, _for_pip(ours), least_free=least_free),
            downloads=DownloadLimits(
                settings.max_archive,
                stall_seconds=settings.stall_timeout,
                total_seconds=settings.download_timeout,
                least_free=least_free,
            ),
            unpacking=UnpackLimits(settings.max_unpacked, settings.max_files, least_free=least_free),
        )

    async def open(self) -> None:
        """Make the folders, and remove what was not completed."""
        await self._releases.open()

    async def close(self) -> None:
        """Let go of connections and threads."""
        await self._releases.close()

    async def upload(self, chunks: AsyncIterable[bytes]) -> Stored:
        """Store an archive that a client sends; raises TooLarge, Unavailable and what `chunks` raises."""
        return await self._releases.upload(chunks)

    def archive(self, digest: str) -> Path:
        """Return the file of a stored archive; raises NotFound."""
        path = self._releases.archive(digest)
        if path is None:
            raise NotFound("there is no such archive here")
        return path

    def uploaded(self, url: str) -> str | None:
        """Return the digest when `url` is the address of an archive that is here already.

        Whose address it is does not matter: what has this digest is the same everywhere.
        """
        match = _OWN_ARCHIVE.fullmatch(urlsplit(url).path)
        return match[1] if match is not None and self._releases.holds(match[1]) else None

    async def forget(self, slug: str) -> None:
        """Remove the working copy of a process, and free its port."""
        self._ports.give_back(slug)
        await self._releases.discard(slug)

    async def collect(self, digests: Collection[str], slugs: Collection[str]) -> None:
        """Remove what belongs to none of these sources and processes."""
        await self._releases.collect(digests, slugs)

    async def prepare(self, supervisor: Supervisor) -> model.Ready:
        """Make everything ready to start the process; raises PreparationError with the state to show."""
        definition = supervisor.definition
        digest = definition.digest
        if digest is None or not self._releases.holds(digest):
            digest = await self._download(supervisor)
        supervisor.advance(model.UNPACKING)
        try:
            source = await self._releases.source(digest)
            supervisor.advance(model.PROCESSING)
            # What others have written is read in a thread: it may be large.
            found, index, variables, argv = await asyncio.to_thread(_read_source, source, definition.process_type)
            folder = self._releases.copy_of(definition.slug, digest)
            if folder is None:
                folder = await self._releases.working_copy(source, definition.slug)
            venv = await self._releases.environment(source, supervisor.channel.write)
        except (ArchiveError, NotFound) as error:
            raise PreparationError(model.UNPACK_FAILURE, str(error)) from None
        except EnvironmentFailure as error:
            raise PreparationError(error.state, str(error)) from None
        finally:
            supervisor.channel.end_line()
        port = self._ports.take(definition.slug, definition.node, index)
        outer = {**self._sane(port, venv), **variables}
        try:
            made = found.environment({**outer, **definition.env})
        except InvalidInput as error:
            raise PreparationError(model.NO_PROCFILE, str(error)) from None
        return model.Ready(
            argv=argv, env={**outer, **made, **definition.env}, folder=str(folder), port=port, digest=digest
        )

    async def _download(self, supervisor: Supervisor) -> str:
        definition = supervisor.definition
        try:
            stored = await self._releases.fetch(
                definition.source_url,
                request_id=definition.request_id or None,
                progress=lambda done, total: supervisor.advance(model.DOWNLOADING, (done, total)),
            )
        except (DownloadError, Unavailable) as error:
            raise PreparationError(model.DOWNLOAD_FAILURE, str(error)) from None
        return stored.digest

    def _sane(self, port: int, venv: Path | None) -> dict[str, str]:
        """Return the environment that every process begins with."""
        # Unbuffered, since a Python program on a pipe else shows what it prints minutes later.
        sane = {"PATH": os.defpath, **self._inherited, "PORT": str(port), "PYTHONUNBUFFERED": "1"}
        # Programs of ours, such as turrets, need the Python that has smartmob, which need not be on the PATH.
        sane["SMARTMOB_PYTHON"] = sys.executable
        if venv is not None:
            sane |= {"VIRTUAL_ENV": str(venv), "PATH": f"{venv / 'bin'}{os.pathsep}{sane['PATH']}"}
        return sane

    async def _run(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], on_output: OnOutput) -> int:
        """Run a command under the guarantee, and return its exit status; cancelled, end all of it first."""
        try:
            child, pipe = await self._spawner.spawn_with_output(argv, env, cwd, on_output)
        except SpawnFailed as error:
            raise OSError(errno.ENOEXEC, str(error)) from None
        try:
            ended = await child.exited()
        finally:
            child.kill()
            while not child.is_gone:
                # A second cancellation must not leave a tree behind that writes where the next one builds.
                try:
                    await child.gone()
                except asyncio.CancelledError:
                    continue
            self._spawner.pipe_reader.drain(pipe)
            self._spawner.pipe_reader.close(pipe)
        return 1 if ended.status is None else ended.status


def _for_pip(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if _FOR_PIP.fullmatch(name)}


def _read_source(source: Source, process_type: str) -> tuple[procfile.Command, int, dict[str, str], list[str]]:
    """Return the command of a process type, which of the types that is, the variables, and the arguments."""
    found, index = _find_command(source, process_type)
    return found, index, _env_file(source), _argv(found, process_type)


def _find_command(source: Source, process_type: str) -> tuple[procfile.Command, int]:
    """Return the command of a process type, and which of the Procfile's types that is."""
    data = _read(source.root / PROCFILE)
    if data is None:
        raise PreparationError(model.NO_PROCFILE, "the source has no Procfile at its root")
    try:
        commands = procfile.parse(data)
    except procfile.BadLine as error:
        raise PreparationError(model.NO_PROCFILE, str(error)) from None
    if process_type not in commands:
        known = ", ".join(commands) or "none at all"
        raise PreparationError(model.UNKNOWN_PROCESS_TYPE, f"the Procfile has no {process_type!r}; it has {known}")
    return commands[process_type], list(commands).index(process_type)


def _env_file(source: Source) -> dict[str, str]:
    data = _read(source.root / _ENV_FILE)
    try:
        return {} if data is None else envfile.parse(data)
    except procfile.BadLine as error:
        # The archive is in order. Of the states that clients know, this one sends them to those who wrote it.
        raise PreparationError(model.NO_PROCFILE, str(error)) from None


def _argv(found: procfile.Command, process_type: str) -> list[str]:
    try:
        return command.argv(found.text)
    except ValueError as error:
        raise PreparationError(model.NO_PROCFILE, f"the command of {process_type!r}: {error}") from None


def _read(path: Path) -> bytes | None:
    """Return what a small file of the source holds, or None when there is none."""
    try:
        with path.open("rb") as file:
            return file.read(procfile.MOST_BYTES + 1)
    except OSError:
        return None
