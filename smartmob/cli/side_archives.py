"""The sides of an experiment as archives: packed on this machine, unpacked where they are measured."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from smartmob.errors import InvalidInput, SmartmobError
from smartmob.experiments.git_repository import commit_of_side
from smartmob.experiments.sides import Side, git
from smartmob.experiments.submodules import append, submodules

_LEFT_OUT = frozenset((".git", ".hg", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__"))
"""Folders that are not sent of a folder without git: they are made again, or belong to this machine."""


class SentSide(msgspec.Struct, frozen=True):
    """A side without its files: how it was given, its kind, its commit, and the file name of a wheel.

    `below` is the folder within the archive where its tests run; `size` is that of the archive in bytes, and
    `absent` are submodules that it does not have.
    """

    given: str
    kind: Literal["revision", "folder", "wheel"]
    commit: str
    wheel: str
    below: str
    size: int
    absent: list[str] = []


def pack(given: str, here: Path, target: Path) -> SentSide:
    """Write the archive of the folder, the wheel or the git revision that a side is given by. Raises InvalidInput."""
    path = Path(given)
    if given and path.is_dir():
        with tarfile.open(target, "w") as archive:
            for name in _files(path.resolve()):
                archive.add(path.resolve() / name, name, recursive=False)
        return SentSide(given, "folder", "", "", "", target.stat().st_size)
    if path.suffix == ".whl":
        if not path.is_file():
            raise InvalidInput(f"there is no wheel {given}")
        with tarfile.open(target, "w") as archive:
            archive.add(path, path.name)
        return SentSide(given, "wheel", "", path.name, "", target.stat().st_size)
    commit = commit_of_side(here, given)
    top = git(here, "rev-parse", "--show-toplevel") or str(here)
    prefix = git(here, "rev-parse", "--show-prefix") or ""
    words = ["git", "-C", top, "archive", "--format=tar", f"--output={target}", commit]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise InvalidInput(f"git cannot make an archive of {given}: {done.stderr.strip()}")
    common = git(here, "rev-parse", "--path-format=absolute", "--git-common-dir")
    absent = []
    for each in submodules(Path(common or ""), commit):
        if each.repository is None:
            absent.append(each.path)
        else:
            append(target, each)
    return SentSide(given, "revision", commit, "", prefix, target.stat().st_size, absent)


def unpack(sent: SentSide, archive: Path, folder: Path) -> Side:
    """Unpack the archive of a side into a new folder, and return the side. Raises SmartmobError."""
    folder.mkdir()
    try:
        with tarfile.open(archive) as opened:
            if hasattr(tarfile, "tar_filter"):  # Python 3.11.4 and later
                opened.extraction_filter = tarfile.tar_filter
            opened.extractall(folder)  # noqa: S202  # the sender may run any command here anyway
    except (OSError, tarfile.TarError) as error:
        raise SmartmobError(f"the files of {sent.given} cannot be unpacked: {error}") from None
    inner = folder / sent.below
    if not inner.is_dir():
        raise InvalidInput(f"the folder {sent.below} does not exist in {sent.given}")
    wheel = folder / sent.wheel if sent.wheel else None
    return Side(sent.given, sent.kind, inner, sent.commit, wheel, absent=tuple(sent.absent))


def _files(folder: Path) -> Iterator[str]:
    """Yield the files and links of a folder: those that git would add, or all but what is made again."""
    listed = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed is not None:
        for name in dict.fromkeys(listed.split("\0")):
            if name and (folder / name / ".git").exists():  # a submodule
                yield from (os.path.join(name, inner) for inner in _files(folder / name))
            elif name and os.path.lexists(folder / name):
                yield name
        return
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if each not in _LEFT_OUT)
        links = [each for each in folders if (Path(directory) / each).is_symlink()]
        yield from (str((Path(directory) / name).relative_to(folder)) for name in [*links, *sorted(names)])
