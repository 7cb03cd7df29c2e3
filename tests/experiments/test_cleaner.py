"""The folder of an experiment is removed at the end, when its owner is killed, and by the next experiment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from smartmob.experiments.cleaner import Workplace, remove
from tests.waiting import until

_OWNER = """
import sys, pathlib
from smartmob.experiments.cleaner import Workplace
place = Workplace(pathlib.Path(sys.argv[1]))
(place.folder / "file").write_text("x")
print(place._cleaner.pid, flush=True)
sys.stdin.read()
"""


def _owner(parent: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start a process that has a folder in `parent`; return it and the process id of its cleaner."""
    command = [sys.executable, "-c", _OWNER, str(parent)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def _has_ended(pid: int) -> bool:
    """Return whether a process holds no files any more; its parent need not have waited for it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_it_is_removed_at_the_end(tmp_path: Path) -> None:
    """Nothing is left in the parent folder, also of files in deeper folders."""
    place = Workplace(tmp_path / "cache")
    (place.folder / "a" / "b").mkdir(parents=True)
    (place.folder / "a" / "b" / "file").write_text("x")
    place.close()
    assert list((tmp_path / "cache").iterdir()) == []


async def test_it_is_removed_when_its_owner_is_killed(tmp_path: Path) -> None:
    """The cleaner does it, which no signal of a terminal ends."""
    process, cleaner = _owner(tmp_path)
    with process:
        os.kill(cleaner, signal.SIGTERM)
        os.kill(cleaner, signal.SIGINT)
        process.kill()
    assert await until(lambda: not list(tmp_path.iterdir()))


async def test_the_next_experiment_removes_what_a_killed_cleaner_left(tmp_path: Path) -> None:
    """A folder whose lock is free is removed; that of a running experiment stays."""
    running = Workplace(tmp_path)
    process, cleaner = _owner(tmp_path)
    with process:
        os.kill(cleaner, signal.SIGKILL)
        process.kill()
    assert len(list(tmp_path.glob("ab-*.lock"))) == 2
    assert await until(lambda: _has_ended(cleaner))  # a killed process keeps its lock until it is gone
    following = Workplace(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {running.folder.name, following.folder.name}
    running.close()
    following.close()
    assert list(tmp_path.iterdir()) == []


def test_other_worktrees_stay(tmp_path: Path) -> None:
    """Of a repository only the entries of worktrees in the folder are removed."""
    folder, entries = tmp_path / "ab-x", tmp_path / "repository" / "worktrees"
    folder.mkdir()
    for name, place in (("own", folder / "side-a"), ("other", tmp_path / "ab-xy"), ("far", Path("/absent/x"))):
        (entries / name).mkdir(parents=True)
        (entries / name / "gitdir").write_text(f"{place}/.git\n")
    (folder / "repositories").write_text(f"{entries.parent}\n")
    remove(folder)
    assert {path.name for path in entries.iterdir()} == {"other", "far"}
    assert not folder.exists()


def test_nothing_is_removed_before_a_child_has_ended(tmp_path: Path) -> None:
    """A program that still writes, such as git, would write again what was removed before its end."""
    place = Workplace(tmp_path)
    awaited = place.awaited()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(awaited,)) as child:
        os.close(awaited)
        with ThreadPoolExecutor(1) as pool:
            closing = pool.submit(place.close)
            with pytest.raises(TimeoutError):
                closing.result(timeout=0.5)
            assert place.folder.exists()
            assert child.stdin is not None
            child.stdin.close()
            closing.result()
    assert list(tmp_path.iterdir()) == []
