"""Samples that wait on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartmob.client.backlog import Backlog
from smartmob.errors import StartupError


def _samples(first: int, count: int) -> list[bytes]:
    return [b'{"id":%d}' % number for number in range(first, first + count)]


def _drain(backlog: Backlog, most: int = 7) -> list[bytes]:
    found = []
    while samples := backlog.take(most, 10_000):
        found += samples
        backlog.done()
    return found


def test_first_in_first_out(tmp_path: Path) -> None:
    """They come back in their order, and a file that was delivered is gone."""
    backlog = Backlog(tmp_path / "deep" / "down", 100_000)
    assert not backlog
    assert backlog.take(5, 100) == []
    backlog.add([])
    assert not backlog
    backlog.add(_samples(0, 10))
    backlog.add(_samples(10, 10))
    assert backlog
    assert _drain(backlog) == _samples(0, 20)
    assert not backlog
    assert list((tmp_path / "deep" / "down").iterdir()) == []


def test_undelivered_samples_are_returned_again(tmp_path: Path) -> None:
    """Samples that were taken and not delivered are returned again, also by the next process, which may repeat some."""
    backlog = Backlog(tmp_path, 100_000)
    backlog.add(_samples(0, 10))
    assert backlog.take(4, 1000) == _samples(0, 4)
    assert backlog.take(4, 1000) == _samples(0, 4)
    backlog.done()
    assert backlog.take(4, 1000) == _samples(4, 4)
    assert _drain(Backlog(tmp_path, 100_000)) == _samples(0, 10)


def test_the_oldest_samples_are_dropped_and_counted(tmp_path: Path) -> None:
    """It never grows much beyond its limit: the oldest samples go, and are counted."""
    backlog = Backlog(tmp_path, 800)
    for number in range(500):
        backlog.add(_samples(number, 1))
    assert backlog.size <= 1000
    left = _drain(backlog)
    assert left == _samples(500 - len(left), len(left))
    assert backlog.lost == 500 - len(left)


def test_limits_of_one_message(tmp_path: Path) -> None:
    """So many samples, or so many bytes, but one at least."""
    backlog = Backlog(tmp_path, 100_000)
    backlog.add(_samples(0, 10))
    assert len(backlog.take(3, 1000)) == 3
    assert len(backlog.take(10, 25)) == 2
    assert len(backlog.take(10, 1)) == 1


def test_a_line_cut_off_by_a_crash_spoils_no_other(tmp_path: Path) -> None:
    """A line that was cut off spoils neither what was before nor what comes after."""
    backlog = Backlog(tmp_path, 100_000)
    backlog.add(_samples(0, 2))
    (file,) = tmp_path.iterdir()
    with file.open("ab") as broken:
        broken.write(b'{"id":')
    again = Backlog(tmp_path, 100_000)
    again.add(_samples(2, 2))
    found = _drain(again)
    assert [sample for sample in found if sample in _samples(0, 4)] == _samples(0, 4)


def test_a_file_without_a_whole_sample_is_skipped(tmp_path: Path) -> None:
    """A file without a whole sample is passed over."""
    (tmp_path / "00000001.samples").write_bytes(b'\x00\x00{"id"')
    backlog = Backlog(tmp_path, 100_000)
    assert backlog.take(5, 100) == []
    assert not backlog


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    """It is said at the start."""
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match="--state-dir"):
        Backlog(tmp_path / "file" / "x", 1000)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.integers(0, 9), max_size=40))
def test_each_sample_comes_out_once_and_in_order(tmp_path_factory: pytest.TempPathFactory, steps: list[int]) -> None:
    """Whatever is added and delivered in whatever order, each sample comes out once and in order."""
    backlog = Backlog(tmp_path_factory.mktemp("backlog"), 10_000_000)
    added, found = 0, []
    for step in steps:
        if step < 5:
            backlog.add(_samples(added, step))
            added += step
        elif samples := backlog.take(step - 4, 1000):
            found += samples
            backlog.done()
    assert found + _drain(backlog) == _samples(0, added)
