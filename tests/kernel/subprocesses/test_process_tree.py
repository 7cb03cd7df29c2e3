"""Process trees: finding the members, and killing all of them."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import partial
from pathlib import Path

from smartmob.kernel.subprocesses import process_tree
from tests.kernel.subprocesses.families import living
from tests.waiting import until


def test_children_are_found_without_the_lists_of_the_kernel() -> None:
    """The table of all processes is read if the kernel has no lists of children."""
    child = subprocess.Popen(["sleep", "60"])
    try:
        listed = process_tree.children(os.getpid())
        scanned = [pid for pid in process_tree.pids() if process_tree.parent(pid) == os.getpid()]
        assert child.pid in listed
        assert child.pid in scanned
    finally:
        child.kill()
        child.wait()


def test_an_ended_process_has_no_children() -> None:
    """A process may end at any moment while it is read."""
    child = subprocess.Popen(["true"])
    child.wait()
    assert process_tree.children(child.pid) == []


def _session(pid_file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["setsid", "sh", "-c", f"sleep 60 & echo $! > {pid_file}; exec sleep 60"])


async def test_all_members_of_a_session_are_killed(tmp_path: Path) -> None:
    """They are found even when their parent has ended."""
    with _session(tmp_path / "pid") as leader:
        await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
        inner = int((tmp_path / "pid").read_text())
        assert set(process_tree.members(leader.pid)) == {leader.pid, inner}
        process_tree.kill_found(partial(process_tree.members, leader.pid))
        assert living([leader.pid, inner]) == []
    assert leader.returncode == -signal.SIGKILL


def test_an_ended_process_is_not_waited_for() -> None:
    """Killing ends when no signal reaches a process any more."""
    child = subprocess.Popen(["true"])
    child.wait()
    process_tree.kill_found(lambda: [child.pid])
    assert not process_tree.send(child.pid, 0)


def test_parent_session_and_name_of_a_process_are_read() -> None:
    """An ended process has none of them."""
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
    """It does not count as a member of its session."""
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        assert (process_tree.parent(zombie.pid), process_tree.session(zombie.pid)) == (os.getpid(), None)
