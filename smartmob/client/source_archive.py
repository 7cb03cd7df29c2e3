"""The archive of a program's folder, to be uploaded. This module needs no module of the server.

Files that `.slugignore` names, in the syntax of `.gitignore`, are left out, and so are all `.git`, `__pycache__` and
`.venv`. The same content gives the same bytes, and therefore the same digest: names are sorted, and times and owners
are left out.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

import msgspec
from pathspec import GitIgnoreSpec

from smartmob.errors import InvalidInput

Progress = Callable[[int, int], None]
"""A callback for the progress: the bytes that are packed, and all bytes."""

IGNORE_FILE = ".slugignore"
PROCFILE = "Procfile"
_ALWAYS_IGNORED = frozenset({".git", "__pycache__", ".venv"})
_MOST_PARTS = 500  # folders of a name, as the service allows
_GZIP_LEVEL = 6  # the default of gzip(1)
_MODIFIED = 315_532_800  # seconds since 1970: the year 1980, the earliest time of a ZIP archive


class PackingError(InvalidInput):
    """The folder cannot be packed."""


class SourceArchive(msgspec.Struct, frozen=True):
    """An archive at `path`: its SHA-256 in hexadecimal digits, its size in bytes, and the number of files in it."""

    path: Path
    digest: str
    size: int
    files: int


class _Entry(msgspec.Struct, frozen=True):
    name: str
    path: str
    about: os.stat_result


@contextmanager
def source_archive(
    folder: Path, progress: Progress = lambda _done, _total: None, *, needs_procfile: bool = True
) -> Iterator[SourceArchive]:
    """Pack `folder` into a temporary file, which is removed at the end of the block.

    Raises PackingError when the folder has no Procfile, unless it needs none, when a link leads out of it, and when an
    entry is neither file, folder nor link, cannot be read, or changes meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="smartmob-") as temporary:
        path = Path(temporary) / "source.tar.gz"
        try:
            entries = _entries(folder, needs_procfile=needs_procfile)
            with path.open("xb") as file:
                _write(entries, file, progress)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise PackingError(f"{error.filename or folder}: {error.strerror or error}") from None
        files = sum(stat.S_ISREG(entry.about.st_mode) for entry in entries)
        yield SourceArchive(path, digest, path.stat().st_size, files)


def _entries(folder: Path, *, needs_procfile: bool) -> list[_Entry]:
    """Return the entries to pack, sorted by name, each folder before its content."""
    if not folder.is_dir():
        raise PackingError(f"{folder} is not a folder")
    ignored = _ignored(folder)
    inside = os.path.realpath(folder)
    entries = sorted(_walk(folder, "", ignored, inside), key=lambda entry: entry.name.split("/"))
    if not any(entry.name == PROCFILE for entry in entries):
        near = [entry.name for entry in entries if _is_near_procfile(entry.name)]
        if near and not (folder / PROCFILE).exists():
            what = "run that folder instead" if near[0].endswith(f"/{PROCFILE}") else f"its name must be {PROCFILE}"
            raise PackingError(f"{_shown(str(folder))} has no {PROCFILE}; there is {_shown(near[0])}: {what}")
        if not needs_procfile:
            return entries
        out = f" that {IGNORE_FILE} lets in" if (folder / PROCFILE).exists() else ""
        raise PackingError(f"{folder} has no {PROCFILE}{out}, which says what to run: `web: python app.py` for example")
    return entries


def _is_near_procfile(name: str) -> bool:
    """Return whether a name is that of a Procfile in another case, or of one in a folder of the source."""
    above, _, last = name.rpartition("/")
    return last.casefold() == PROCFILE.casefold() and "/" not in above


def _shown(name: str) -> str:
    """Return a name for people; bytes that are no UTF-8 are escaped."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _walk(folder: Path | str, above: str, ignored: GitIgnoreSpec, inside: str) -> Iterator[_Entry]:
    with os.scandir(folder) as found:
        for item in found:
            name = above + item.name
            about = item.stat(follow_symlinks=False)
            is_folder = stat.S_ISDIR(about.st_mode)
            if name.count("/") >= _MOST_PARTS:
                raise PackingError(f"{_shown(item.path)[:200]}… has more than {_MOST_PARTS} folders, which is too deep")
            if item.name in _ALWAYS_IGNORED or ignored.match_file(f"{name}/" if is_folder else name):
                continue
            if stat.S_ISLNK(about.st_mode):
                _check_link(name, item.path, inside)
            elif not is_folder and not stat.S_ISREG(about.st_mode):
                raise PackingError(f"{item.path} is neither a file nor a folder nor a link; name it in {IGNORE_FILE}")
            yield _Entry(name, item.path, about)
            if is_folder:
                yield from _walk(item.path, f"{name}/", ignored, inside)


def _check_link(name: str, path: str, inside: str) -> None:
    to, end = os.readlink(path), os.path.realpath(path)
    depth, lowest = name.count("/"), 0
    for part in to.split("/"):
        depth += {"..": -1, "": 0, ".": 0}.get(part, 1)
        lowest = min(lowest, depth)
    if to.startswith("/") or lowest < 0 or not (end == inside or end.startswith(inside + os.sep)):
        raise PackingError(
            f"{path} is a link out of the folder, to {to}, which does not exist on the other machine; "
            f"replace it by its target, or name it in {IGNORE_FILE}"
        )


def _ignored(folder: Path) -> GitIgnoreSpec:
    try:
        lines = (folder / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except UnicodeDecodeError:
        raise PackingError(f"{folder / IGNORE_FILE} is not a text in UTF-8") from None
    for number, line in enumerate(lines, 1):
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            raise PackingError(f"{folder / IGNORE_FILE}, line {number}: {line!r} is not a pattern") from None
    return GitIgnoreSpec.from_lines(lines)


def _write(entries: list[_Entry], file: BinaryIO, progress: Progress) -> None:
    total = sum(entry.about.st_size for entry in entries if stat.S_ISREG(entry.about.st_mode))
    done = 0
    progress(done, total)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    with (
        gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar,
    ):
        for entry in entries:
            _add(tar, entry, advance)


def _add(tar: tarfile.TarFile, entry: _Entry, advance: Callable[[int], None]) -> None:
    info = tarfile.TarInfo(entry.name)
    info.mtime = _MODIFIED
    mode = entry.about.st_mode
    info.mode = 0o755 if stat.S_ISDIR(mode) or mode & 0o111 else 0o644
    if stat.S_ISDIR(mode):
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif stat.S_ISLNK(mode):
        info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, os.readlink(entry.path)
        tar.addfile(info)
    else:
        info.size = entry.about.st_size
        # The file may have been replaced by a link meanwhile; a link is not followed.
        with open(os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as content:
            tar.addfile(info, cast(IO[bytes], _CheckedReader(content, entry, advance)))
            if content.read(1):
                raise PackingError(f"{entry.path} has grown while it was being packed; try again")


class _CheckedReader:
    """A reader of a file that reports the progress, and raises PackingError when the file ends early."""

    def __init__(self, content: BinaryIO, entry: _Entry, advance: Callable[[int], None]) -> None:
        self._content = content
        self._entry = entry
        self._advance = advance

    def read(self, size: int, /) -> bytes:
        data = self._content.read(size)
        if len(data) < size:
            raise PackingError(f"{self._entry.path} has shrunk while it was being packed; try again")
        self._advance(len(data))
        return data
