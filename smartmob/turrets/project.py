"""The project of a requested run: its configuration, as JSON or in a package. No I/O except in memory."""

from __future__ import annotations

import hashlib
import io
import math
import tarfile
import zlib
from collections.abc import Iterable
from lzma import LZMAError

import msgspec

from smartmob.errors import InvalidInput, SettingsError, TooLarge
from smartmob.turrets.conditions import KEY, planned
from smartmob.turrets.model import RunConfig

CONFIG = "config.json"
_LONGEST_CONFIG_BYTES = 1024 * 1024
_MOST_FILES = 10_000
_MOST_UNPACKED_BYTES = 512 * 1024 * 1024

DECODER = msgspec.json.Decoder(RunConfig)


class Project(msgspec.Struct, frozen=True):
    """A configuration, its JSON as it was received, and the package that contained it."""

    config: RunConfig
    raw: bytes
    package: bytes | None = None

    def with_warm_up(self, seconds: float | None) -> Project:
        """Return the project with another warm-up; with None, the same project."""
        if seconds is None:
            return self
        document = msgspec.json.decode(self.raw) | {"warm_up": seconds}
        config = msgspec.structs.replace(self.config, warm_up=seconds)
        return Project(config, msgspec.json.encode(document), self.package)


def check_conditions(config: RunConfig, where: str) -> None:
    """Raise InvalidInput if a condition of a configuration, which stands at the JSON path `where`, is wrong."""
    try:
        planned(config.fail_if, KEY, run_time=config.run_time, may_repeat=True)
    except SettingsError as error:
        raise InvalidInput.at(f"{where}.{KEY}", str(error).removeprefix(f"{KEY} ")) from None


def check_warm_up(config: RunConfig, where: str) -> None:
    """Raise InvalidInput if the warm-up, in whole seconds as the statistics have it, leaves nothing of the run."""
    if config.warm_up and math.ceil(config.warm_up) >= config.run_time:
        raise InvalidInput.at(
            f"{where}.warm_up",
            f"{config.warm_up:g} s of warm-up leave nothing of a run of {config.run_time:g} s; give less",
        )


def find_config(package: bytes) -> bytes:
    """Return the `config.json` of a package: a tar archive, compressed or not, of a project or of its folder.

    Nothing is written to disk, and the number and size of the files are bounded. Raises InvalidInput and TooLarge.
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
        with tarfile.open(fileobj=io.BytesIO(package), mode="r|*") as archive:
            for member in archive:
                parts = _parts(member.name)
                # The files of a project are at the top of its package, or in its folder.
                script = wanted.get(tuple(parts)) or wanted.get(tuple(parts[1:]))
                if script is None or not member.isfile() or (file := archive.extractfile(member)) is None:
                    continue
                found.setdefault(script, hashlib.sha256(file.read()).hexdigest())
    except (tarfile.TarError, EOFError, OSError, zlib.error, LZMAError, ValueError):
        return found
    return found


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
