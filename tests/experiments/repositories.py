"""Git repositories with a given history, made by one process."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit to make: its parents by name, and its files with their content; those of the first parent remain."""

    parents: Sequence[str]
    files: Mapping[str, str]


def make_repository(folder: Path, commits: Mapping[str, Commit]) -> dict[str, str]:
    """Make a repository with a branch of the same name at each commit; return their hashes by name."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "-q", "--initial-branch=work", str(folder)], check=True)
    parts = []
    for number, (name, commit) in enumerate(commits.items(), 1):
        subject = f"commit {name}"
        parts.append(f"commit refs/heads/{name}\nmark :{number}\n")
        parts.append(f"committer Me <me@example.com> {1_700_000_000 + number} +0000\ndata {len(subject)}\n{subject}\n")
        marks = [f":{list(commits).index(parent) + 1}" for parent in commit.parents]
        parts += [f"{word} {mark}\n" for word, mark in zip(("from", *["merge"] * 9), marks, strict=False)]
        for path, content in commit.files.items():
            parts.append(f"M 100644 inline {path}\ndata {len(content.encode())}\n{content}\n")
    stream = "".join(parts).encode()
    subprocess.run(["git", "-C", str(folder), "fast-import", "--quiet"], input=stream, check=True)
    listed = subprocess.run(
        ["git", "-C", str(folder), "for-each-ref", "--format=%(refname:short) %(objectname)"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = dict(line.split() for line in listed.splitlines())
    return {name: found[name] for name in commits}


def git(folder: Path, *words: str) -> str:
    """Return the output of git, which has a user for commits."""
    names = ("-c", "user.name=me", "-c", "user.email=me@example.com", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", "-C", folder, *names, *words], capture_output=True, text=True, check=True).stdout
