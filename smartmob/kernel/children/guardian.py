"""The guardian: the small program that starts all children, and ends them when the service is gone.

It is started first, as a program of its own (`python -I -S guardian.py FD FILES`), and imports only what it needs,
because it forks for each child and what it has not in memory need not be copied. For each child it forks a *keeper*: a
sub-reaper (PR_SET_CHILD_SUBREAPER, prctl(2)), to which every descendant of the child falls that loses its parent, also
one that called setsid or forked twice. The service holds one end of the keeper's control socket, and the end of file on
it is the order to kill the whole tree. So the tree dies with the service, however that died.

Who watches whom: a keeper its service (by the control socket) and the guardian (by PR_SET_PDEATHSIG); the guardian
its service (by its own socket), and its keepers: it is a sub-reaper, too, and kills what a killed keeper leaves.

Words on the sockets, in ASCII. Service to guardian: `S` with the file descriptors of control, stdin, stdout and
stderr (SCM_RIGHTS): start a keeper; `B` and a pid (4 bytes, big endian): answer `b` once nothing is left of that killed
keeper and its tree. Service to keeper: first
the specification (4 bytes length, big endian; then fields that end with NUL: folder, path of a terminal or nothing,
number of arguments, the arguments, the environment as NAME=value); then lines: `signal N`, `kill`. Keeper to service:
lines `started PID KEEPER`, `failed ERRNO folder|program`, `exited STATUS USER SYSTEM MAXRSS` (STATUS as in subprocess,
seconds, kilobytes), `gone`.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource  # os.wait4 imports it: here once, or in each keeper, where the import copies a megabyte
import select
import signal
import socket
import sys
from collections.abc import Iterable, Iterator

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

_FREEZE_ROUNDS = 8
_DEATH_SECONDS = 0.02
_KEEPERS_SECONDS = 0.25
_FDS = 4

# Plain numbers, made before the first fork: an enumeration that a keeper looks at is memory that it copies.
_SIGTERM, _SIGSTOP, _SIGKILL = int(signal.SIGTERM), int(signal.SIGSTOP), int(signal.SIGKILL)
_CATCHABLE = tuple(int(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def main(fd: int, open_files: int) -> None:
    """Serve on the inherited socket `fd` until the service is gone, and leave nothing behind.

    Children may have so many files open at once. The service has raised that limit for itself, but a program that uses
    select(2) writes where it should not when a descriptor is beyond 1,023.
    """
    os.setsid()
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    become_reaper(b"smartmob-guard")
    # A keeper inherits the handlers: what it does not do itself, after the fork, costs it no memory.
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    guardian = _Guardian(socket.socket(fileno=fd), Wakeup())
    # What the collector never touches is never copied by a fork.
    gc.disable()
    gc.freeze()
    guardian.run()


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


class _Guardian:
    """The guardian of one service."""

    def __init__(self, service: socket.socket, wakeup: Wakeup) -> None:
        self._service = service
        self._wakeup = wakeup
        self._keepers: set[int] = set()

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._service, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        while True:
            ready = {found for found, _ in poll.poll()}
            if self._wakeup.fileno() in ready:
                self._wakeup.drain()
            if self._service.fileno() in ready and not self._serve():
                break
            self._reap()
        self._end()

    def _serve(self) -> bool:
        """Do one thing that the service asks for; return whether there is a service."""
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        try:
            word, ancillary, _, _ = self._service.recvmsg(1, socket.CMSG_SPACE(_FDS * 4), flags)
        except OSError:
            return False
        if word == b"S":
            self._fork(_descriptors(ancillary))
        elif word == b"B":
            self._bury(int.from_bytes(self._service.recv(4, socket.MSG_WAITALL), "big"))
            self._service.sendall(b"b")
        return word != b""

    def _fork(self, fds: list[int]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._service.close()
            self._wakeup.close()
            keep(parent, fds)
        self._keepers.add(pid)
        for fd in fds:
            os.close(fd)

    def _reap(self) -> None:
        """Take note of ended keepers; what one that was killed has left is ours now, and is killed."""
        killed = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._keepers:
                self._keepers.discard(pid)
                killed = killed or os.WIFSIGNALED(status)
        if killed:
            kill_tree(self._wakeup, self._keepers)

    def _bury(self, keeper: int) -> None:
        """Wait for the end of a keeper that has closed its socket, and kill what it leaves."""
        if keeper in self._keepers:
            self._keepers.discard(keeper)
            os.waitpid(keeper, 0)
            kill_tree(self._wakeup, self._keepers)

    def _end(self) -> None:
        """Leave nothing behind: keepers saw the same end of file; one that cannot act is killed, with its tree."""
        for pid in self._keepers:
            _signal(pid, signal.SIGCONT)
            _signal(pid, signal.SIGTERM)
        self._reap()
        while self._keepers and self._wakeup.wait(_KEEPERS_SECONDS):
            self._reap()
        kill_tree(self._wakeup)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            return [int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data) - len(data) % 4, 4)]
    return []


# A keeper: what follows runs in the process that was forked for one child.


def keep(guardian: int, fds: list[int]) -> None:
    """Start the child, report of it, obey, end with the last of its descendants, and do not return."""
    try:
        os.setsid()
        become_reaper(b"smartmob-keep")
        wakeup = Wakeup()
        _prctl(PR_SET_PDEATHSIG, _SIGTERM)
        if os.getppid() == guardian:  # else it died before we could ask to be told
            _Keeper(fds[0], wakeup).run(fds[1:])
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        kill_tree(wakeup)
        os._exit(0)


class _Keeper:
    """The keeper of one child."""

    def __init__(self, control: int, wakeup: Wakeup) -> None:
        self._control = control
        self._wakeup = wakeup
        self._child = 0
        self._alive = False

    def run(self, fds: list[int]) -> None:
        specification = _read_specification(self._control)
        if specification is None or not self._start(specification, fds):
            return
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wakeup.fileno(), select.POLLIN)
        orders = b""
        while self._reap():
            ready = {found for found, _ in poll.poll()}
            ordered = self._wakeup.fileno() in ready and _SIGTERM in self._wakeup.drain()
            if self._control in ready:
                received = self._receive()
                orders += received
                ordered = ordered or not received
            while b"\n" in orders:
                order, _, orders = orders.partition(b"\n")
                ordered = self._obey(order) or ordered
            if ordered:
                self._kill()
                return

    def _start(self, specification: tuple[bytes, bytes, list[bytes], dict[bytes, bytes]], fds: list[int]) -> bool:
        folder, terminal, argv, env = specification
        try:
            os.chdir(folder)
            self._child = _spawn(argv, env, terminal, fds)
        except OSError as error:
            where = "folder" if error.filename == folder else "program"
            self._tell(f"failed {error.errno} {where}\n")
            return False
        for fd in fds:
            os.close(fd)
        self._alive = True
        self._tell(f"started {self._child} {os.getpid()}\n")
        return True

    def _reap(self) -> bool:
        """Report ended children; return whether any is left."""
        report = ""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self._tell(report + "gone\n")
                return False
            if pid == 0:
                break
            report += self._exit(pid, status, usage)
        if report:
            self._tell(report)
        return True

    def _obey(self, order: bytes) -> bool:
        """Carry out a line of the service; return whether it is the order to kill."""
        if order.startswith(b"signal "):
            number = int(order[7:])
            if self._alive:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._child, number)
            else:
                for pid in descendants(os.getpid()):
                    _signal(pid, number)
        return order == b"kill"

    def _kill(self) -> None:
        ended = kill_tree(self._wakeup)
        self._tell("".join(self._exit(*each) for each in ended) + "gone\n")

    def _exit(self, pid: int, status: int, usage: resource.struct_rusage) -> str:
        """Return the report of an ended process; nothing when it is not the child itself."""
        if pid != self._child or not self._alive:
            return ""
        self._alive = False
        return f"exited {os.waitstatus_to_exitcode(status)} {usage.ru_utime} {usage.ru_stime} {usage.ru_maxrss}\n"

    def _receive(self) -> bytes:
        try:
            return os.read(self._control, 4096)
        except OSError:
            return b""

    def _tell(self, text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._control, text.encode())


def _read_specification(control: int) -> tuple[bytes, bytes, list[bytes], dict[bytes, bytes]] | None:
    """Return folder, terminal, arguments and environment; nothing when the service is gone."""
    head = _read_exactly(control, 4)
    data = _read_exactly(control, int.from_bytes(head, "big"))
    if not data:
        return None
    folder, terminal, count, *rest = data.split(b"\0")[:-1]
    argv, variables = rest[: int(count)], rest[int(count) :]
    return folder, terminal, argv, dict(variable.split(b"=", 1) for variable in variables)


def _read_exactly(control: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = os.read(control, size)
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _spawn(argv: list[bytes], env: dict[bytes, bytes], terminal: bytes, fds: list[int]) -> int:
    """Start the child in a session of its own; return its pid, or raise OSError."""
    # A program without a slash is looked for in the child's own PATH.
    os.putenv("PATH", env.get(b"PATH", os.fsencode(os.defpath)))
    actions: list[tuple[int, int, int] | tuple[int, int, bytes, int, int]] = []
    if terminal:
        # The first terminal that the leader of a new session opens becomes its controlling terminal.
        actions = [(os.POSIX_SPAWN_OPEN, fd, terminal, os.O_RDWR, 0) for fd in range(3)]
    else:
        actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(fds)]

    def start(arguments: list[bytes]) -> int:
        return os.posix_spawnp(
            arguments[0],
            arguments,
            env,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=_CATCHABLE,
        )

    try:
        return start(argv)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    # A text without `#!` is a program of the shell, as shells themselves take it.
    return start([b"/bin/sh", *argv])


# Processes in general.


def children(pid: int) -> list[int]:
    """Return the direct children of the process `pid`, those of all its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(map(int, file.read().split()))
    except FileNotFoundError:
        if os.path.exists(f"/proc/{pid}") and not os.path.exists(f"/proc/{pid}/task/{pid}/children"):
            return [child for child, parent in parents() if parent == pid]
    except (ProcessLookupError, PermissionError):
        pass
    return found


