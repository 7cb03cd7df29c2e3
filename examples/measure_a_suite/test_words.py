"""A suite to measure: what it costs to split, count and sort the words of a text."""

from collections import Counter

import pytest

pytest_monitor_component = "words"


def text_of(words):
    return " ".join(f"word{number * 7919 % 5003}" for number in range(words))


@pytest.mark.parametrize("words", [10_000, 100_000])
def test_count(words):
    """Counting takes ten times as long for ten times as many words."""
    assert Counter(text_of(words).split()).total() == words


def test_sort():
    """Sorting takes the most time."""
    words = sorted(text_of(400_000).split())
    assert words[0] <= words[-1]


def test_join():
    """Joining takes hardly any."""
    assert len("".join(["word"] * 200_000)) == 800_000
