"""The order of the tests of a run, and which of its workers begins with which.

Tests that start other programs mostly wait, and the others mostly compute. If all workers began with those that wait,
the processors would have little to do at first, and too much later. So every second worker begins with some that
compute. All end with short tests, which an idle worker takes from another (`--dist worksteal`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby, islice
from typing import Generic, TypeVar

import pytest

T = TypeVar("T")

_PAGE = 5
"""The tests that take as long as the examples of a page of the documentation."""
_MOST = 25
"""The tests as which a longer module counts: one with more is a table of cases, which take a moment each."""

_CONTRACTS = "/tests/contracts/"
"""Part of the paths of the files that look at all sources."""


class Kind(Enum):
    """The kind of a test: it takes half a minute, mostly waits for other programs, or mostly computes."""

    LONG = 0
    WAITING = 1
    COMPUTING = 2


@dataclass(frozen=True, slots=True)
class Place(Generic[T]):
    """A test, with its kind and the name of its file."""

    test: T
    kind: Kind
    file: str


def place(item: pytest.Item) -> Place[pytest.Item]:
    """Return the place of a test, which its markers tell."""
    if item.get_closest_marker("long"):
        kind = Kind.LONG
    elif item.get_closest_marker("acceptance") or item.get_closest_marker("interop"):
        kind = Kind.WAITING
    else:
        kind = Kind.COMPUTING
    return Place(item, kind, str(item.path))


def arranged(places: Sequence[Place[T]], workers: int) -> list[T]:
    """Return the tests in parts for the workers: equal parts of the list, each without gaps.

    Each part begins with its share of the long tests. Tests of one file that wait are in one part, so that the fixtures
    of their module are made once. So are the contracts, whichever their files, so that the sources are parsed once.
    """
    long, waiting, others = ([place for place in places if place.kind is kind] for kind in Kind)
    computing = iter(sorted(others, key=lambda place: _CONTRACTS not in place.file))
    parts: list[Place[T]] = []
    for worker, share in enumerate(_dealt(waiting, workers)):
        # The sizes are those of pytest-xdist: what is left, divided by the workers that are left.
        size = (len(places) - len(parts)) // (workers - worker)
        first = long[worker::workers]
        rest = list(islice(computing, max(0, size - len(first) - len(share))))
        before = len(rest) // 2 if worker % 2 else 0
        parts += [*first, *rest[:before], *share, *rest[before:]]
    return [place.test for place in (*parts, *computing)]


def _dealt(places: Iterable[Place[T]], workers: int) -> list[list[Place[T]]]:
    """Return lists for the workers that take about as long; the tests of a file are in one of them."""
    files = [list(tests) for _, tests in groupby(places, lambda place: place.file)]
    shares: list[list[Place[T]]] = [[] for _ in range(workers)]
    sizes = [0] * workers
    for tests in sorted(files, key=_size, reverse=True):
        worker = sizes.index(min(sizes))
        shares[worker] += tests
        sizes[worker] += _size(tests)
    return shares


def _size(tests: Sequence[Place[T]]) -> int:
    return _PAGE if tests[0].file.endswith(".md") else min(len(tests), _MOST)
