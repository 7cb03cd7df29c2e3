"""Finds the report files that a person names, and opens each as a plain file, also of folders, pipes and gzip."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files import criterion, formats
from smartmob.metrics.report_files.pymon import MAGIC
from smartmob.metrics.report_files.report import HEAD_BYTES

STANDARD_INPUT = "-"
_SPOKEN_STANDARD_INPUT = "standard input"
_MOST_BYTES = 4 * 1024**3  # of a file that is unpacked or read from a pipe
_CHUNK_BYTES = 1024 * 1024
_GZIP_BITS = 31  # of zlib: the largest window, with the head and the checks of gzip
_REPORT_SUFFIXES = {".xml", ".trx", ".pymon", ".json", ".jsonl"}
"""Files in a folder with these suffixes are reports if they are empty or cannot be opened; other files are skipped."""

_XML_SUFFIXES = {".xml", ".trx"}
_PACKED = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
}
_GZIP = b"\x1f\x8b"
_IGNORED_FOLDERS = {".git", "__pycache__"}


class ReportCandidate(msgspec.Struct, frozen=True):
    """A file, or a folder of Criterion's, that may be a report. `in_folder` says that a folder was named, not this."""

    path: Path
    name: str
    in_folder: bool = False


class UnusableFile(msgspec.Struct, frozen=True):
    """A name that does not lead to a report, and the reason."""

    name: str
    reason: str


class OpenReport(msgspec.Struct, frozen=True):
    """A plain file that can be read several times. `format_` is None for a database of pytest-monitor."""

    path: Path
    name: str
    digest: str
    modified: datetime
    format_: formats.ReportFormat | None


class PlainFile(msgspec.Struct, frozen=True):
    """A plain, unpacked file that can be read several times; `modified` is in seconds since 1970.

    `cut` is whether it was packed with gzip and cut off, so that its end is missing.
    """

    path: Path
    name: str
    digest: str
    modified: float
    head: bytes
    cut: bool = False


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class NotAReport(InvalidInput):
    """The file is of no known format."""


def expand(names: Sequence[str]) -> Iterator[ReportCandidate | UnusableFile]:
    """Yield the files that the names stand for, in their order, each once: files, folders, patterns and `-`."""
    seen: set[tuple[int, int]] = set()
    for name in names:
        for found in _of_name(name):
            if isinstance(found, ReportCandidate) and found.name != STANDARD_INPUT:
                try:
                    status = found.path.stat()
                except OSError:
                    pass  # opening it gives the reason
                else:
                    if (status.st_dev, status.st_ino) in seen:
                        continue
                    seen.add((status.st_dev, status.st_ino))
            yield found


def _of_name(name: str) -> Iterator[ReportCandidate | UnusableFile]:
    path = Path(name)
    if name == STANDARD_INPUT:
        yield ReportCandidate(Path("/dev/stdin"), STANDARD_INPUT)
    elif path.is_dir():
        yield from _of_folder(path)
    elif not os.path.lexists(path) and glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True))
        for match in matches:
            if criterion.is_beside_estimates(Path(match)):
                continue
            yield from (
                _of_name(match)
                if Path(match).is_dir()
                else iter((ReportCandidate(Path(match), match, in_folder=True),))
            )
        if not matches:
            yield UnusableFile(name, "no file matches this pattern")
    else:
        yield ReportCandidate(path, name)


def _of_folder(folder: Path) -> Iterator[ReportCandidate | UnusableFile]:
    """Yield the files below a folder in the order of their paths; estimates of Criterion are one report together."""
    estimates = set(criterion.estimate_files(folder))
    if estimates:
        yield ReportCandidate(folder, str(folder), in_folder=True)
    refused: list[OSError] = []
    for here, folders, files in os.walk(folder, onerror=refused.append):
        folders[:] = sorted(set(folders) - _IGNORED_FOLDERS)
        for file in sorted(files):
            path = Path(here, file)
            if path in estimates or criterion.is_beside_estimates(path):
                continue
            yield ReportCandidate(path, str(path), in_folder=True)
    for error in refused:
        yield UnusableFile(str(error.filename), error.strerror or str(error))


@contextmanager
def opened(found: ReportCandidate, forced: str | None) -> Iterator[OpenReport]:
    """Yield a file as a plain one with its format, or with the `forced` one. Raises InvalidInput with the reason.

    Raises NotAReport if the file is in a folder and is no report.
    """
    with ExitStack() as stack:
        if found.path.is_dir():
            yield _estimates(found)
            return
        try:
            file = stack.enter_context(plain_file(found))
            format_ = _format(found, file.head, forced)
            yield OpenReport(file.path, file.name, file.digest, _moment(file.modified), format_)
        except OSError as error:
            if found.in_folder and found.path.suffix.lower() not in _REPORT_SUFFIXES | {".gz"}:
                raise NotAReport(error.strerror or str(error)) from None
            raise InvalidInput(f"cannot be read: {error.strerror or error}") from None


@contextmanager
def plain_file(
    found: ReportCandidate, command: str = "smartmob tests import", *, may_be_cut: bool = False
) -> Iterator[PlainFile]:
    """Yield a file, a pipe or standard input as a plain and unpacked file. Raises OSError and InvalidInput.

    `command` is what a person should use for a named pipe. A file of gzip that is cut off is refused, unless it
    `may_be_cut`.
    """
    with ExitStack() as stack:
        path, modified = stack.enter_context(_plain(found, command))
        head, cut = _head(path), False
        if head.startswith(_GZIP):
            path, cut = stack.enter_context(_unpacked(path, may_be_cut=may_be_cut))
            head = _head(path)
        name = _SPOKEN_STANDARD_INPUT if found.name == STANDARD_INPUT else found.name
        before = path.stat()
        yield PlainFile(path, name, _digest([path]), modified, head, cut)
        after = path.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise InvalidInput("changed while it was read; import it again")


