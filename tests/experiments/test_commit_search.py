"""The search for a changed commit: lines and merges, wrong answers, and commits that cannot be measured."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import pytest

from smartmob.experiments.commit_search import CommitSearch

Parents = Mapping[str, Sequence[str]]


def line(number: int) -> dict[str, list[str]]:
    """Return a history without merges."""
    return {str(each): [str(each - 1)] if each else [] for each in range(number)}


def merges(lot: random.Random, number: int) -> dict[str, list[str]]:
    """Return a history in which commits have one or two parents, and the last one is above all."""
    found: dict[str, list[str]] = {"0": []}
    for each in range(1, number - 1):
        found[str(each)] = [str(lot.randrange(max(0, each - 4), each)) for _ in range(lot.choice((1, 1, 2)))]
    heads = set(found) - {parent for parents in found.values() for parent in parents}
    return found | {str(number - 1): sorted(heads)}


def contains(parents: Parents, commit: str, wanted: str) -> bool:
    """Return whether a commit is another one or its descendant."""
    return commit == wanted or any(contains(parents, each, wanted) for each in parents[commit])


def run(search: CommitSearch, measured: Callable[[str], bool], most: int = 400) -> list[str] | None:
    """Answer questions until there is a result, `most` of them at most."""
    while (result := search.result()) is None and len(search.answers) < most:
        commit = search.next()
        assert commit is not None
        search.add(commit, changed=measured(commit))
    return result


def test_each_single_wrong_answer_is_overcome() -> None:
    """Each commit of a line is found, whichever one of the answers is wrong, or none."""
    parents = line(13)
    for wanted in parents:
        for wrong in range(-1, 14):
            search = CommitSearch(parents)

            def measured(commit: str, search: CommitSearch = search, wanted: str = wanted, wrong: int = wrong) -> bool:
                return (int(commit) >= int(wanted)) != (len(search.answers) - 1 == wrong)

            assert run(search, measured) == [wanted]
            assert search.contradictions([wanted]) == (wrong in range(len(search.answers) - 1))


def test_a_measured_end_that_was_a_false_alarm_is_recognised() -> None:
    """If nothing has changed, the result has no commit, although the first answer said that the end is changed."""
    search = CommitSearch(line(8))
    assert run(search, lambda _: False) == []
    assert search.contradictions([]) == 1


def test_results_are_right_as_often_as_they_say() -> None:
    """With answers of which one in twenty is wrong, on histories with merges, at most 1 % of 300 results are wrong."""
    lot, wrong, asked = random.Random(7), 0, 0
    for _ in range(300):
        parents = merges(lot, 24)
        wanted = lot.choice(list(parents))
        known = {commit: contains(parents, commit, wanted) for commit in parents}
        search = CommitSearch(parents)
        result = run(search, lambda commit, known=known: known[commit] != (lot.random() < 0.05))  # type: ignore[misc]  # a lambda with a default
        wrong += result != [wanted]
        asked += len(search.answers) - 1
    assert wrong <= 3
    assert asked / 300 < 12  # log2(24) is 4.6, and each neighbour is asked twice


def test_of_commits_that_cannot_be_measured_the_group_is_named() -> None:
    """Like git bisect with skipped commits, several are left, with those around them measured."""
    search = CommitSearch(line(16))
    for each in ("6", "7", "8"):
        search.skip(each)
    assert run(search, lambda commit: int(commit) >= 7) == ["6", "7", "8", "9"]


def test_a_commit_that_cannot_be_told_twice_is_skipped() -> None:
    """Once may be bad luck; after the second time another commit is asked."""
    search = CommitSearch(line(9))
    first = search.next()
    assert first is not None
    search.unsure(first)
    assert search.next() == first
    search.unsure(first)
    assert search.next() != first
    assert search.skipped == {first}


def test_the_interval_so_far_has_the_commit() -> None:
    """Before the end, the likely commits shrink with the answers and contain the wanted one."""
    search, sizes = CommitSearch(line(64)), []
    while search.result() is None:
        assert "40" in search.likely()
        sizes.append(len(search.likely()))
        commit = search.next()
        assert commit is not None
        search.add(commit, changed=int(commit) >= 40)
    assert sizes[0] == 64
    assert sizes[-1] < 5
    assert sum(search.probabilities().values()) == pytest.approx(1, abs=0.01)


def test_a_long_history_is_searched_at_once() -> None:
    """Of 1,000 commits, the one is found by some two dozen answers."""
    search = CommitSearch(line(1000))
    assert run(search, lambda commit: int(commit) >= 623) == ["623"]
    assert len(search.answers) < 40


def test_a_single_candidate_is_measured_again() -> None:
    """Also the end itself is the result only after a second answer."""
    search = CommitSearch(line(1))
    assert search.result() is None
    assert run(search, lambda _: True) == ["0"]
    assert len(search.answers) == 2
