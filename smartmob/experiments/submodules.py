"""The submodules of a revision, as far as its clone has them.

Worktrees and archives have empty folders for them. Their files are taken from the repositories that git keeps in
`modules` below its own folder (gitrepository-layout(5)), so no network is used.
"""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

_GITLINK = "160000"  # the mode of the entry of a submodule in a tree; git-ls-tree(1)


class Submodule(msgspec.Struct, frozen=True):
    """A submodule: its path below the top of the revision, its commit, and its repository if the clone has both."""

    path: str
    commit: str
    repository: Path | None


def submodules(repository: Path, commit: str, below: str = "") -> Iterator[Submodule]:
    """Yield the submodules of a commit, and their submodules. `repository` is a folder of git."""
    names = _names(repository, commit)
    for line in _git(repository, "ls-tree", "-r", "-z", "--full-tree", commit).split("\0"):
        entry, _, path = line.partition("\t")
        if not entry.startswith(f"{_GITLINK} "):
            continue
        pinned = entry.split()[2]
        inner = repository / "modules" / names.get(path, path)
        has_it = inner.is_dir() and bool(_git(inner, "rev-parse", "--verify", "--quiet", f"{pinned}^{{commit}}"))
        yield Submodule(below + path, pinned, inner if has_it else None)
        if has_it:
            yield from submodules(inner, pinned, f"{below}{path}/")


def fill(target: Path, found: Submodule) -> None:
    """Write the files of a submodule into a worktree, whose folder for it is empty."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        _archive(found, Path(file.name), "")
        with tarfile.open(file.name) as archive:
            if hasattr(tarfile, "tar_filter"):  # Python 3.11.4 and later
                archive.extraction_filter = tarfile.tar_filter
            archive.extractall(target / found.path)  # noqa: S202  # the code in it is run anyway


def append(target: Path, found: Submodule) -> None:
    """Append the files of a submodule to the archive of its revision."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        _archive(found, Path(file.name), f"{found.path}/")
        with tarfile.open(file.name) as source, tarfile.open(target, "a") as archive:
            for member in source:
                archive.addfile(member, source.extractfile(member) if member.isreg() else None)


def _archive(found: Submodule, target: Path, prefix: str) -> None:
    _git(found.repository, "archive", "--format=tar", f"--prefix={prefix}", f"--output={target}", found.commit)


def _names(repository: Path, commit: str) -> dict[str, str]:
    """Return the names of submodules by path, as the file `.gitmodules` of a commit has them."""
    pattern = r"^submodule\..*\.path$"
    text = _git(repository, "config", "-z", "--blob", f"{commit}:.gitmodules", "--get-regexp", pattern)
    pairs = (line.partition("\n") for line in text.split("\0") if line)
    return {path: key.removeprefix("submodule.").removesuffix(".path") for key, _, path in pairs}


def _git(repository: Path | None, *words: str) -> str:
    """Return the output of git in its own folder, or an empty text if it fails."""
    command = ["git", f"--git-dir={repository}", *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.stdout.decode(errors="surrogateescape") if done.returncode == 0 else ""
