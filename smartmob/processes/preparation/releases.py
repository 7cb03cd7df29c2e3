"""The releases: archives and unpacked sources by their digest, and the working copies of the nodes.

Below the folder, which nobody else uses:

    downloads/DIGEST            archives as they came, uploaded ones too
    sources/DIGEST/             what was in them, never changed
    environments/KEY/           see `smartmob.processes.preparation.environments`
    copies/SLUG@DIGEST/         where the process of a node runs; it may write there
    making/                     what is being made or removed; emptied at start

Everything is made in `making` and gets its name when it is complete, so what has a name is whole, however the service
ended. Who asks for what is being made waits for it; nothing is done twice. All methods belong to one event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import threading
import uuid
from collections.abc import AsyncIterable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aiohttp

from smartmob.errors import NotFound, Unavailable
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.disk import Floor
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes.preparation.archive import ArchiveError, UnpackLimits, unpack
from smartmob.processes.preparation.download import (
    DownloadLimits,
    NotModified,
    Progress,
    Stored,
    check_url,
    download,
    open_session,
    store,
)
from smartmob.processes.preparation.environments import EnvironmentFailure, Environments, OnOutput, Recipe, recipe
from smartmob.processes.preparation.file_tree import Threads, copy_tree, is_small, remove_tree
from smartmob.processes.preparation.single_flight import SingleFlight

_DIGEST = re.compile(r"[0-9a-f]{64}")
_UNPACKED_AT_ONCE = 2
_LONGEST_NAME = 200
_SHORT_DIGEST = 16
_UNUSED_SECONDS = 600.0
_NOTED_SECONDS = 60.0
_REMEMBERED_ADDRESSES = 1000


@dataclass(frozen=True, slots=True)
class Source:
    """An unpacked source: the digest of its archive, and the folder that holds the Procfile. It is only read."""

    digest: str
    root: Path


class Releases:
    """What is kept of programs in `folder`. After `open` you must `close`."""

    def __init__(
        self,
        folder: Path,
        tasks: TaskRegistry,
        environments: Environments,
        *,
        downloads: DownloadLimits | None = None,
        unpacking: UnpackLimits | None = None,
    ) -> None:
        self._folder = folder
        self._environments = environments
        self._download_limits = downloads or DownloadLimits()
        self._unpack_limits = unpacking or UnpackLimits()
        self._threads = Threads()
        self._unpack_slots = asyncio.Semaphore(_UNPACKED_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None
        self._downloading: SingleFlight[tuple[int, int | None], Stored] = SingleFlight(
            "download", tasks, lambda _, newest: newest
        )
        self._copies: dict[str, Path] = {}
        self._fetched: dict[str, Stored] = {}
        self._unpacking: SingleFlight[None, Path] = SingleFlight("unpack", tasks, lambda _, newest: newest)

    async def open(self) -> None:
        """Make the folders, and remove what was being made when the service ended last."""
        await asyncio.to_thread(remove_tree, self._folder / "making")
        for name in ("making", "downloads", "sources", "copies"):
            (self._folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._copies = {path.name.partition("@")[0]: path for path in (self._folder / "copies").iterdir()}
        await self._environments.open()
        self._session = open_session()

    async def close(self) -> None:
        """Close the connections and let go of the threads."""
        if self._session is not None:
            await self._session.close()
        self._environments.close()
        self._threads.close()

    # -- archives -------------------------------------------------------------------------------------------------

    def archive(self, digest: str) -> Path | None:
        """Return the file of the archive with this digest, or None when it is not here."""
        path = self._folder / "downloads" / digest
        return path if _DIGEST.fullmatch(digest) and path.is_file() else None

    def holds(self, digest: str) -> bool:
        """Tell whether `source` of this digest needs no download."""
        return self._unpacked(digest) is not None or self.archive(digest) is not None

    async def fetch(
        self,
        url: str,
        *,
        request_id: str | None = None,
        progress: Progress = lambda _done, _total: None,
    ) -> Stored:
        """Download an archive and return its digest and size; those who ask for the same address meanwhile share it.

        The server is told the `request_id` of the first of them. It is asked each time whether there is something
        new, and what has not changed is not sent again where the server knows entity tags. Raises DownloadError.
        """
        check_url(url)
        # Names of tasks are seen, and an address may hold a password.
        key = hashlib.sha256(url.encode()).hexdigest()

        async def work(tell: Callable[[tuple[int, int | None]], None]) -> Stored:
            assert self._session is not None
            path, before = self._new(), self._fetched.get(key)
            held = None if before is None else self._unpacked(before.digest) or self.archive(before.digest)
            known = before.version if before is not None and held is not None else None
            if held is not None:
                _touch(held)
            try:
                stored = await download(
                    self._session,
                    url,
                    path,
                    self._download_limits,
                    request_id=request_id,
                    progress=lambda done, total: tell((done, total)),
                    known=known,
                )
                self._remember(key, self._keep(path, stored))
            except NotModified:
                assert before is not None
                return before
            finally:
                path.unlink(missing_ok=True)
            return stored

        return await self._downloading.join(key, work, lambda told: progress(*told))

    async def upload(self, chunks: AsyncIterable[bytes]) -> Stored:
        """Store an archive that a client sends, and return its digest and size.

        Raises TooLarge, Unavailable when it cannot be written, and what `chunks` raises.
        """
        path = self._new()
        try:
            return self._keep(path, await store(chunks, path, self._download_limits))
        except OSError as error:
            raise Unavailable(f"the archive cannot be stored: {error.strerror or error}") from None
        finally:
            path.unlink(missing_ok=True)

    def _remember(self, key: str, stored: Stored) -> None:
        """Remember the version, if it has one, so that the server can say that there is no newer one."""
        self._fetched.pop(key, None)
        if stored.version is not None:
            self._fetched[key] = stored
            if len(self._fetched) > _REMEMBERED_ADDRESSES:
                del self._fetched[next(iter(self._fetched))]

    def _keep(self, path: Path, stored: Stored) -> Stored:
        path.replace(self._folder / "downloads" / stored.digest)
        return stored

    # -- sources --------------------------------------------------------------------------------------------------

    async def source(self, digest: str) -> Source:
        """Return the source with this digest, unpacked if it is not yet.

        Raises ArchiveError, and NotFound when the archive is not here.
        """
        if (root := self._unpacked(digest)) is not None:
            _touch(root)
            return Source(digest, root)
        archive = self.archive(digest)
        if archive is None:
            raise NotFound(f"there is no archive {digest!r} here; upload it again or name the address that it has")
        _touch(archive)

        async def work(_: Callable[[None], None]) -> Path:
            async with self._unpack_slots:
                return await self._unpack(archive, digest)

        return Source(digest, await self._unpacking.join(digest, work, lambda _: None))

    def _unpacked(self, digest: str) -> Path | None:
        root = self._folder / "sources" / digest
        return root if _DIGEST.fullmatch(digest) and root.is_dir() else None

    async def _unpack(self, archive: Path, digest: str) -> Path:
        place, final = self._new(), self._folder / "sources" / digest

        def work(stop: threading.Event) -> None:
            try:
                unpack(archive, place, self._unpack_limits, stop).rename(final)
            except OSError as error:
                raise ArchiveError(f"the source cannot be unpacked: {error.strerror or error}") from None
            finally:
                remove_tree(place)

        await self._threads.run(work)
        return final

    async def environment(self, source: Source, on_output: OnOutput) -> Path | None:
        """Return the folder of the virtual environment that the source needs, or None; raises EnvironmentFailure.

        `on_output` gets what pip writes, and what it wrote before this caller joined.
        """
        return await self._environments.provide(source.root, source.digest, on_output)

    # -- working copies -------------------------------------------------------------------------------------------

    async def working_copy(self, source: Source, slug: str) -> Path:
        """Make a fresh copy of the source for a node, in place of the one that it has; raises ArchiveError.

        Only one call for a node may be under way, and no process of the node.
        """
        place, name = self._new(), _name(slug)
        final = self._folder / "copies" / f"{name}@{source.digest[:_SHORT_DIGEST]}"

        def work(stop: threading.Event) -> None:
            try:
                copy_tree(source.root, place, stop, Floor(place.parent, self._unpack_limits.least_free))
            except BaseException as error:
                remove_tree(place)
                if isinstance(error, OSError):
                    raise ArchiveError(f"the source cannot be copied: {error.strerror or error}") from None
                raise

        if is_small(source.root):
            # Less than a millisecond, of which the way to a thread and back would make several.
            work(threading.Event())
        else:
            await self._threads.run(work)
        old = self._set_aside(name)
        self._copies[name] = place.rename(final)
        await self._remove(old)
        return final

    async def discard(self, slug: str) -> None:
        """Remove the working copy of a node, if it has one."""
        await self._remove(self._set_aside(_name(slug)))

    def _set_aside(self, name: str) -> Path | None:
        place = self._copies.pop(name, None)
        return None if place is None else place.rename(self._new())

    async def _remove(self, *places: Path | None) -> None:
        present = [place for place in places if place is not None]
        if present:
            await self._threads.run(lambda _: _remove(present))

    def copy_of(self, slug: str, digest: str) -> Path | None:
        """Return the working copy of this source that the node has, with all that was written there, or None."""
        place = self._copies.get(_name(slug))
        return place if place is not None and place.name.endswith("@" + digest[:_SHORT_DIGEST]) else None

    # -- what is no longer used -----------------------------------------------------------------------------------

    async def collect(
        self, digests: Collection[str], slugs: Collection[str], *, unused_seconds: float = _UNUSED_SECONDS
    ) -> int:
        """Remove what belongs to none of these sources and nodes, and return how many archives, folders and so on.

        What was made or asked for within `unused_seconds` stays, so that nobody loses what he was just handed.
        """
        before = clock.epoch() - unused_seconds
        recipes = await asyncio.to_thread(lambda: [self._recipe(digest) for digest in digests])
        removed: list[Path] = []

        def trash(path: Path) -> None:
            removed.append(path.rename(self._new()))

        # Looked for and renamed in the loop, in which all others look, and removed in a thread.
        for path in [*(self._folder / "downloads").iterdir(), *(self._folder / "sources").iterdir()]:
            if path.name not in digests and path.name not in self._unpacking and path.stat().st_mtime < before:
                trash(path)
        names = {_name(slug) for slug in slugs}
        for name, path in list(self._copies.items()):
            if name not in names and path.stat().st_mtime < before:
                trash(self._copies.pop(name))
        self._environments.set_aside(recipes, before, trash)
        await self._remove(*removed)
        return len(removed)

    def _recipe(self, digest: str) -> Recipe | None:
        root = self._unpacked(digest)
        try:
            return None if root is None else recipe(root, digest)
        except EnvironmentFailure:
            return None

    def _new(self) -> Path:
        """Return a name in `making` that nobody has."""
        return self._folder / "making" / uuid.uuid4().hex


def _name(slug: str) -> str:
    """Return the name of a node's folder: readable where it can be, and no two slugs have the same."""
    data = slug.encode(errors="surrogatepass")
    name = quote(data, safe="")
    if name and len(name) <= _LONGEST_NAME and not name.startswith("."):
        return name
    return f"={hashlib.sha256(data).hexdigest()}"


def _touch(path: Path) -> None:
    """Note that somebody asked for it just now; once a minute is enough."""
    if path.stat().st_mtime < clock.epoch() - _NOTED_SECONDS:
        os.utime(path)


def _remove(paths: Collection[Path]) -> None:
    for path in paths:
        if path.is_dir():
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)
