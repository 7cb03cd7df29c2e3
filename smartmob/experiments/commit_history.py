"""The commits between two revisions of a git repository, for the search for the changed one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from smartmob.errors import InvalidInput
from smartmob.experiments.git_repository import commit_of, why_none
from smartmob.experiments.sides import git

MOST_COMMITS_COUNT = 20_000
"""The most candidates of a search: their sets of ancestors take MOST_COMMITS_COUNT ** 2 / 8 bytes, which is 50 MB."""

_FORMAT = "%h%x00%an%x00%aI%x00%s"


class CommitNote(msgspec.Struct, frozen=True):
    """The short name of a commit, its author, the time in ISO 8601, and the first line of its message."""

    short: str
    author: str
    time: str
    subject: str


class CommitHistory(msgspec.Struct, frozen=True):
    """The history from `good` to `bad` in the repository at `here`: commits with their parents, parents first.

    `bases` are the merge bases if `good` is not an ancestor of `bad`; they must be measured first, as with git bisect.
    """

    here: Path
    good: str
    bad: str
    parents: dict[str, list[str]]
    bases: list[str]

    def note(self, commit: str) -> CommitNote:
        """Return the description of a commit for people."""
        found = (git(self.here, "show", "--no-patch", f"--format={_FORMAT}", commit) or "").split("\0")
        return CommitNote(*found) if len(found) == 4 else CommitNote(commit[:10], "", "", "")


def read(here: Path, good: str, bad: str, *, first_parent: bool = False) -> CommitHistory:
    """Return the history between two revisions. Raises InvalidInput.

    With `first_parent`, commits that merges brought in are left out.
    """
    first, last = commit_of(here, good), commit_of(here, bad)
    if first == last:
        raise InvalidInput(f"{good} and {bad} are the same commit")
    bases = (git(here, "merge-base", "--all", first, last) or "").split()
    if not bases:
        raise InvalidInput(f"{good} and {bad} have no common history{why_none(here)}")
    if last in bases:
        raise InvalidInput(f"{bad} is an ancestor of {good}: give the older revision first")
    options = ["--first-parent"] if first_parent else []
    lines = git(here, "rev-list", "--topo-order", "--reverse", "--parents", *options, last, f"^{first}")
    found: dict[str, list[str]] = {}
    for line in (lines or "").splitlines():
        commit, *parents = line.split()
        found[commit] = [parent for parent in parents[: 1 if first_parent else None] if parent in found]
    if len(found) > MOST_COMMITS_COUNT:
        raise InvalidInput(
            f"there are {len(found):,} commits between {good} and {bad}: name revisions with at most "
            f"{MOST_COMMITS_COUNT:,} between them, or use --first-parent"
        )
    return CommitHistory(here, first, last, found, [] if first in bases else bases)


def commits_of(here: Path, given: Sequence[str]) -> set[str]:
    """Return the commits of revisions and of ranges such as `v1..v2`; raises InvalidInput."""
    found: set[str] = set()
    for each in given:
        if ".." in each:
            lines = git(here, "rev-list", "--end-of-options", each)
            if lines is None:
                raise InvalidInput(f"{each!r} is not a range of revisions of a git repository at {here}")
            found |= set(lines.split())
        else:
            found.add(commit_of(here, each))
    return found
