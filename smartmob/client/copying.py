"""Copies of files and trees to and from a server: kinds, modes below the umask, times and links, by the rules of rsync.

Files that cannot be copied are reported and left out, and the rest is copied.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from smartmob.client import safe_paths, streams, transfer
from smartmob.client.command_client import CommandClient
from smartmob.client.failures import ClientError, ClientTimeout, NotConnected
from smartmob.client.limits import LIMITS
from smartmob.client.safe_paths import SafePath
from smartmob.commands import tree_entries
from smartmob.commands.tree_entries import FIFO, FILE, FOLDER, LINK, FileEntry
from smartmob.errors import InvalidInput, SmartmobError

Progress = Callable[[int, int], None]
"""A callback for the progress of a copy: the bytes that are done, and all bytes."""

_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors after which no other file can be copied either."""
_FINISH_SECONDS = 5.0
"""Seconds to set the modes and times of folders after a copy was stopped."""
_TOP = ("", ".", "..")
"""Last parts of a path that do not name a new folder: the content is copied, as `cp` does."""


class Copy:
    """One copy between this machine and a server.

    `problems` are the entries that were left out, each with the reason. `count` is the number of copied entries with
    folders, `files` the number without folders, and `bytes` their size. `listed` is the number of all entries. The
    folder of the copy must exist, and is created with `make_path`.
    """

    def __init__(self, client: CommandClient, progress: Progress, *, make_path: bool = False) -> None:
        self.problems: list[str] = []
        self.count = self.files = self.bytes = self.listed = 0
        self._make_path = make_path
        self._root = "."
        self._client = client
        self._progress = progress
        self._total = self._before = 0

    # -- to the server ------------------------------------------------------------------------------------------

    async def send(self, src: str, dest: str) -> None:
        """Copy a file, a stream or a tree of this machine; raises OSError, SmartmobError for a copy of one file."""
        name = os.path.basename(os.path.abspath(src))
        if src != streams.STREAM and not os.path.exists(src):
            if src.endswith("/") and os.path.exists(src.rstrip("/") or "/"):
                raise _not_a_folder(src)
            raise InvalidInput(f"there is no {src} here")
        if (own := streams.open_source(src)) is not None:
            os.close(own)
            if dest.endswith("/") or await self._is_folder_there(dest):
                path = f"{dest.rstrip('/')}/input"
                raise InvalidInput(f"{src} has no file name: name the file on the machine, such as {path}")
            await self._need_folder_there(dest)
            await self._send_file(src, dest)
            return
        if dest.endswith("/") and await self._is_file_there(dest.rstrip("/") or "/"):
            raise _not_a_folder(dest)
        if await self._goes_into(src, dest):
            dest = f"{dest.rstrip('/')}/{name}"
        await self._need_folder_there(dest)
        if os.path.isfile(src):
            self._total = os.stat(src).st_size
            await self._send_file(src, dest)
            return
        entries = list(tree_entries.scan(os.fsencode(src)))
        self._total, self.listed, self._root = sum(entry.size for entry in entries), len(entries), src
        root, there = os.fsencode(src), os.fsencode(dest)
        await self._each(
            entries,
            lambda entry: self._send_entry(entry, _join(root, entry.path), _join(there, entry.path)),
            lambda entry: self._create_entry(_join(there, entry.path), entry, done=True),
        )

    async def _goes_into(self, src: str, dest: str) -> bool:
        """Return whether a copy goes into the folder `dest`; raises InvalidInput if that is missing.

        A folder that is copied to `new/` becomes that folder, as with `cp -r` and `scp -r`.
        """
        named = os.path.basename(src) not in _TOP
        if not dest.endswith("/"):
            return named and await self._is_folder_there(dest)
        if self._make_path or await self._is_folder_there(dest):
            return True
        if os.path.isdir(src):
            return False
        raise missing_folder(dest)

    async def _need_folder_there(self, dest: str) -> None:
        """Raise InvalidInput if the folder of a path on the server does not exist, unless it will be created."""
        folder = os.path.dirname(dest.rstrip("/"))
        if self._make_path or not folder:
            return
        try:
            found = await transfer.describe(self._client, folder)
        except FileNotFoundError as error:
            if error.strerror != os.strerror(errno.ENOENT):
                raise  # it is the home of a user that does not exist
            raise missing_folder(folder) from None
        if found is not None and found.kind != FOLDER:
            raise _not_a_folder(folder)

    async def _is_folder_there(self, dest: str) -> bool:
        try:
            found = await transfer.describe(self._client, dest)
        except FileNotFoundError:
            return False
        return dest in (".", "..") if found is None else found.kind == FOLDER

    async def _is_file_there(self, dest: str) -> bool:
        try:
            found = await transfer.describe(self._client, dest)
        except OSError:
            return False
        return found is not None and found.kind not in (FOLDER, LINK)

    async def _send_entry(self, entry: FileEntry, src: bytes, dest: bytes) -> None:
        if entry.kind == FILE:
            done = self._file_progress()
            options = {"follow": False, "times": True, "folders": not self._client.takes("place")}
            await transfer.upload(self._client, os.fsdecode(src), dest, done, **options)
        else:
            await self._create_entry(dest, entry)

    async def _send_file(self, src: str, dest: str) -> None:
        await transfer.upload(self._client, src, dest, self._file_progress(), times=True)
        self._count_file()

    async def _create_entry(self, dest: bytes, entry: FileEntry, *, done: bool = False) -> None:
        if not self._client.takes("place"):
            if entry.kind == FOLDER:
                return  # it is created with its first file
            raise OSError(errno.ENOSYS, f"a {entry.kind} cannot be sent to a service of an earlier release")
        arguments = {**transfer.path_arguments(dest), "kind": entry.kind, "mtime_ns": entry.mtime_ns, "done": done}
        if entry.kind == LINK:
            arguments["target"] = entry.target
        elif entry.mode is not None:
            arguments["mode"] = entry.mode & 0o777
        await self._client.run("place", **arguments, raise_error=True, timeout=LIMITS.transfer_seconds)

    # -- from the server ----------------------------------------------------------------------------------------

    async def fetch(self, src: str, dest: str) -> None:
        """Copy a file or a tree of the server; raises OSError, SmartmobError for a copy of one file."""
        if dest.endswith("/") and os.path.exists(dest.rstrip("/") or "/") and not os.path.isdir(dest):
            raise _not_a_folder(dest)
        stream = streams.open_target(dest)
        if stream is not None:
            try:
                await transfer.download_stream(self._client, src, stream, self._file_progress())
            finally:
                os.close(stream)
            self._count_file()
            return
        need_folder_here(dest, self._make_path)
        entries = await self._listed(src)
        if src.endswith("/") and len(entries) == 1 and not entries[0].path and entries[0].kind not in (FOLDER, LINK):
            raise _not_a_folder(src)
        target = Path(dest)
        if target.is_dir() and os.path.basename(src) not in _TOP:
            target = target / os.path.basename(src)
        self._total, self.listed, self._root = sum(entry.size for entry in entries), len(entries), src
        if len(entries) == 1 and not entries[0].path and entries[0].kind != FOLDER:
            if dest.endswith("/") and not os.path.isdir(dest):
                raise missing_folder(dest)
            if target.name in _TOP:
                raise ClientError("the server names a file without a name")
            # If the user names a link, its target is meant.
            chosen = safe_paths.chosen(Path(os.path.realpath(target)))
            done = self._file_progress()
            await transfer.download(self._client, src, chosen, done, entries[0], times=True)
            self._count_file()
            return
        root = Path(os.path.realpath(target))
        await self._each(
            entries,
            lambda entry: self._fetch_entry(_join(os.fsencode(src), entry.path), _local(root, entry), entry),
            lambda entry: self._finish_folder(_local(root, entry), entry),
        )

    async def _listed(self, src: str) -> list[FileEntry]:
        arguments = transfer.path_arguments(src)
        if self._client.takes("find_files", "details"):
            arguments["details"] = True
        found = await self._client.run("find_files", **arguments, raise_error=True, timeout=LIMITS.transfer_seconds)
        try:
            entries = [tree_entries.from_message(message) for message in found]
        except InvalidInput as error:
            raise ClientError(f"the server's list of files is malformed: {error}") from None
        if len({entry.path for entry in entries if entry.problem is None}) + sum(
            entry.problem is not None for entry in entries
        ) < len(entries) or (len(entries) > 1 and any(not entry.path and entry.kind == FILE for entry in entries)):
            raise ClientError("the server's list of files is malformed: names are missing or repeated")
        for entry in entries:
            if entry.path or len(entries) > 1:
                _local(Path(), entry)
        return entries

    async def _fetch_entry(self, src: bytes, dest: SafePath, entry: FileEntry) -> None:
        if entry.kind == FILE:
            done = self._file_progress()
            await transfer.download(self._client, src, dest, done, entry, follow=False, times=True)
            return
        with safe_paths.named_errors(dest), safe_paths.folder_of(dest) as folder:
            name = dest.parts[-1]
            if entry.kind == FOLDER:
                tree_entries.make_folder(folder, name, entry.mode)
            elif entry.kind == LINK and entry.target is not None:
                tree_entries.make_link(folder, name, entry.target, entry.mtime_ns)
            else:
                tree_entries.make_fifo(folder, name, entry.mode, entry.mtime_ns)

    async def _finish_folder(self, dest: SafePath, entry: FileEntry) -> None:
        with safe_paths.folder_of(dest) as folder:
            tree_entries.finish_folder(folder, dest.parts[-1], entry.mode, entry.mtime_ns)

    # -- both ---------------------------------------------------------------------------------------------------

    async def _each(
        self, entries: Iterable[FileEntry], copy: Callable[[FileEntry], Any], finish: Callable[[FileEntry], Any]
    ) -> None:
        """Copy each entry, and finish the folders after their content; report failures."""
        folders: list[FileEntry] = []
        try:
            await self._copy(entries, copy, folders)
        except BaseException:
            # The copy was stopped, or cannot go on. The next copy continues it; until then the folders have their modes
            # and times.
            with suppress(Exception):
                async with asyncio.timeout(_FINISH_SECONDS):
                    for entry in reversed(folders):
                        await finish(entry)
            raise
        for entry in reversed(folders):
            await self._attempt(entry, finish)

    async def _copy(
        self, entries: Iterable[FileEntry], copy: Callable[[FileEntry], Any], folders: list[FileEntry]
    ) -> None:
        left_out: set[bytes] = set()
        for entry in entries:
            self._progress(self._before, self._total)
            if any(entry.path.startswith(folder) for folder in left_out):
                continue
            if entry.problem is not None:
                self._report(entry, f"its content cannot be listed: {entry.problem}")
                continue
            if entry.kind not in (FILE, FOLDER, LINK, FIFO):
                self._report(entry, f"it is a {entry.kind}")
                continue
            if entry.kind == FOLDER:
                folders.append(entry)
            if await self._attempt(entry, copy):
                self.count += 1
                self.files += entry.kind != FOLDER
            elif entry.kind == FOLDER:
                folders.remove(entry)
                left_out.add(entry.path + b"/" if entry.path else b"")
            self._before += entry.size

    async def _attempt(self, entry: FileEntry, work: Callable[[FileEntry], Any]) -> bool:
        try:
            await work(entry)
        except (NotConnected, ClientTimeout):
            raise
        except OSError as error:
            if error.errno in _FATAL:
                raise
            self._report(entry, error.strerror or str(error))
            return False
        except SmartmobError as error:
            self._report(entry, str(error))
            return False
        return True

    def _report(self, entry: FileEntry, reason: str) -> None:
        self.problems.append(f"{entry.shown or self._root} was not copied: {reason}")

    def _file_progress(self) -> Progress:
        before, counted = self._before, 0

        def progress(done: int, _: int) -> None:
            nonlocal counted
            self.bytes += done - counted
            counted = done
            self._progress(before + done, self._total)

        return progress

    def _count_file(self) -> None:
        self.count += 1
        self.files += 1


def need_folder_here(dest: str, make_path: bool) -> None:
    """Raise InvalidInput if the folder of a path of this machine does not exist; create it with `make_path`."""
    folder = os.path.dirname(dest.rstrip("/"))
    if make_path and (made := dest if dest.endswith("/") else folder):
        os.makedirs(made, exist_ok=True)
    elif folder and not os.path.isdir(folder):
        raise _not_a_folder(folder) if os.path.exists(folder) else missing_folder(folder)


def missing_folder(folder: str) -> InvalidInput:
    """Return the error of a copy into a folder that does not exist."""
    return InvalidInput(f"there is no folder {folder}: create it first, or let --mkpath create it")


def _not_a_folder(path: str) -> NotADirectoryError:
    """Return the error of a path that ends with a slash and names a file, as in `cp` and `scp`."""
    return NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def _join(folder: bytes, inner: bytes) -> bytes:
    return folder.rstrip(b"/") + b"/" + inner if inner else folder


def _local(root: Path, entry: FileEntry) -> SafePath:
    """Return the path of an entry below `root`; raises ClientError for one that could leave it."""
    return safe_paths.below(root, entry.path) if entry.path else safe_paths.chosen(root)
