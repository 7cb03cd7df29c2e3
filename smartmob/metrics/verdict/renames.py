"""Matches tests that only the base has with tests that only the head has: the same test under another name. No I/O.

The rules are tried in order, from strong to weak evidence. A rule matches two tests if each is the only one with its
key, and if their costs are similar; ambiguous tests stay unmatched. Each rule is one pass over both sides or a sort.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from smartmob.metrics.verdict.change_detection import ItemName
from smartmob.metrics.verdict.scales import Scale

_SAME_NAME_FACTOR = 4.0
"""Largest factor between the costs of two tests of the same name and file: a moved test may be slower too."""

_SIMILAR_FACTOR = 2.0
"""Largest factor between the costs of two tests where the name or the file differs. Both factors are choices."""

_MOVED_TESTS = 3
"""The number of matched tests from which a module counts as moved, if they are also most of its tests: a choice. The
costs of its other tests need not be similar, since a move must not hide a regression."""

_SIMILAR_NAME = 0.6
"""Least `SequenceMatcher.ratio` of two names of functions in one file; the documentation of difflib calls more than 0.6
a close match."""

_MAX_COMPARED_CHARACTERS = 200  # of a name: the comparison of names is quadratic in their length

_SEPARATORS = re.compile(r"[./\\:]+")


class Traits(NamedTuple):
    """The file of a test (may be empty), and its cost in the unit of the resource."""

    location: str
    cost: float


class _Candidate(NamedTuple):
    name: ItemName
    traits: Traits


_Key = Callable[[_Candidate], Hashable | None]


def match_renames(
    gone: Mapping[ItemName, Traits],
    new: Mapping[ItemName, Traits],
    kept: AbstractSet[ItemName],
    scale: Scale,
) -> dict[ItemName, ItemName]:
    """Return the old name of each renamed test by its new name; each test occurs at most once.

    `kept` are the tests of both sides. Costs that differ by at most the least change of `scale` are similar.
    """
    matcher = _Matcher(gone, new, scale)
    # The same file and name: a class was renamed. The same name in a file of the same name: the file was moved.
    matcher.match_unique(
        lambda one: (one.traits.location, *one.name[1:]) if one.traits.location else None, _SAME_NAME_FACTOR
    )
    matcher.match_unique(lambda one: (_parts(one.name[0])[-1:], *one.name[1:]), _SAME_NAME_FACTOR)
    # The same name below the same parent: a file was renamed, or a class whose file is not known.
    matcher.match_unique(lambda one: (_parts(one.name[0])[:-1], *one.name[1:]), _SIMILAR_FACTOR)
    # The same name anywhere, if no other test has it.
    taken = {name[1:] for name in kept}
    matcher.match_unique(lambda one: None if one.name[1:] in taken else one.name[1:], _SIMILAR_FACTOR)
    # The same name in a module to which most tests of its module went.
    moved = matcher.moved_modules()
    matcher.match_unique(lambda one: (moved.get(one.name[0], one.name[0]), *one.name[1:]), math.inf)
    # The same function: the ids of its parameters changed.
    matcher.match_by_cost(lambda one: (one.name[0], one.name[1], one.name[3]), _SIMILAR_FACTOR)
    # Both at once: the class was renamed or the file moved, and the ids changed.
    matcher.match_by_cost(
        lambda one: (one.traits.location, one.name[1], one.name[3]) if one.traits.location else None, _SIMILAR_FACTOR
    )
    matcher.match_by_cost(lambda one: (_parts(one.name[0])[-1:], one.name[1], one.name[3]), _SIMILAR_FACTOR)
    # The only function of the file that is gone, and the only new one, with similar names.
    matcher.match_unique(lambda one: (one.name[0], one.name[3]), _SIMILAR_FACTOR, similar_names=True)
    return matcher.matched


class _Matcher:
    """The tests that are not matched yet, and the matches so far."""

    def __init__(self, gone: Mapping[ItemName, Traits], new: Mapping[ItemName, Traits], scale: Scale) -> None:
        self._gone = {name: _Candidate(name, traits) for name, traits in gone.items()}
        self._new = {name: _Candidate(name, traits) for name, traits in new.items()}
        self._scale = scale
        self.matched: dict[ItemName, ItemName] = {}

    def match_unique(self, key: _Key, factor: float, *, similar_names: bool = False) -> None:
        """Match the tests whose key only one test of each side has."""
        gone, new = _grouped(self._gone.values(), key), _grouped(self._new.values(), key)
        for shared in gone.keys() & new.keys():
            if len(gone[shared]) == len(new[shared]) == 1:
                (old,), (one,) = gone[shared], new[shared]
                if self._similar(old, one, factor) and (not similar_names or _names_similar(old.name[1], one.name[1])):
                    self._match(old, one)

    def moved_modules(self) -> dict[str, str]:
        """Return the new name of each module of which most tests, and some, are matched in one other module."""
        gone, went = (
            Counter(name[0] for name in self._gone),
            Counter((old[0], new[0]) for new, old in self.matched.items()),
        )
        matched: Counter[str] = Counter()
        for (old, _), tests in went.items():
            matched[old] += tests
        return {
            old: new
            for (old, new), tests in went.items()
            if tests >= _MOVED_TESTS and 2 * tests > matched[old] + gone[old]
        }

    def match_by_cost(self, key: _Key, factor: float) -> None:
        """Match the tests of one key that are each other's only test of a similar cost."""
        gone, new = _grouped(self._gone.values(), key), _grouped(self._new.values(), key)
        for shared in gone.keys() & new.keys():
            olds, ones = _sorted(gone[shared]), _sorted(new[shared])
            for old in olds:
                found = self._only_similar(old, ones, factor)
                if found is not None and self._only_similar(found, olds, factor) is old:
                    self._match(old, found)

    def _only_similar(self, one: _Candidate, others: list[_Candidate], factor: float) -> _Candidate | None:
        """Return the only test of a similar cost among some that are sorted by cost."""
        cost = one.traits.cost
        least_change = self._scale.of(one.name[3]).least_change
        low = min(cost - least_change, cost / factor if cost > 0 else cost)
        high = max(cost + least_change, cost * factor)
        first = bisect_left(others, low, key=_cost)
        last = bisect_right(others, high, key=_cost)
        return others[first] if last - first == 1 else None

    def _similar(self, one: _Candidate, other: _Candidate, factor: float) -> bool:
        first, second = one.traits.cost, other.traits.cost
        if abs(first - second) <= self._scale.of(one.name[3]).least_change:
            return True
        return first > 0 and second > 0 and abs(math.log(first / second)) <= math.log(factor)

    def _match(self, old: _Candidate, one: _Candidate) -> None:
        self.matched[one.name] = old.name
        del self._gone[old.name]
        del self._new[one.name]


def _grouped(candidates: Iterable[_Candidate], key: _Key) -> dict[Hashable, list[_Candidate]]:
    groups: dict[Hashable, list[_Candidate]] = {}
    for candidate in candidates:
        found = key(candidate)
        if found is not None:
            groups.setdefault(found, []).append(candidate)
    return groups


def _sorted(candidates: Iterable[_Candidate]) -> list[_Candidate]:
    return sorted(candidates, key=lambda one: (one.traits.cost, one.name))


def _cost(candidate: _Candidate) -> float:
    return candidate.traits.cost


def _parts(path: str) -> tuple[str, ...]:
    """Return the parts of a path of a module, a class or a file."""
    return tuple(part for part in _SEPARATORS.split(path.removesuffix(".py")) if part)


def _names_similar(one: str, other: str) -> bool:
    first, second = one[:_MAX_COMPARED_CHARACTERS], other[:_MAX_COMPARED_CHARACTERS]
    from difflib import SequenceMatcher  # imported here: few comparisons have renamed tests

    return SequenceMatcher(None, first, second, autojunk=False).ratio() >= _SIMILAR_NAME
