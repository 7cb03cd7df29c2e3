"""The project that a run is asked for with: its configuration, as JSON or in a package. No I/O besides memory."""

from __future__ import annotations

import io
import tarfile
import zlib
from dataclasses import dataclass
from lzma import LZMAError

import msgspec

from smartmob.errors import InvalidInput, TooLarge
from smartmob.turrets.model import RunConfig

CONFIG = "config.json"
_LONGEST_CONFIG = 1024 * 1024
_MOST_MEMBERS = 10_000
_MOST_UNPACKED = 512 * 1024 * 1024

DECODER = msgspec.json.Decoder(RunConfig)


@dataclass(frozen=True, slots=True)
class Project:
    """A configuration, as it was given too, and the package that it came in."""

    config: RunConfig
    raw: bytes
    package: bytes | None = None


def find_config(package: bytes) -> bytes:
    """Return the `config.json` of a package: a tar, compressed or not, of a project or of its folder.

    Nothing is written anywhere, and no more is unpacked than a package can need. Raises InvalidInput.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(package), mode="r|*") as archive:
            return _find_config(archive)
    except (tarfile.TarError, EOFError, OSError, zlib.error, LZMAError, ValueError) as error:
        raise InvalidInput(f"the package is no tar archive that can be read: {error}") from None


def _find_config(archive: tarfile.TarFile) -> bytes:
    unpacked = 0
    for number, member in enumerate(archive, start=1):
        unpacked += member.size
        if number > _MOST_MEMBERS or unpacked > _MOST_UNPACKED:
            raise TooLarge(f"the package has more than {_MOST_MEMBERS} files or {_MOST_UNPACKED} bytes unpacked")
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        if member.isfile() and parts[-1:] == [CONFIG] and len(parts) <= 2:
            if member.size > _LONGEST_CONFIG:
                raise TooLarge(f"{member.name} has more than {_LONGEST_CONFIG} bytes")
            file = archive.extractfile(member)
            assert file is not None
            return file.read()
    raise InvalidInput(f"the package has no {CONFIG}; send the folder of a project as a tar archive")
