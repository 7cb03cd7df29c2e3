"""Trees of processes: who descends from whom, and how a tree is ended of which every member may fork meanwhile.

Imported by the guardian and the keepers, so it imports next to nothing. What it says holds for Linux, where a
sub-reaper (PR_SET_CHILD_SUBREAPER, prctl(2)) adopts every descendant that loses its parent, also one that called setsid
or forked twice; elsewhere only process groups are left.
"""

from __future__ import annotations

import contextlib
import os
import resource  # os.wait4 imports it: here once, or in each keeper, where the import copies a megabyte
import select
import signal
import sys
from collections.abc import Callable, Iterable

KEEPER, GUARDIAN = b"smartmob-keep", b"smartmob-guard"
"""What they are called."""

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

_FREEZE_ROUNDS = 8
_DEATH_SECONDS = 0.02

# Plain numbers, made before the first fork: an enumeration that a keeper looks at is memory that it copies.
SIGTERM, _SIGSTOP, _SIGKILL = int(signal.SIGTERM), int(signal.SIGSTOP), int(signal.SIGKILL)

Ended = tuple[int, int, resource.struct_rusage]
"""What wait4(2) says of an ended child: its pid, how it ended, what it used."""


class Wakeup:
    """A pipe that gets a byte, the number, for each SIGCHLD and SIGTERM of this process."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._read

    def drain(self) -> bytes:
        """Return the numbers of the signals that came."""
        try:
            return os.read(self._read, 4096)
        except BlockingIOError:
            return b""

    def wait(self, seconds: float) -> bool:
        """Return whether a signal comes within `seconds`."""
        return bool(select.select([self._read], [], [], seconds)[0] and self.drain())

    def close(self) -> None:
        """Close both ends."""
        os.close(self._read)
        os.close(self._write)


def become_reaper(name: bytes) -> None:
    """Adopt every descendant that loses its parent, and be called `name` in lists of processes, as by `name_of`."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_NAME, name)


def die_with_parent() -> None:
    """Get SIGTERM when the parent has ended; whether it has already is for the caller to see."""
    _prctl(PR_SET_PDEATHSIG, SIGTERM)


def name_of(pid: int) -> bytes:
    """Return what the process is called in lists of processes; nothing for one that has ended."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().rstrip()
    except OSError:
        return b""


def children(pid: int) -> list[int]:
    """Return the direct children of the process `pid`, those of all its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(map(int, file.read().split()))
    except FileNotFoundError:
        if os.path.exists(f"/proc/{pid}") and not os.path.exists(f"/proc/{pid}/task/{pid}/children"):
            return [child for child in pids() if parent(child) == pid]
    except (ProcessLookupError, PermissionError):
        pass
    return found


def descendants(pid: int) -> list[int]:
    """Return all descendants of the process `pid`, parents before their children."""
    found = [pid]
    for each in found:
        found.extend(children(each))
    return found[1:]


def session(pid: int) -> int | None:
    """Return the session of a process that lives, 0 when its leader is outside of this namespace of process ids.

    Of one that has ended, nothing.
    """
    state, _, _, found = _stat(pid)
    return None if state in b"ZX" else int(found)


def parent(pid: int) -> int | None:
    """Return the parent of a process, 0 for the first one, and nothing when there is no such process."""
    state, found, _, _ = _stat(pid)
    return None if state == b"X" else int(found)


def _stat(pid: int) -> list[bytes]:
    """Return state, parent, process group and session, proc(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split(maxsplit=4)[:4]
    except OSError:
        return [b"X", b"0", b"0", b"0"]


def kill(roots: Callable[[], Iterable[int]]) -> set[int]:
    """Kill what `roots` returns, with all descendants; return whom. It is not over when this returns.

    What is seen is frozen first, so that nothing forks out of sight, and `roots` is asked again until it tells
    nothing new.
    """
    found: set[int] = set()
    for _ in range(_FREEZE_ROUNDS):
        fresh = [pid for root in roots() for pid in (root, *descendants(root)) if pid not in found]
        if not fresh:
            break
        for pid in fresh:
            send(pid, _SIGSTOP)
        found.update(fresh)
    for pid in found:
        send(pid, _SIGKILL)
    return found


def kill_all(wakeup: Wakeup, spared: Iterable[int] = ()) -> list[Ended]:
    """Kill all descendants of this process but the children `spared` and theirs; return how those of ours ended.

    Orphans fall to us, so it is done again until nothing is left.
    """
    ended: list[Ended] = []
    own, safe = os.getpid(), frozenset(spared)
    while found := kill(lambda: [pid for pid in children(own) if pid not in safe]):
        for pid in found.intersection(children(own)):
            with contextlib.suppress(ChildProcessError):
                result = os.wait4(pid, os.WNOHANG)
                while result[0] == 0 and wakeup.wait(_DEATH_SECONDS):
                    result = os.wait4(pid, os.WNOHANG)
                if result[0]:
                    ended.append(result)
    return ended


def kill_found(find: Callable[[], Iterable[int]]) -> None:
    """Kill what `find` returns until it returns nothing that we may kill: for trees whose keeper is no more."""
    while [pid for pid in find() if send(pid, _SIGKILL)]:
        # One that hangs in the kernel does not end at once, and must not cost a processor meanwhile.
        select.select([], [], [], _DEATH_SECONDS)


def members(leader: int) -> list[int]:
    """Return the processes that live in the session that the process `leader` made."""
    return [pid for pid in pids() if pid != os.getpid() and session(pid) == leader]


def send(pid: int, number: int) -> bool:
    """Send a signal to a process; return whether there is one, and it is ours to signal."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def pids() -> list[int]:
    """Return the ids of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _prctl(option: int, value: int | bytes) -> None:
    if _LIBC is not None:
        _LIBC.prctl(option, value, 0, 0, 0)


if sys.platform == "linux":
    import ctypes

    _LIBC = ctypes.CDLL(None)
else:
    _LIBC = None
