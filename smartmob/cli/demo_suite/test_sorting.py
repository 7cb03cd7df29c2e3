"""A small suite whose tests differ in their cost, for `smartmob demo`."""

import random

import pytest

pytest_monitor_component = "sorting"


@pytest.fixture(name="numbers", params=[10_000, 100_000])
def _numbers(request):
    return [random.random() for _ in range(request.param)]


def test_sort(numbers):
    """The library's sort."""
    assert sorted(numbers)[0] == min(numbers)


def test_heap(numbers):
    """The same by a heap, which takes longer."""
    import heapq

    heapq.heapify(numbers)
    first = heapq.heappop(numbers)
    assert first <= min(numbers)


@pytest.mark.parametrize("length", [50, 200])
def test_insertion_sort(length):
    """The same by insertion, whose time grows with the square of the length."""
    done = []
    for number in [random.random() for _ in range(length)]:
        position = next((index for index, other in enumerate(done) if other > number), len(done))
        done.insert(position, number)
    assert done == sorted(done)
