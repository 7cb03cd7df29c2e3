"""Trees of processes: who is found, and that nothing of a tree is left."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import partial
from pathlib import Path

from smartmob.kernel.subprocesses import process_tree
from tests.kernel.subprocesses.families import living
from tests.waiting import until


def test_children_are_found_without_the_kernels_lists() -> None:
    """Where a kernel keeps no lists of children, the table of all processes tells."""
    child = subprocess.Popen(["sleep", "60"])
    try:
        listed = process_tree.children(os.getpid())
        scanned = [pid for pid in process_tree.pids() if process_tree.parent(pid) == os.getpid()]
        assert child.pid in listed
        assert child.pid in scanned
    finally:
        child.kill()
        child.wait()


def test_a_process_that_has_ended_has_no_children() -> None:
    """It may end at any moment while it is looked at."""
    child = subprocess.Popen(["true"])
    child.wait()
    assert process_tree.children(child.pid) == []


def _session(pid_file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["setsid", "sh", "-c", f"sleep 60 & echo $! > {pid_file}; exec sleep 60"])


async def test_what_is_found_is_killed_until_nothing_is_found(tmp_path: Path) -> None:
    """A whole session, of which nobody is the parent any more."""
    with _session(tmp_path / "pid") as leader:
        await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
        inner = int((tmp_path / "pid").read_text())
        assert set(process_tree.members(leader.pid)) == {leader.pid, inner}
        process_tree.kill_found(partial(process_tree.members, leader.pid))
        assert living([leader.pid, inner]) == []
    assert leader.returncode == -signal.SIGKILL


def test_what_may_not_be_killed_is_not_waited_for() -> None:
    """Nor what is no more: a signal that reaches nobody ends the search."""
    child = subprocess.Popen(["true"])
    child.wait()
    process_tree.kill_found(lambda: [child.pid])
    assert not process_tree.send(child.pid, 0)


def test_what_is_told_of_a_process() -> None:
    """Its parent, session and name; of one that has ended there is none of them."""
    own = os.getpid()
    assert (process_tree.parent(own), process_tree.session(own)) == (os.getppid(), os.getsid(0))
    assert process_tree.name_of(own).decode() == Path("/proc/self/comm").read_text().rstrip()
    assert process_tree.parent(1) == 0
    child = subprocess.Popen(["true"])
    child.wait()
    assert (process_tree.parent(child.pid), process_tree.session(child.pid), process_tree.name_of(child.pid)) == (
        None,
        None,
        b"",
    )


def test_a_zombie_has_a_parent_and_no_session() -> None:
    """It is no member of anything any more, but what is above it can still be told."""
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        assert (process_tree.parent(zombie.pid), process_tree.session(zombie.pid)) == (os.getpid(), None)
