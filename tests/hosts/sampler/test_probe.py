"""Readings that fail or hang."""

from __future__ import annotations

import queue
import threading
import time

import pytest

from smartmob.hosts.sampler.probe import Probe, Unreadable, reason_of
from smartmob.hosts.sampler.reading_threads import ReadingThreads

NOW = 0.0
"""A deadline that is over."""


def _soon() -> float:
    """Return a deadline that only a reading that hangs misses."""
    return time.monotonic() + 300


def test_a_reading_is_waited_for() -> None:
    """Each reading is new."""
    values = iter([1, 2])
    probe = Probe(lambda: next(values), ReadingThreads())
    for value in (1, 2):
        probe.begin()
        assert probe.take(_soon()) == value


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(5, "Input/output error"), "Input/output error"),
        (FileNotFoundError(2, "No such file or directory", "/x"), "/x: No such file or directory"),
        (NotImplementedError("can't\nfind a file"), "NotImplementedError: can't find a file"),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ],
)
def test_an_error_is_the_reason(error: Exception, reason: str) -> None:
    """The reason is one line."""

    def read() -> int:
        raise error

    probe = Probe(read, ReadingThreads())
    probe.begin()
    with pytest.raises(Unreadable, match=f"^{reason_of(error)}$"):
        probe.take(_soon())
    assert reason_of(error) == reason


@pytest.mark.parametrize("reads_ahead", [False, True])
def test_a_reading_that_hangs_is_not_waited_for_again(reads_ahead: bool) -> None:
    """Only one thread hangs; when it ends, its result is taken, and then readings are waited for again."""
    answers: queue.SimpleQueue[int] = queue.SimpleQueue()
    probe = Probe(answers.get, ReadingThreads(), reads_ahead=reads_ahead)
    threads = threading.active_count()
    for _ in range(5):
        probe.begin()
        with pytest.raises(Unreadable, match="no answer for "):
            probe.take(NOW)
    assert threading.active_count() <= threads + 1
    answers.put(7)
    assert _first(probe) == 7
    answers.put(8)
    assert _first(probe) == 8


@pytest.mark.parametrize("hanging", [1, 3])
def test_readings_behind_those_that_hang_are_read(hanging: int) -> None:
    """Other threads take them over, and each of the hanging ones still has its own."""
    threads = ReadingThreads()
    release = threading.Event()
    slow = [Probe(release.wait, threads) for _ in range(hanging)]
    quick = Probe(lambda: 7, threads)
    for _ in range(3):
        for probe in (*slow, quick):
            probe.begin()
        for probe in slow:
            with pytest.raises(Unreadable, match="no answer for "):
                probe.take(NOW)
        assert quick.take(_soon()) == 7
    release.set()
    assert all(_first(probe) for probe in slow)


def _first(probe: Probe[int]) -> int:
    """Return the result of the first reading that succeeds."""
    end = _soon()
    while time.monotonic() < end:
        probe.begin()
        try:
            return probe.take(_soon())
        except Unreadable:
            threading.Event().wait(0.01)
    raise AssertionError
