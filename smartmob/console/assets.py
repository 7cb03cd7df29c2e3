"""The static files of the pages: read and compressed once, under an address that changes with their content."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

import msgspec

from smartmob import chart_library

PLOTLY = "plotly.min.js"
_IMPORTED = re.compile(r"""^(?:import|export)\b[^;]*?["']\./([\w.]+)["'];""", re.MULTILINE)
"""An import of another of these files, as all modules write it."""
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class Asset(msgspec.Struct, frozen=True):
    """A static file; `packed` is its content compressed with gzip."""

    media_type: str
    packed: bytes

    def plain(self) -> bytes:
        """Return its content, for a browser that does not take gzip. It takes milliseconds: call it in a thread."""
        import gzip

        return gzip.decompress(self.packed)


@cache
def digest() -> str:
    """Return the digest in the addresses of all files. It covers all of them, because they import each other."""
    hashed = hashlib.sha256(chart_library.VERSION.encode())
    for name, content in sorted(_own_files().items()):
        hashed.update(f"{name}\0{len(content)}\0".encode())
        hashed.update(content)
    return hashed.hexdigest()[:16]


@cache
def asset(name: str) -> Asset | None:
    """Return a file by its name, or None. The first call compresses it, so call this in a thread."""
    if name == PLOTLY:
        return Asset(_TYPES["js"], chart_library.packed())
    content = _own_files().get(name)
    if content is None:
        return None
    import gzip

    return Asset(_TYPES[name.rpartition(".")[2]], gzip.compress(content, 6, mtime=0))


@cache
def _own_files() -> dict[str, bytes]:
    folder = Path(__file__).with_name("static")
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in _TYPES}


@cache
def modules(*scripts: str) -> tuple[str, ...]:
    """Return the names of all modules that these scripts import, directly or not; they are requested with the page.

    Otherwise a browser learns of a module only from the one that imports it, one request after the other.
    """
    found = dict.fromkeys(scripts)
    waiting = list(scripts)
    while waiting:
        imported = _IMPORTED.findall(_own_files()[waiting.pop(0)].decode())
        waiting += (new := [name for name in imported if name not in found])
        found.update(dict.fromkeys(new))
    return tuple(name for name in found if name not in scripts)
