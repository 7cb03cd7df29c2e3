"""Releases on the disk: archives and unpacked sources by their digest, and the working copies of the nodes.

The folder belongs to this module alone:

    downloads/DIGEST            archives as they were received, uploaded ones included
    sources/DIGEST/             the unpacked archives; never changed
    environments/KEY/           see `smartmob.processes.preparation.environments`
    copies/SLUG@DIGEST/         the working folder of a node's process, which may write there
    making/                     files and folders being created or removed; emptied at start

Everything is created in `making` and renamed when it is complete. So everything with a final name is complete, even
after a crash of the service. Concurrent calls for the same thing share one execution. All methods belong to one event
loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import threading
import uuid
from collections.abc import AsyncIterable, Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import aiohttp
import msgspec

from smartmob.errors import NotFound, Unavailable
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.disk import Floor
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes.preparation import options_file
from smartmob.processes.preparation.download import (
    DownloadLimits,
    NotModified,
    Progress,
    StoredFile,
    check_url,
    download,
    open_session,
    store,
)
from smartmob.processes.preparation.environments import EnvironmentFailure, Environments, Recipe
from smartmob.processes.preparation.file_tree import Threads, copy_tree, is_small, remove_tree
from smartmob.processes.preparation.interpreters import VERSION_FILES
from smartmob.processes.preparation.requirements import FILES
from smartmob.processes.preparation.single_flight import SingleFlight
from smartmob.processes.preparation.unpacked_tree import ArchiveError, UnpackLimits
from smartmob.processes.spawned_program import OnOutput

if TYPE_CHECKING:  # imported with the first archive
    from smartmob.processes.preparation.archive import Unpacked

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CONCURRENT_UNPACKS = 2  # unpacking uses a whole core
_LONGEST_NAME = 200  # bytes; with @ and a short digest below NAME_MAX (255) of Linux
_SHORT_DIGEST = 16  # hexadecimal digits
_UNUSED_SECONDS = 600.0
"""Files and folders that were used within this time are not removed."""
_TOUCH_SECONDS = 60.0
"""The time of last use is updated at most once in this time."""
_REMEMBERED_VERSIONS = 1000  # addresses
_REMEMBERED_SOURCES = 1000
"""Sources whose `files` are remembered: most of them would be searched for in vain at each start of a program."""
ENV_FILE = ".env"
_ENVIRONMENT_FILES = frozenset((*FILES, *VERSION_FILES))


class UnpackedSource(msgspec.Struct, frozen=True):
    """An unpacked source: the digest of its archive, and the folder with the Procfile. Do not write to it.

    `remarks` are those of the unpacking, when the source was not unpacked already. `files` are the names of the files
    beside the Procfile that decide how its programs are run.
    """

    digest: str
    root: Path
    remarks: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()


class Releases:
    """The releases in `folder`. Call `open` before use, and `close` at the end."""

    def __init__(
        self,
        folder: Path,
        tasks: TaskRegistry,
        environments: Environments,
        *,
        downloads: DownloadLimits | None = None,
        unpacking: UnpackLimits | None = None,
    ) -> None:
        self._making = folder / "making"
        self._downloaded = folder / "downloads"
        self._sources = folder / "sources"
        self._copies_folder = folder / "copies"
        self._environments = environments
        self._download_limits = downloads or DownloadLimits()
        self._unpack_limits = unpacking or UnpackLimits()
        self._threads = Threads()
        self._unpack_slots = asyncio.Semaphore(_CONCURRENT_UNPACKS)
        self._session: aiohttp.ClientSession | None = None
        self._downloads: SingleFlight[tuple[int, int | None], StoredFile] = SingleFlight(
            "download", tasks, lambda _, newest: newest
        )
        self._copies: dict[str, Path] = {}
        self._fetched: dict[str, StoredFile] = {}
        self._files: dict[str, frozenset[str]] = {}
        self._unpacks: SingleFlight[None, Unpacked] = SingleFlight("unpack", tasks, lambda _, newest: newest)

    async def open(self) -> None:
        """Create the folders, and remove what an earlier service did not complete."""
        await asyncio.to_thread(remove_tree, self._making)
        for folder in (self._making, self._downloaded, self._sources, self._copies_folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._copies = {path.name.partition("@")[0]: path for path in self._copies_folder.iterdir()}
        await self._environments.open()

    async def close(self) -> None:
        """Close the connections and let the threads end."""
        if self._session is not None:
            await self._session.close()
        self._environments.close()
        self._threads.close()

    # -- archives -------------------------------------------------------------------------------------------------

    def archive(self, digest: str) -> Path | None:
        """Return the file of the archive with this digest, or None when it is not stored."""
        path = self._downloaded / digest
        return path if _DIGEST.fullmatch(digest) and path.is_file() else None

    def holds(self, digest: str) -> bool:
        """Return whether the source with this digest is stored, so that it needs no download."""
        return self._unpacked(digest) is not None or self.archive(digest) is not None

    async def fetch(
        self,
        url: str,
        *,
        request_id: str | None = None,
        progress: Progress = lambda _done, _total: None,
    ) -> StoredFile:
        """Download an archive and return its digest and size; concurrent calls for the same address share a download.

        The request has the `request_id` of the first call. A server that supports entity tags does not send an
        unchanged archive again. Raises DownloadError.
        """
        check_url(url)
        # The key is a hash: it is part of the name of a task, which is logged, and an address may contain a password.
        key = hashlib.sha256(url.encode()).hexdigest()

        async def work(report: Callable[[tuple[int, int | None]], None]) -> StoredFile:
            if self._session is None:
                self._session = open_session()
            path, before = self._new_path(), self._fetched.get(key)
            existing = None if before is None else self._unpacked(before.digest) or self.archive(before.digest)
            known = before.version if before is not None and existing is not None else None
            if existing is not None:
                _touch(existing)
            try:
                stored = await download(
                    self._session,
                    url,
                    path,
                    self._download_limits,
                    request_id=request_id,
                    progress=lambda received, total: report((received, total)),
                    known=known,
                )
                self._remember(key, self._keep(path, stored))
            except NotModified:
                assert before is not None
                return before
            finally:
                path.unlink(missing_ok=True)
            return stored

        return await self._downloads.join(key, work, lambda received_and_total: progress(*received_and_total))

    async def upload(self, chunks: AsyncIterable[bytes]) -> StoredFile:
        """Store an uploaded archive, and return its digest and size.

        Raises TooLarge, Unavailable when it cannot be written, and the exceptions of `chunks`.
        """
        path = self._new_path()
        try:
            return self._keep(path, await store(chunks, path, self._download_limits))
        except OSError as error:
            raise Unavailable(f"the archive cannot be stored: {error.strerror or error}") from None
        finally:
            path.unlink(missing_ok=True)

    def _remember(self, key: str, stored: StoredFile) -> None:
        """Remember the version of the content of an address for the next request; forget the oldest above a limit."""
        self._fetched.pop(key, None)
        if stored.version is not None:
            self._fetched[key] = stored
            if len(self._fetched) > _REMEMBERED_VERSIONS:
                del self._fetched[next(iter(self._fetched))]

    def _keep(self, path: Path, stored: StoredFile) -> StoredFile:
        """Give a complete archive its final name."""
        path.replace(self._downloaded / stored.digest)
        return stored

    # -- sources --------------------------------------------------------------------------------------------------

    async def source(self, digest: str) -> UnpackedSource:
        """Return the source with this digest; unpack it if necessary.

        Raises ArchiveError, and NotFound when the archive is not stored.
        """
        if (root := self._unpacked(digest)) is not None:
            _touch(root)
            return UnpackedSource(digest, root, files=self._files_of(digest, root))
        archive = self.archive(digest)
        if archive is None:
            raise NotFound(
                f"the archive {digest!r} is not stored here; upload it again, or give the address that it has"
            )
        _touch(archive)

        async def work(_: Callable[[None], None]) -> Unpacked:
            async with self._unpack_slots:
                return await self._unpack(archive, digest)

        unpacked = await self._unpacks.join(digest, work, lambda _: None)
        return UnpackedSource(digest, unpacked.root, unpacked.remarks, self._files_of(digest, unpacked.root))

    def _files_of(self, digest: str, root: Path) -> frozenset[str]:
        """Return `UnpackedSource.files`; they are looked for once, because a source never changes."""
        if (found := self._files.get(digest)) is None:
            names = (ENV_FILE, options_file.NAME, *_ENVIRONMENT_FILES)
            found = frozenset(name for name in names if os.path.lexists(root / name))
            if len(self._files) >= _REMEMBERED_SOURCES:
                self._files.clear()
            self._files[digest] = found
        return found

    def _unpacked(self, digest: str) -> Path | None:
        """Return the folder of an unpacked source, or None."""
        root = self._sources / digest
        return root if _DIGEST.fullmatch(digest) and root.is_dir() else None

    async def _unpack(self, archive: Path, digest: str) -> Unpacked:
        folder, final = self._new_path(), self._sources / digest

        def work(stop: threading.Event) -> Unpacked:
            from smartmob.processes.preparation.archive import Unpacked, unpack

            try:
                unpacked = unpack(archive, folder, self._unpack_limits, stop)
                return Unpacked(unpacked.root.rename(final), unpacked.remarks)
            except OSError as error:
                raise ArchiveError(f"the source cannot be unpacked: {error.strerror or error}") from None
            finally:
                remove_tree(folder)

        return await self._threads.run(work)

    async def environment(self, source: UnpackedSource, on_output: OnOutput) -> Path | None:
        """Return the folder of the virtual environment for the source, or None when it needs none.

        `on_output` gets the output of pip; see `Environments.provide`. Raises EnvironmentFailure.
        """
        if not source.files & _ENVIRONMENT_FILES:
            return None
        return await self._environments.provide(source.root, source.digest, on_output)

    # -- working copies -------------------------------------------------------------------------------------------

    async def working_copy(self, source: UnpackedSource, slug: str) -> Path:
        """Replace the working copy of a node by a new copy of the source; raises ArchiveError.

        No other call for the node, and no process of it, may run meanwhile.
        """
        folder, name = self._new_path(), _folder_name(slug)
        final = self._copies_folder / f"{name}@{source.digest[:_SHORT_DIGEST]}"

        def work(stop: threading.Event) -> None:
            try:
                copy_tree(source.root, folder, stop, Floor(folder.parent, self._unpack_limits.least_free))
            except BaseException as error:
                remove_tree(folder)
                if isinstance(error, OSError):
                    raise ArchiveError(f"the source cannot be copied: {error.strerror or error}") from None
                raise

        if is_small(source.root):
            # It takes less than a millisecond, but a switch to a thread would take several.
            work(threading.Event())
        else:
            await self._threads.run(work)
        old = self._detach_copy(name)
        self._copies[name] = folder.rename(final)
        await self._remove(old)
        return final

    async def remove_working_copy(self, slug: str) -> None:
        """Remove the working copy of a node, if it has one."""
        await self._remove(self._detach_copy(_folder_name(slug)))

    def _detach_copy(self, name: str) -> Path | None:
        """Rename a working copy, so that it can be removed in a thread; return its new path, or None without a copy."""
        path = self._copies.pop(name, None)
        return None if path is None else path.rename(self._new_path())

    async def _remove(self, *paths: Path | None) -> None:
        """Remove files and folders in a thread."""
        existing = [path for path in paths if path is not None]
        if existing:
            await self._threads.run(lambda _: _remove_all(existing))

    def copy_of(self, slug: str, digest: str) -> Path | None:
        """Return the working copy of the node if it is a copy of this source, with the files written there, or None."""
        path = self._copies.get(_folder_name(slug))
        return path if path is not None and path.name.endswith("@" + digest[:_SHORT_DIGEST]) else None

    # -- unused files and folders ----------------------------------------------------------------------------------

    async def remove_unused(
        self, digests: Collection[str], slugs: Collection[str], *, unused_seconds: float = _UNUSED_SECONDS
    ) -> int:
        """Remove archives, sources, environments and copies of other sources and nodes; return their number.

        Those that were used within `unused_seconds` stay, because a start may be about to use them.
        """
        before = clock.epoch() - unused_seconds
        recipes = await asyncio.to_thread(lambda: [self._recipe(digest) for digest in digests])
        removed: list[Path] = []

        def remove(path: Path) -> None:
            removed.append(path.rename(self._new_path()))

        # Found and renamed in the event loop, where no other call runs meanwhile; then removed in a thread.
        for path in [*self._downloaded.iterdir(), *self._sources.iterdir()]:
            if path.name not in digests and path.name not in self._unpacks and path.stat().st_mtime < before:
                remove(path)
        names = {_folder_name(slug) for slug in slugs}
        for name, path in list(self._copies.items()):
            if name not in names and path.stat().st_mtime < before:
                remove(self._copies.pop(name))
        self._environments.remove_unused(recipes, before, remove)
        await self._remove(*removed)
        return len(removed)

    def _recipe(self, digest: str) -> Recipe | None:
        """Return the recipe of a source, or None when it is not unpacked or has none."""
        root = self._unpacked(digest)
        try:
            return None if root is None else self._environments.recipe(root, digest)
        except EnvironmentFailure:
            return None

    def _new_path(self) -> Path:
        """Return an unused path in `making`."""
        return self._making / uuid.uuid4().hex


def _folder_name(slug: str) -> str:
    """Return the name of a node's folder: the quoted slug, or a hash of a slug that is too long. It is unique."""
    data = slug.encode(errors="surrogatepass")
    name = quote(data, safe="")
    if name and len(name) <= _LONGEST_NAME and not name.startswith("."):
        return name
    return f"={hashlib.sha256(data).hexdigest()}"


def _touch(path: Path) -> None:
    """Record the use of a file or folder in its modification time."""
    if path.stat().st_mtime < clock.epoch() - _TOUCH_SECONDS:
        os.utime(path)


def _remove_all(paths: Collection[Path]) -> None:
    for path in paths:
        if path.is_dir():
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)