def packed(head: bytes) -> str | None:
    """Return how a file is packed, if it is packed by anything but gzip."""
    return next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), None)


@contextmanager
def _plain(found: ReportCandidate, command: str) -> Iterator[tuple[Path, float]]:
    """Yield the path of a file that can be read twice, and its last change; pipes of the shell are copied."""
    if found.name == STANDARD_INPUT:
        if sys.stdin is None:
            raise InvalidInput("there is no standard input")
        with _copied(sys.stdin.buffer) as path:
            yield path, path.stat().st_mtime
        return
    status = found.path.stat()
    if stat.S_ISREG(status.st_mode):
        yield found.path, status.st_mtime
    elif stat.S_ISFIFO(status.st_mode) and str(found.path).startswith(("/dev/fd/", "/proc/self/fd/", "/dev/stdin")):
        with found.path.open("rb") as file, _copied(file) as path:
            yield path, path.stat().st_mtime
    elif stat.S_ISFIFO(status.st_mode):
        raise _skippable(found, f"is a named pipe; use: {command} - < {found.name}")
    else:
        raise _skippable(found, "is a device or a socket, not a file")


def _skippable(found: ReportCandidate, reason: str) -> InvalidInput:
    return NotAReport(reason) if found.in_folder else InvalidInput(reason)


@contextmanager
def _copied(file: _Readable) -> Iterator[Path]:
    """Copy a stream to a temporary file and yield its path. Raises InvalidInput for too many bytes."""
    with tempfile.NamedTemporaryFile(prefix="smartmob-import-") as copy:
        size = 0
        while chunk := file.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > _MOST_BYTES:
                raise InvalidInput(f"has more than {_MOST_BYTES // 1024**3} GiB")
            copy.write(chunk)
        copy.flush()
        yield Path(copy.name)


@contextmanager
def _unpacked(path: Path, *, may_be_cut: bool) -> Iterator[tuple[Path, bool]]:
    """Yield the unpacked content of a file of gzip, and whether it is cut off. Raises InvalidInput."""
    try:
        with path.open("rb") as file, ExitStack() as stack:
            unpacker = _Unpacker(file)
            copy = stack.enter_context(_copied(unpacker))
            if unpacker.cut and not (may_be_cut and copy.stat().st_size):
                raise InvalidInput("is damaged: it is cut off, since the end of gzip is missing")
            yield copy, unpacker.cut
    except zlib.error as error:
        raise InvalidInput(f"is damaged: {error}") from None


class _Unpacker:
    """Unpacks gzip up to its end or its `cut`; the module `gzip` loses the last bytes before a cut."""

    def __init__(self, file: BinaryIO) -> None:
        self.cut = False
        self._file = file
        self._member = zlib.decompressobj(_GZIP_BITS)
        self._packed = b""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, and none at the end. Raises zlib.error."""
        while True:
            if self._member.eof:
                # Members of gzip can follow each other, and zeros can follow them.
                self._packed = self._member.unused_data.lstrip(b"\0") or self._file.read(_CHUNK_BYTES).lstrip(b"\0")
                if not self._packed:
                    return b""
                self._member = zlib.decompressobj(_GZIP_BITS)
            else:
                self._packed = self._member.unconsumed_tail or self._file.read(_CHUNK_BYTES)
            data = self._member.decompress(self._packed, size)
            if not data and not self._packed:
                self.cut = True
            if data or not self._packed:
                return data


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _estimates(found: ReportCandidate) -> OpenReport:
    """Return the folder of estimates that Criterion.rs writes."""
    files = criterion.estimate_files(found.path)
    modified = max((file.stat().st_mtime for file in files), default=0.0)
    return OpenReport(found.path, found.name, _digest(files), _moment(modified), formats.named("criterion"))


def _format(found: ReportCandidate, head: bytes, forced: str | None) -> formats.ReportFormat | None:
    """Return the format of a file, None for a database of pytest-monitor. Raises InvalidInput or NotAReport."""
    suffix = Path(found.name.removesuffix(".gz")).suffix.lower()
    if not head:
        reason = "is empty"
        raise NotAReport(reason) if found.in_folder and suffix not in _REPORT_SUFFIXES else InvalidInput(reason)
    if forced is not None:
        return None if forced == formats.PYMON else formats.named(forced)
    if head.startswith(MAGIC):
        return None
    format_ = formats.recognised(head)
    if format_ is not None:
        return format_
    raise _unknown_format(found, head, suffix)


def _unknown_format(found: ReportCandidate, head: bytes, suffix: str) -> InvalidInput | NotAReport:
    """Return the error for a file of no known format; files in a folder need not be reports."""
    if (kind := packed(head)) is not None:
        return _skippable(found, f"is {kind}; unpack it first")
    is_other_xml = b"<" in head[:64]
    if found.in_folder and (suffix not in _XML_SUFFIXES or is_other_xml):
        return NotAReport("is not a report")
    if (unread := formats.unread(head)) is not None:
        return InvalidInput(unread)
    return InvalidInput(f"has an unknown format; choose one with --format: {', '.join(formats.NAMES)}")


def _digest(files: Sequence[Path]) -> str:
    """Return a digest of the content of some files."""
    found = hashlib.blake2b(digest_size=16)
    for path in files:
        with path.open("rb") as file:
            size = 0
            while chunk := file.read(_CHUNK_BYTES):
                size += len(chunk)
                found.update(chunk)
            found.update(f"{size} bytes".encode())
    return found.hexdigest()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
