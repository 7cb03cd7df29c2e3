"""The order of the tests of a run."""

from __future__ import annotations

import pytest

from tests.ordering import Kind, Place, arranged

SUITE = [
    *(Place(f"long {number}", Kind.LONG, f"a{number}.py") for number in range(2)),
    *(Place(f"waits {file} {number}", Kind.WAITING, file) for file in ("b.py", "c.py", "d.md") for number in range(5)),
    *(Place(f"computes {number}", Kind.COMPUTING, "e.py") for number in range(81)),
]
"""98 tests: two long ones, 15 in three files that wait, and 81 that compute."""


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7, 200])
def test_no_test_is_lost(workers: int) -> None:
    """Each test is in the list once."""
    assert sorted(arranged(SUITE, workers)) == sorted(place.test for place in SUITE)


def test_workers_begin_with_long_tests_and_end_with_short_ones() -> None:
    """Of two workers each has a long test first; one goes on with tests that wait, the other with some that compute."""
    kinds = [test.split()[0] for test in arranged(SUITE, 2)]
    for part, second in ((kinds[:49], "waits"), (kinds[49:], "computes")):
        assert (part[0], part[1], part[-1]) == ("long", second, "computes")
        assert "waits" in part


def test_tests_of_a_file_that_wait_are_on_one_worker() -> None:
    """The fixtures of the module are made once."""
    places: dict[str, set[int]] = {}
    for index, test in enumerate(arranged(SUITE[1:97], 3)):
        if test.startswith("waits"):
            places.setdefault(test.split()[1], set()).add(index // 32)
    assert sorted(places.values(), key=min) == [{0}, {1}, {2}]


@pytest.mark.parametrize("workers", [1, 2, 6])
def test_contracts_are_on_one_worker(workers: int) -> None:
    """The contracts of several files are tests of one worker, before others, so that no idle worker takes them."""
    contracts = [
        Place(f"contract {number}", Kind.COMPUTING, f"/tests/contracts/{number % 3}.py") for number in range(9)
    ]
    places = [place for pair in zip(SUITE, [*contracts, *SUITE[-89:]], strict=True) for place in pair]
    tests = arranged(places, workers)
    size = len(tests) // workers
    where = [number for number, test in enumerate(tests) if test.startswith("contract ")]
    assert len(where) == 9 and where[-1] - where[0] == 8
    assert where[-1] < size and tests[where[-1] + 1].startswith("computes")
