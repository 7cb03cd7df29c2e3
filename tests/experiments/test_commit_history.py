"""Histories of real repositories: lines, merges, branches, and mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.errors import InvalidInput
from smartmob.experiments import commit_history
from tests.experiments.repositories import Commit, make_repository


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A line a-b-d-e with a branch a-c that d merges, a fork x of b, and a stranger."""
    commits = {name: Commit(parents, {"file": name}) for name, parents in {
        "a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["d"], "x": ["b"], "stranger": [],
    }.items()}  # fmt: skip
    folder = tmp_path_factory.mktemp("history")
    return folder, make_repository(folder, commits)


def test_merges_have_all_their_parents(repository: tuple[Path, dict[str, str]]) -> None:
    """The candidates come parents first, and parents outside are left out."""
    folder, names = repository
    history = commit_history.read(folder, "a", "e")
    assert list(history.parents)[-2:] == [names["d"], names["e"]]
    assert set(history.parents[names["d"]]) == {names["b"], names["c"]}
    assert history.parents[names["b"]] == history.parents[names["c"]] == []
    assert history.bases == []


def test_first_parents_leave_out_what_was_merged(repository: tuple[Path, dict[str, str]]) -> None:
    """With `first_parent`, a merge stands for its branch."""
    folder, names = repository
    history = commit_history.read(folder, "a", "e", first_parent=True)
    assert history.parents == {names["b"]: [], names["d"]: [names["b"]], names["e"]: [names["d"]]}


def test_a_good_commit_on_another_branch_has_a_merge_base(repository: tuple[Path, dict[str, str]]) -> None:
    """The base is to be measured first, and the candidates are those that only bad has."""
    folder, names = repository
    history = commit_history.read(folder, "x", "e")
    assert history.bases == [names["b"]]
    assert set(history.parents) == {names["c"], names["d"], names["e"]}


def test_people_see_who_made_a_commit(repository: tuple[Path, dict[str, str]]) -> None:
    """Author, time and subject are those of git."""
    folder, names = repository
    note = commit_history.read(folder, "a", "b").note(names["b"])
    assert (note.author, note.subject) == ("Me", "commit b")
    assert note.time.startswith("2023-11-14")
    assert names["b"].startswith(note.short)


def test_ranges_are_left_out(repository: tuple[Path, dict[str, str]]) -> None:
    """Revisions and ranges name commits."""
    folder, names = repository
    assert commit_history.commits_of(folder, ["b..e", "a"]) == {names[name] for name in "acde"}


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("a", "a", "the same commit"),
        ("e", "b", "b is an ancestor of e: give the older revision first"),
        ("a", "stranger", "have no common history"),
        ("a", "absent", "'absent' is not a revision"),
        ("--help", "a", "'--help' is not a revision"),
    ],
)
def test_a_wrong_commit_is_refused_with_the_reason(
    repository: tuple[Path, dict[str, str]], good: str, bad: str, said: str
) -> None:
    """Each is refused with the reason."""
    with pytest.raises(InvalidInput, match=said):
        commit_history.read(repository[0], good, bad)


@pytest.mark.parametrize("given", ["absent", "absent..e", "--output=x..y"])
def test_an_unknown_range_of_commits_is_refused(repository: tuple[Path, dict[str, str]], given: str) -> None:
    """A range that git does not know is refused."""
    with pytest.raises(InvalidInput, match="is no"):
        commit_history.commits_of(repository[0], [given])
