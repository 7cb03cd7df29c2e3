"""Projects of load tests as packages, which the headquarters accepts."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from smartmob.errors import InvalidInput
from smartmob.turrets.project_archive import CONFIG

_LEFT_OUT = ("results", "__pycache__", "templates")
_MAX_PACKAGE_BYTES = 12 * 1024 * 1024


def pack_project(project: Path, config_file: Path | None = None) -> bytes:
    """Return a project as a package; a package is returned unchanged. Raises InvalidInput."""
    try:
        if project.is_file():
            return project.read_bytes()
        config = config_file or project / CONFIG
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            # First, because a reader of the package looks for it.
            archive.add(config, CONFIG)
            for path in sorted(project.rglob("*")):
                name = path.relative_to(project)
                hidden = any(part.startswith(".") or part in _LEFT_OUT for part in name.parts)
                if path.is_file() and not hidden and path.suffix not in (".gz", ".pyc") and str(name) != CONFIG:
                    archive.add(path, str(name))
                if packed.tell() > _MAX_PACKAGE_BYTES:
                    raise InvalidInput(
                        f"{project} has more than {_MAX_PACKAGE_BYTES} bytes packed; move data elsewhere"
                    )
    except OSError as error:
        raise InvalidInput(f"cannot read {error.filename or project}: {error.strerror}") from None
    return packed.getvalue()


def with_config(package: bytes, config: Mapping[str, Any]) -> bytes:
    """Return a package with another configuration; raises InvalidInput."""
    changed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(package), mode="r:*") as source,
        tarfile.open(fileobj=changed, mode="w:gz") as target,
    ):
        replaced = False
        for member in source:
            parts = [part for part in member.name.split("/") if part not in ("", ".")]
            if member.isfile() and parts[-1:] == [CONFIG] and len(parts) <= 2 and not replaced:
                content = orjson.dumps(dict(config))
                member.size, replaced = len(content), True
                target.addfile(member, io.BytesIO(content))
            else:
                target.addfile(member, source.extractfile(member) if member.isfile() else None)
    return changed.getvalue()
