"""The output of jobs on disk: addressed by offsets, bounded for a job and for all, and found after a restart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smartmob.commands.spool import Spool, Spools
from smartmob.errors import NotFound

KIB = 1024


def _open(folder: Path, job: int = 400 * KIB, total: int = 10_000 * KIB) -> Spools:
    spools = Spools(folder, job, total)
    spools.open()
    return spools


def _content(spool: Spool) -> bytes:
    data, offset = b"", spool.start
    while offset < spool.end:
        piece = spool.read(offset, 1_000)
        data, offset = data + piece, offset + len(piece)
    return data


def test_output_is_read_from_any_offset(tmp_path: Path) -> None:
    """Reads cross the borders of files."""
    spools = _open(tmp_path)
    spool = spools.create(1)
    data = os.urandom(300 * KIB)
    for first in range(0, len(data), 7_000):
        spools.append(spool, data[first : first + 7_000])

    assert (spool.start, spool.end) == (0, len(data))
    assert _content(spool) == data
    for offset in (0, 1, 99_999, 100 * KIB, 100 * KIB + 1, len(data) - 1):
        assert spool.read(offset, 10) == data[offset : offset + 10][: len(spool.read(offset, 10))]
        assert spool.read(offset, 10)


def test_a_job_keeps_the_end_of_its_output(tmp_path: Path) -> None:
    """Within its limit; offsets do not change."""
    spools = _open(tmp_path)
    spool = spools.create(1)
    data = os.urandom(2_000 * KIB)
    for first in range(0, len(data), 10_000):
        spools.append(spool, data[first : first + 10_000])

    assert 300 * KIB <= spool.size <= 400 * KIB
    assert _content(spool) == data[spool.start :]
    assert spools.total == spool.size
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == spool.size


def test_the_output_of_the_job_that_ended_first_is_removed_first(tmp_path: Path) -> None:
    """All jobs together stay within their limit."""
    spools = _open(tmp_path, total=250 * KIB)
    running = spools.create(1)
    spools.append(running, b"r" * 50 * KIB)
    for job in (3, 2, 4):
        spool = spools.create(job)
        spools.append(spool, b"x" * 100 * KIB)
        spools.finish(spool)

    assert spools.take_dropped() == [3]
    assert [spools.has(job) for job in (1, 2, 3, 4)] == [True, True, False, True]
    assert spools.total == 250 * KIB
    with pytest.raises(NotFound, match="job 3 is no longer kept"):
        spools.find(3)


def test_a_running_job_drops_its_own_beginning_when_none_has_finished(tmp_path: Path) -> None:
    """All jobs together stay within their limit."""
    spools = _open(tmp_path, total=200 * KIB)
    spool = spools.create(1)
    for _ in range(100):
        spools.append(spool, b"x" * 10_000)

    assert spools.total <= 200 * KIB + 10_000
    assert spool.end == 1_000_000


def test_output_is_found_after_a_restart(tmp_path: Path) -> None:
    """Jobs are in the order of their last writes, and other files are left alone."""
    spools = _open(tmp_path)
    for job, age in ((5, 10), (7, 30), (6, 20)):
        spool = spools.create(job)
        spools.append(spool, f"job {job}".encode() * 30_000)
        spools.finish(spool)
        for path in tmp_path.glob(f"{job}.*"):
            os.utime(path, (1_000_000 - age, 1_000_000 - age))
    before = spools.total
    spools.close()
    (tmp_path / "other").write_text("not ours")

    again = _open(tmp_path, total=before)
    assert again.total == before
    assert _content(again.find(6)) == b"job 6" * 30_000
    again.append(again.create(8), b"one more")
    assert again.take_dropped() == [7]
    assert (tmp_path / "other").exists()


def test_a_removed_job_leaves_no_file(tmp_path: Path) -> None:
    """Its bytes are no longer counted."""
    spools = _open(tmp_path)
    spool = spools.create(1)
    spools.append(spool, b"x" * 300_000)
    spools.finish(spool)
    spools.remove(1)
    spools.remove(1)

    assert (list(tmp_path.iterdir()), spools.total) == ([], 0)


def test_a_full_disk_is_an_error_and_a_later_attempt_continues_at_the_same_byte(tmp_path: Path) -> None:
    """Output of finished jobs is removed first."""
    spools = _open(tmp_path)
    old = spools.create(1)
    spools.append(old, b"old")
    spools.finish(old)
    spool = spools.create(2)
    spools.append(spool, b"first ")
    assert spool._writing is not None
    full = os.open("/dev/full", os.O_WRONLY)
    kept = os.dup(spool._writing)
    os.dup2(full, spool._writing)

    with pytest.raises(OSError, match="No space"):
        spools.append(spool, b"second")
    assert (spools.has(1), spool.end) == (False, 6)

    os.dup2(kept, spool._writing)
    spools.append(spool, b"second")
    assert _content(spool) == b"first second"
    os.close(full)
    os.close(kept)
    spools.close()
