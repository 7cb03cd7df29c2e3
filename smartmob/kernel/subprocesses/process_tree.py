"""Process trees: finding the descendants of a process, and killing a tree whose members may fork meanwhile.

The watchdog and the subreapers import it, so it imports almost nothing: `signal` and `contextlib` alone would cost them
a megabyte. It works fully on Linux, where a subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)) adopts every descendant that
loses its parent, even after setsid or a double fork. On other systems only process groups can be killed.
"""

from __future__ import annotations

import os
import resource  # os.wait4 imports it; imported here once, each subreaper need not copy a megabyte for it
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable
    from types import TracebackType
else:
    import _signal as signal  # the part that is in C: `signal` makes enumerations of its numbers

SUBREAPER, WATCHDOG = b"smartmob-keep", b"smartmob-guard"
"""The names of these processes in `ps` and /proc/PID/comm.

They do not change: services of several versions on one machine recognise each other's subreapers by the name.
"""

PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36  # options of prctl(2), from linux/prctl.h

_FREEZE_ROUNDS = 8
_DEATH_SECONDS = 0.02  # between two checks whether a killed process has ended

SIGTERM, _SIGSTOP, _SIGKILL = signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL

Ended = tuple[int, int, resource.struct_rusage]
"""The result of wait4(2) for an ended child: its process id, its wait status, and its use of resources."""


class Suppressed:
    """A block in which exceptions of these classes are ignored, like `contextlib.suppress`, which imports much."""

    __slots__ = ("_ignored",)

    def __init__(self, *ignored: type[BaseException]) -> None:
        self._ignored = ignored

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        return kind is not None and issubclass(kind, self._ignored)


class Wakeup:
    """A pipe to which Python writes the number of each signal that has a handler, as one byte."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when a signal arrives."""
        return self._read

    def drain(self) -> bytes:
        """Return the numbers of the signals that have arrived since the last call."""
        try:
            return os.read(self._read, 4096)
        except BlockingIOError:
            return b""

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for a signal, and return whether one arrived."""
        return bool(select.select([self._read], [], [], seconds)[0] and self.drain())

    def close(self) -> None:
        """Close both ends."""
        os.close(self._read)
        os.close(self._write)


def become_subreaper(name: bytes) -> None:
    """Adopt every descendant that loses its parent from now on, and set the name of this process."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    set_name(name)


def set_name(name: bytes) -> None:
    """Set the name of this process, of which the kernel keeps 15 bytes."""
    _prctl(PR_SET_NAME, name)


def die_with_parent(number: int = SIGTERM) -> None:
    """Have the kernel send a signal when the parent ends. The caller must check whether it has ended already."""
    _prctl(PR_SET_PDEATHSIG, int(number))


def name_of(pid: int) -> bytes:
    """Return the name of a process as `ps` shows it, or nothing when it has ended."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().rstrip()
    except OSError:
        return b""


def children(pid: int) -> list[int]:
    """Return the direct children of all threads of the process `pid`."""
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
    """Return the session of a running process, or None when it has ended.

    The session is 0 if its leader is outside this namespace of process ids.
    """
    state, _, _, found = _stat(pid)
    return None if state in b"ZX" else int(found)


def parent(pid: int) -> int | None:
    """Return the parent of a process, 0 for the first process, or None if the process does not exist."""
    state, found, _, _ = _stat(pid)
    return None if state == b"X" else int(found)


def _stat(pid: int) -> list[bytes]:
    """Return the fields state, parent, process group and session of /proc/PID/stat, proc(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split(maxsplit=4)[:4]
    except OSError:
        return [b"X", b"0", b"0", b"0"]


def kill(roots: Callable[[], Iterable[int]]) -> set[int]:
    """Send SIGKILL to what `roots` returns and all descendants; return the process ids. Does not wait for their end.

    Each process is stopped first, so that it cannot fork unseen, and `roots` is called again until it returns nothing
    new.
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
    """Kill all descendants of this process except the children `spared` and theirs; return the ends of its children.

    Orphans become children of this process, so this repeats until none is left.
    """
    ended: list[Ended] = []
    own, safe = os.getpid(), frozenset(spared)
    while found := kill(lambda: [pid for pid in children(own) if pid not in safe]):
        for pid in found.intersection(children(own)):
            with Suppressed(ChildProcessError):
                result = os.wait4(pid, os.WNOHANG)
                while result[0] == 0 and wakeup.wait(_DEATH_SECONDS):
                    result = os.wait4(pid, os.WNOHANG)
                if result[0]:
                    ended.append(result)
    return ended


def kill_found(find: Callable[[], Iterable[int]]) -> None:
    """Kill what `find` returns until it returns nothing that this user may kill: for trees without a subreaper."""
    while [pid for pid in find() if send(pid, _SIGKILL)]:
        # A process that hangs in the kernel does not end at once; wait without keeping a processor busy.
        select.select([], [], [], _DEATH_SECONDS)


def members(leader: int) -> list[int]:
    """Return the running processes of the session whose leader is or was `leader`."""
    return [pid for pid in pids() if pid != os.getpid() and session(pid) == leader]


def send(pid: int, number: int) -> bool:
    """Send a signal to a process; return whether the process exists and this user may signal it."""
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
