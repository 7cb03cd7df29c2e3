"""Turret packages (a tar with `config.json` and the script): packing them from a project and unpacking them safely."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from smartmob.errors import InvalidInput
from smartmob.turrets.turret import configuration

MOST_FILES = 10_000
MOST_BYTES = 1024 * 1024 * 1024
"""Limits of an unpacked package."""

CONFIG = "config.json"

_NOT_FOR_TURRETS = ("turrets_requirements",)
"""Keys of a project that are left out of the configurations of its turrets."""


class Package(msgspec.Struct, frozen=True):
    """An unpacked package: its configuration (raw and parsed), its script, and the folders of importable modules."""

    given: dict[str, Any]
    configuration: configuration.TurretConfiguration
    script: Path
    folders: tuple[Path, ...]


def from_config(path: Path, overrides: Mapping[str, Any] | None = None) -> Package:
    """Return the package of a configuration file; the script's path is relative to that file. Raises InvalidInput."""
    given = configuration.read(path) | dict(overrides or {})
    parsed = configuration.parse(given)
    folder = path.resolve().parent
    return Package(given, parsed, folder / parsed.script, (folder,))


def from_tar(path: Path, folder: Path, overrides: Mapping[str, Any] | None = None) -> Package:
    """Unpack a tar into `folder` and return its package; raises InvalidInput."""
    unpack(path, folder)
    if not (folder / CONFIG).is_file():
        raise InvalidInput(f"{path} has no {CONFIG}; make packages with `smartmob pack-turrets`")
    return from_config(folder / CONFIG, overrides)


def unpack(path: Path, folder: Path) -> None:
    """Unpack a tar into `folder` only, with limits of size and number of files. Raises InvalidInput."""
    try:
        with tarfile.open(path) as tar:
            members = []
            size = 0
            for member in tar:
                members.append(member)
                size += member.size
                if len(members) > MOST_FILES or size > MOST_BYTES:
                    raise InvalidInput(f"{path} contains more than {MOST_FILES} files or {MOST_BYTES} bytes")
            _extract(tar, folder, members)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror or error}") from None
    except (tarfile.TarError, EOFError) as error:
        raise InvalidInput(f"{path} is not a turret package: {error}") from None


def _extract(tar: tarfile.TarFile, folder: Path, members: Sequence[tarfile.TarInfo]) -> None:
    """Extract into the folder alone; raises TarError for a member that would be elsewhere.

    A Python before 3.11.4, such as that of Debian 12, has no filter for this. There only files and folders are allowed.
    """
    if hasattr(tarfile, "data_filter"):
        tar.extractall(folder, members, filter="data")
        return
    for member in members:
        if not (member.isreg() or member.isdir()):
            raise tarfile.TarError(f"{member.name!r} is neither a file nor a folder; Python 3.11.4 reads more kinds")
        if member.name.startswith("/") or ".." in Path(member.name).parts:
            raise tarfile.TarError(f"{member.name!r} would be outside of the package")
        # As the filter does: the files belong to this user, who can read and write them.
        member.uid, member.gid, member.uname, member.gname = os.geteuid(), os.getegid(), "", ""
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    tar.extractall(folder, members)  # noqa: S202  # each member was checked


def turrets(project: Path, config_file: Path | None = None) -> list[dict[str, Any]]:
    """Return the configurations of a project's turrets, each merged with the keys that they share.

    Raises InvalidInput that names the key or the turret.
    """
    whole = configuration.read(config_file or project / CONFIG)
    entries = whole.get("turrets")
    if not isinstance(entries, list) or not entries:
        raise InvalidInput.at("$.turrets", "must be a list of turrets")
    further = whole.get("extra_turret_config") or {}
    if not isinstance(further, dict):
        raise InvalidInput.at("$.extra_turret_config", "must be an object")
    shared = {
        "hq_address": whole.get("hq_address", "127.0.0.1"),
        "hq_publisher": whole.get("publish_port") or 5000,
        "hq_rc": whole.get("rc_port") or 5001,
    }
    found = []
    for index, entry in enumerate(entries):
        turret = configuration.read(project / entry) if isinstance(entry, str) else entry
        if not isinstance(turret, dict):
            raise InvalidInput.at(f"$.turrets[{index}]", "must be an object, or the path of a JSON file")
        document = {key: value for key, value in (turret | shared | further).items() if key not in _NOT_FOR_TURRETS}
        try:
            configuration.parse(document)
        except InvalidInput as error:
            raise InvalidInput(f"turret {index + 1} of {len(entries)}: {error}") from None
        found.append(document)
    names = [turret["name"] for turret in found]
    if len(set(names)) < len(names):
        raise InvalidInput.at("$.turrets", "the names of turrets must differ: each is the name of a package")
    return found


def for_script(script: Path, config_file: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configuration and the transaction context of a script.

    `config_file` configures a turret, or a project with a turret that has this script. Without one, `config.json` is
    searched beside the script and in the folder above. Raises InvalidInput.
    """
    folders = script.resolve().parents[:2]
    path = config_file or next((folder / CONFIG for folder in folders if (folder / CONFIG).is_file()), None)
    if path is None:
        return {}, {}
    document = configuration.read(path)
    if "turrets" not in document:
        return document, {}
    folder = path.resolve().parent
    for turret in turrets(folder, path):
        if (folder / turret["script"]).resolve() == script.resolve():
            return turret, document.get("transaction_context") or {}
    raise InvalidInput(f"{path} has no turret with the script {script}; give another file with --config-file")


def pack(project: Path, turret: Mapping[str, Any], target: Path, setup: str | None = None) -> list[str]:
    """Write the package of one turret; return the names of its members. Raises InvalidInput.

    A path in `extra_files` (a file or a folder) is stored under its last component only, as OCT does.
    """
    documents = {CONFIG: json.dumps(dict(turret), indent=2)} | ({"setup.py": setup} if setup is not None else {})
    paths = dict(_paths(project, turret))
    for name, path in paths.items():
        if not path.exists():
            raise InvalidInput(f"turret {turret['name']}: {path} does not exist ({name})")
    try:
        with tarfile.open(target, "w:gz") as tar:
            for name, text in documents.items():
                info = tarfile.TarInfo(name)
                data = text.encode()
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            for name, path in paths.items():
                tar.add(path, arcname=name, filter=_without_caches)
            return tar.getnames()
    except OSError as error:
        raise InvalidInput(f"cannot write {target}: {error.strerror}") from None


def _paths(project: Path, turret: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Yield the name in the package and the path of each file of a turret."""
    extra = turret.get("extra_files", [])
    if not isinstance(extra, list) or not all(isinstance(path, str) for path in extra):
        raise InvalidInput.at("$.extra_files", "must be a list of paths")
    yield turret["script"], project / turret["script"]
    for path in extra:
        yield Path(path).name, project / path


def _without_caches(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in Path(info.name).parts else info
