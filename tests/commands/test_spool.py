"""Output on disk: found by its offset, bounded for a job and for all, and there after a restart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smartmob.commands.spool import Outputs, Spool
from smartmob.errors import NotFound

KIB = 1024


def _open(folder: Path, job: int = 400 * KIB, total: int = 10_000 * KIB, forgotten: list[int] | None = None) -> Outputs:
    outputs = Outputs(folder, job, total, (forgotten if forgotten is not None else []).append)
    outputs.open()
    return outputs


def _content(spool: Spool) -> bytes:
    data, offset = b"", spool.start
    while offset < spool.end:
        piece = spool.read(offset, 1_000)
        data, offset = data + piece, offset + len(piece)
    return data


def test_bytes_at_their_offsets(tmp_path: Path) -> None:
    """What was written is read from any offset, also across files."""
    outputs = _open(tmp_path)
    spool = outputs.begin(1)
    data = os.urandom(300 * KIB)
    for first in range(0, len(data), 7_000):
        outputs.append(spool, data[first : first + 7_000])

    assert (spool.start, spool.end) == (0, len(data))
    assert _content(spool) == data
    for offset in (0, 1, 99_999, 100 * KIB, 100 * KIB + 1, len(data) - 1):
        assert spool.read(offset, 10) == data[offset : offset + 10][: len(spool.read(offset, 10))]
        assert spool.read(offset, 10)


def test_the_beginning_goes_first(tmp_path: Path) -> None:
    """A job keeps the end of its output within its limit; offsets stay what they are."""
    outputs = _open(tmp_path)
    spool = outputs.begin(1)
    data = os.urandom(2_000 * KIB)
    for first in range(0, len(data), 10_000):
        outputs.append(spool, data[first : first + 10_000])

    assert 300 * KIB <= spool.size <= 400 * KIB
    assert _content(spool) == data[spool.start :]
    assert outputs.total == spool.size
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == spool.size


def test_the_first_finished_goes_first(tmp_path: Path) -> None:
    """All jobs together stay within their limit: what ended first goes first, what runs goes last."""
    forgotten: list[int] = []
    outputs = _open(tmp_path, total=250 * KIB, forgotten=forgotten)
    running = outputs.begin(1)
    outputs.append(running, b"r" * 50 * KIB)
    for job in (3, 2, 4):
        spool = outputs.begin(job)
        outputs.append(spool, b"x" * 100 * KIB)
        outputs.finish(spool)

    assert forgotten == [3]
    assert [outputs.has(job) for job in (1, 2, 3, 4)] == [True, True, False, True]
    assert outputs.total == 250 * KIB
    with pytest.raises(NotFound, match="job 3 is no longer kept"):
        outputs.find(3)


def test_only_running_jobs(tmp_path: Path) -> None:
    """Where nothing is finished, a job that writes lets go of its own beginning."""
    outputs = _open(tmp_path, total=200 * KIB)
    spool = outputs.begin(1)
    for _ in range(100):
        outputs.append(spool, b"x" * 10_000)

    assert outputs.total <= 200 * KIB + 10_000
    assert spool.end == 1_000_000


def test_a_restart(tmp_path: Path) -> None:
    """What was kept is found again, in the order in which it was written last, and an emptied folder is fine."""
    outputs = _open(tmp_path)
    for job, age in ((5, 10), (7, 30), (6, 20)):
        spool = outputs.begin(job)
        outputs.append(spool, f"job {job}".encode() * 30_000)
        outputs.finish(spool)
        for path in tmp_path.glob(f"{job}.*"):
            os.utime(path, (1_000_000 - age, 1_000_000 - age))
    before = outputs.total
    outputs.close()
    (tmp_path / "other").write_text("not ours")

    forgotten: list[int] = []
    again = _open(tmp_path, total=before, forgotten=forgotten)
    assert again.total == before
    assert _content(again.find(6)) == b"job 6" * 30_000
    again.append(again.begin(8), b"one more")
    assert forgotten == [7]
    assert (tmp_path / "other").exists()


def test_removing(tmp_path: Path) -> None:
    """A removed job leaves no file and no count."""
    outputs = _open(tmp_path)
    spool = outputs.begin(1)
    outputs.append(spool, b"x" * 300_000)
    outputs.finish(spool)
    outputs.remove(1)
    outputs.remove(1)

    assert (list(tmp_path.iterdir()), outputs.total) == ([], 0)


def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    """The error reaches the writer, finished output makes room first, and a later attempt goes on at the same byte."""
    outputs = _open(tmp_path)
    old = outputs.begin(1)
    outputs.append(old, b"old")
    outputs.finish(old)
    spool = outputs.begin(2)
    outputs.append(spool, b"first ")
    assert spool._writing is not None
    full = os.open("/dev/full", os.O_WRONLY)
    kept = os.dup(spool._writing)
    os.dup2(full, spool._writing)

    with pytest.raises(OSError, match="No space"):
        outputs.append(spool, b"second")
    assert (outputs.has(1), spool.end) == (False, 6)

    os.dup2(kept, spool._writing)
    outputs.append(spool, b"second")
    assert _content(spool) == b"first second"
    os.close(full)
    os.close(kept)
    outputs.close()