def descendants(pid: int) -> list[int]:
    """Return all descendants of the process `pid`, parents before their children."""
    found = [pid]
    for each in found:
        found.extend(children(each))
    return found[1:]


def kill_tree(wakeup: Wakeup, spared: Iterable[int] = ()) -> list[tuple[int, int, resource.struct_rusage]]:
    """Kill all descendants of this process but the children `spared` and theirs; return what wait4 said of ours.

    What is seen is frozen first, so that nothing forks out of sight, then killed and reaped. Orphans fall to us, so
    it is done again until nothing is left.
    """
    ended: list[tuple[int, int, resource.struct_rusage]] = []
    own, safe = os.getpid(), frozenset(spared)
    while True:
        found: set[int] = set()
        for _ in range(_FREEZE_ROUNDS):
            roots = [pid for pid in children(own) if pid not in safe]
            fresh = [pid for root in roots for pid in (root, *descendants(root)) if pid not in found]
            if not fresh:
                break
            for pid in fresh:
                _signal(pid, _SIGSTOP)
            found.update(fresh)
        if not found:
            return ended
        for pid in found:
            _signal(pid, _SIGKILL)
        for pid in found.intersection(children(own)):
            with contextlib.suppress(ChildProcessError):
                result = os.wait4(pid, os.WNOHANG)
                while result[0] == 0 and wakeup.wait(_DEATH_SECONDS):
                    result = os.wait4(pid, os.WNOHANG)
                if result[0]:
                    ended.append(result)


def kill_session(leader: int) -> None:
    """Kill the members of the session that the process `leader` made: what is known of a tree without a keeper."""
    while members := [pid for pid in _pids() if pid != os.getpid() and _session(pid) == leader]:
        for pid in members:
            _signal(pid, _SIGKILL)


def _session(pid: int) -> int:
    """Return the session of a process that lives; 0 for one that has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, _, _, session = file.read().rpartition(b")")[2].split()[:4]
    except OSError:
        return 0
    return 0 if state in b"ZX" else int(session)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def parents() -> Iterator[tuple[int, int]]:
    """Yield (pid, parent) of every process, for kernels that keep no lists of children."""
    for pid in _pids():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
            yield pid, int(file.read().rpartition(b")")[2].split()[1])


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def become_reaper(name: bytes) -> None:
    """Adopt every descendant that loses its parent; on systems without prctl(2) only process groups are left."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_NAME, name)


def _prctl(option: int, value: int | bytes) -> None:
    if _LIBC is not None:
        _LIBC.prctl(option, value, 0, 0, 0)


if sys.platform == "linux":
    import ctypes

    _LIBC = ctypes.CDLL(None)
else:
    _LIBC = None

if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
