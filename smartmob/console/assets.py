"""The files that pages load: read and compressed once, under an address that changes with their content."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources

PLOTLY = "plotly.min.js"
_STYLE = re.compile(rb"\.(?:innerHTML|textContent)='([^'\\]*)',document\.head\.appendChild")
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file to send; `packed` is its gzip form."""

    media_type: str
    packed: bytes
    plain: bytes


@cache
def digest() -> str:
    """Return what stands in the address of all files: they refer to each other, so it is of all of them together."""
    hashed = hashlib.sha256(metadata.version("plotly").encode())
    for name, content in sorted(_own().items()):
        hashed.update(f"{name}\0{len(content)}\0".encode())
        hashed.update(content)
    return hashed.hexdigest()[:16]


@cache
def asset(name: str) -> Asset | None:
    """Return a file by its name; the large one is compressed when it is asked for first, so call it in a thread."""
    content = _plotly() if name == PLOTLY else _own().get(name)
    if content is None:
        return None
    return Asset(_TYPES[name.rpartition(".")[2]], gzip.compress(content, 6, mtime=0), content)


@cache
def _own() -> dict[str, bytes]:
    folder = resources.files("smartmob.console").joinpath("static")
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in _TYPES}


@cache
def plotly_styles() -> tuple[str, ...]:
    """Return the hashes of the style sheets that plotly puts into a page when it is loaded, for the page's policy.

    Its maps bring one along; without being allowed it would be refused, which is logged in the browser as an error.
    """
    sheets = _STYLE.findall(_plotly())
    return tuple(base64.b64encode(hashlib.sha256(sheet).digest()).decode() for sheet in sheets)


def _plotly() -> bytes:
    return resources.files("plotly").joinpath("package_data", PLOTLY).read_bytes()
