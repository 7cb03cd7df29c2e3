"""A folder of wheels: the packages that this test run has already installed from the index, packed again.

With it pip installs a package as it does from an index, but does not look through it: to tell which of the files of all
versions that ever were fit this machine takes pip ten times the processor time of what it then installs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

from tests.acceptance import installed
from tests.interop.environments import PLUGIN, python_with

_LEFT_OUT = {"INSTALLER", "REQUESTED", "direct_url.json"}
"""Files of `.dist-info` that pip adds when it installs."""


def wheels(extra: str) -> Path:
    """Return a folder with wheels of what `smartmob[EXTRA]` and its build require, and of pytest with its plugins."""

    def make(folder: Path) -> None:
        folder.mkdir()
        site = next(python_with(PLUGIN).parent.parent.glob("lib/python*/site-packages"))
        pack([*distributions(path=[str(site)]), *installed.required(f"smartmob[{extra}]")], folder)
        pack([distribution("setuptools")], folder)

    return installed.made(f"wheels-{extra}", make)


def pack(packages: Iterable[Distribution], folder: Path) -> None:
    """Write a wheel of each of the distributions into a folder. Programs that are no entry points are left out."""
    for package in packages:
        tag = re.search(r"^Tag: (\S+)$", package.read_text("WHEEL") or "", re.MULTILINE)
        assert tag is not None, package.name
        name = f"{re.sub(r'[-_.]+', '_', package.name)}-{package.version}-{tag[1]}.whl"
        with ZipFile(folder / name, "w", ZIP_STORED) as wheel:
            for file in package.files or ():
                if file.parts[0] != ".." and file.suffix != ".pyc" and file.name not in _LEFT_OUT:
                    wheel.write(str(file.locate()), str(file))
