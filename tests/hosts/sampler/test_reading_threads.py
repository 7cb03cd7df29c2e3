"""The threads in which the machine is read."""

from __future__ import annotations

import threading

import pytest

from smartmob.hosts.sampler import reading_threads
from smartmob.hosts.sampler.reading_threads import ReadingThreads
from tests.waiting import SECONDS


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "hosts-reading"}


def test_one_thread_runs_all_calls_in_their_order() -> None:
    """Results, and the thread of each call, are kept."""
    threads = ReadingThreads()
    order: list[int] = []
    calls = [threads.add(lambda n=number: (order.append(n), threading.current_thread())[1]) for number in range(20)]
    for call in calls:
        assert call.done.wait(SECONDS)
    assert order == list(range(20))
    assert len({call.result for call in calls}) == 1


def test_a_further_thread_runs_the_calls_behind_one_that_takes_long() -> None:
    """With nothing behind it none is started, and later one of both is enough."""
    threads = ReadingThreads()
    before, begun, release = _threads(), threading.Event(), threading.Event()
    long = threads.add(lambda: (begun.set(), release.wait()))
    assert begun.wait(SECONDS)
    threads.add_thread()
    assert len(_threads() - before) == 1
    behind = threads.add(threading.current_thread)
    threads.add_thread()
    assert behind.done.wait(SECONDS)
    assert len(_threads() - before) == 2
    release.set()
    assert long.done.wait(SECONDS)
    last = threads.add(threading.current_thread)
    assert last.done.wait(SECONDS)
    assert len(_threads() - before) <= 2


def test_a_thread_without_calls_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that has stopped leaves none, and a later call starts another one."""
    monkeypatch.setattr(reading_threads, "_IDLE_SECONDS", 0.0)
    threads = ReadingThreads()
    seen = []
    for _ in range(2):
        call = threads.add(threading.current_thread)
        assert call.done.wait(SECONDS)
        assert call.result is not None
        call.result.join(SECONDS)
        assert not call.result.is_alive()
        seen.append(call.result)
    assert seen[0] is not seen[1]


def test_an_exception_of_a_call_is_kept() -> None:
    """The thread goes on."""
    threads = ReadingThreads()
    failed = threads.add(lambda: 1 // 0)
    good = threads.add(lambda: 1)
    assert good.done.wait(SECONDS)
    assert isinstance(failed.error, ZeroDivisionError)
    assert good.result == 1
