"""The archive of a project: its configuration and its scripts, read in memory. No I/O."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from lzma import LZMAError
from typing import TYPE_CHECKING

from smartmob.errors import InvalidInput, TooLarge

if TYPE_CHECKING:  # imported with the first package
    import tarfile

CONFIG = "config.json"


_LONGEST_CONFIG_BYTES = 1024 * 1024


_MOST_FILES = 10_000


_MOST_UNPACKED_BYTES = 512 * 1024 * 1024


def find_config(package: bytes) -> bytes:
    """Return the `config.json` of a package: a tar archive, compressed or not, of a project or of its folder.

    Nothing is written to disk, and the number and size of the files are bounded. Raises InvalidInput and TooLarge.
    """
    try:
        with _opened(package) as archive:
            return _find_config(archive)
    except _Unreadable as error:
        raise InvalidInput(f"the package is not a readable tar archive: {error}") from None


class _Unreadable(Exception):
    """The package is damaged, or is no tar archive."""


@contextmanager
def _opened(package: bytes) -> Iterator[tarfile.TarFile]:
    """Yield the archive; raises _Unreadable, also for what its reader raises within the block."""
    import tarfile

    try:
        with tarfile.open(fileobj=io.BytesIO(package), mode="r|*") as archive:
            yield archive
    except (tarfile.TarError, EOFError, OSError, zlib.error, LZMAError, ValueError) as error:
        raise _Unreadable(str(error)) from None


def _find_config(archive: tarfile.TarFile) -> bytes:
    unpacked = 0
    for number, member in enumerate(archive, start=1):
        unpacked += member.size
        if number > _MOST_FILES or unpacked > _MOST_UNPACKED_BYTES:
            raise TooLarge(f"the package has more than {_MOST_FILES} files or {_MOST_UNPACKED_BYTES} bytes unpacked")
        parts = _parts(member.name)
        if member.isfile() and parts[-1:] == [CONFIG] and len(parts) <= 2:
            if member.size > _LONGEST_CONFIG_BYTES:
                raise TooLarge(f"{member.name} has more than {_LONGEST_CONFIG_BYTES} bytes")
            file = archive.extractfile(member)
            assert file is not None
            return file.read()
    raise InvalidInput(f"the package has no {CONFIG}; send the folder of a project as a tar archive")


def script_digests(package: bytes, scripts: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of each script in a package that `find_config` has read; missing ones are left out."""
    wanted = {tuple(_parts(script)): script for script in scripts if script}
    found: dict[str, str] = {}
    try:
        with _opened(package) as archive:
            for member in archive:
                parts = _parts(member.name)
                # The files of a project are at the top of its package, or in its folder.
                script = wanted.get(tuple(parts)) or wanted.get(tuple(parts[1:]))
                if script is None or not member.isfile() or (file := archive.extractfile(member)) is None:
                    continue
                found.setdefault(script, hashlib.sha256(file.read()).hexdigest())
    except _Unreadable:
        return found
    return found


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
