"""Copying and removing folders, and stopping the threads that do it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from smartmob.kernel.runtime.disk import DiskLow, Floor, free_bytes
from smartmob.processes.preparation.file_tree import Threads, copy_tree, is_small, remove_tree
from smartmob.processes.preparation.unpacked_tree import Interrupted


@pytest.fixture(name="threads")
async def _threads() -> AsyncIterator[Threads]:
    threads = Threads(1)
    yield threads
    threads.close()


def test_a_copy_has_everything_and_shares_nothing(tmp_path: Path) -> None:
    """Contents, links and executable bits are copied; writing to one does not change the other."""
    source = tmp_path / "source"
    (source / "deep" / "empty").mkdir(parents=True)
    large = os.urandom(2_500_000)
    (source / "deep" / "large").write_bytes(large)
    (source / "exact").write_bytes(large[: 1024 * 1024])
    (source / "run").write_text("x")
    (source / "run").chmod(0o4755)
    (source / "link").symlink_to("deep")
    (source / "dangling").symlink_to("nowhere")

    copy_tree(source, tmp_path / "copy", threading.Event(), Floor(tmp_path, 0))
    (tmp_path / "copy" / "run").write_text("other")

    copy = tmp_path / "copy"
    assert sorted(str(path.relative_to(copy)) for path in copy.rglob("*")) == [
        "dangling", "deep", "deep/empty", "deep/large", "exact", "link", "run"
    ]  # fmt: skip
    assert (copy / "deep" / "large").read_bytes() == large
    assert (copy / "exact").read_bytes() == large[: 1024 * 1024]
    assert (copy / "link").readlink() == Path("deep")
    assert (copy / "dangling").readlink() == Path("nowhere")
    assert (copy / "run").stat().st_mode & 0o7700 == 0o700
    assert (source / "run").read_text() == "x"


def test_a_copy_can_be_stopped(tmp_path: Path) -> None:
    """Nothing more is copied when the event is set."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "x").touch()
    stop = threading.Event()
    stop.set()

    with pytest.raises(Interrupted):
        copy_tree(tmp_path / "source", tmp_path / "copy", stop, Floor(tmp_path, 0))
    assert not list((tmp_path / "copy").iterdir())


def test_a_small_folder_has_few_small_files_and_no_folders(tmp_path: Path) -> None:
    """A missing folder is not small."""
    for name, files in (("few", [10] * 8), ("many", [10] * 9), ("large", [70_000]), ("deep", [10])):
        (tmp_path / name).mkdir()
        for number, size in enumerate(files):
            (tmp_path / name / f"{number}").write_bytes(bytes(size))
    (tmp_path / "deep" / "er").mkdir()

    assert {path.name for path in tmp_path.iterdir() if is_small(path)} == {"few"}
    assert not is_small(tmp_path / "none")


def test_a_folder_without_permissions_is_removed(tmp_path: Path) -> None:
    """Links are not followed."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "x").touch()
    inner = tmp_path / "gone" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "x").touch()
    (tmp_path / "gone" / "link").symlink_to(kept)
    inner.chmod(0)
    inner.parent.chmod(0o500)

    remove_tree(tmp_path / "gone")
    remove_tree(tmp_path / "gone")

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "x").exists()


async def test_a_cancelled_call_stops_its_thread(threads: Threads) -> None:
    """The call ends after the work has ended; work that had not begun never begins."""
    began, ended, never = threading.Event(), threading.Event(), threading.Event()

    def work(stop: threading.Event) -> None:
        began.set()
        stop.wait()
        ended.set()

    running = asyncio.create_task(threads.run(work))
    waiting = asyncio.create_task(threads.run(lambda _: never.set()))
    await asyncio.to_thread(began.wait)
    for task in (waiting, running):
        task.cancel()
    await asyncio.wait([running, waiting])

    assert ended.is_set()
    assert running.cancelled()
    assert waiting.cancelled()
    assert await threads.run(lambda _: 7) == 7
    assert not never.is_set()


async def test_errors_of_a_thread_are_raised(threads: Threads) -> None:
    """The caller gets the exception."""

    def work(_: threading.Event) -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await threads.run(work)


def test_a_copy_leaves_the_least_free_space(tmp_path: Path) -> None:
    """A copy that needs the reserved space is refused."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(bytes(3_000_000))

    with pytest.raises(DiskLow, match="are free"):
        copy_tree(source, tmp_path / "copy", threading.Event(), Floor(tmp_path, free_bytes(tmp_path) * 2))
    assert not list((tmp_path / "copy").iterdir())
