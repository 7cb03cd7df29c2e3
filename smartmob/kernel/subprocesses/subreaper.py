"""A subreaper: the process above some of the children, which starts them and ends each with all its descendants.

The watchdog forks it. The kernel makes a descendant that loses its parent a child of it (PR_SET_CHILD_SUBREAPER,
prctl(2)). The tag and the session of such an orphan tell to which child it belongs. The service holds one end of a
control socket for each child.

Messages, in ASCII. Numbers in text are decimal, times are in seconds, MAXRSS is in kilobytes, STATUS is as in
`subprocess`: the exit status or the negative number of a signal.

| Socket | From | Message | Meaning |
|---|---|---|---|
| own | service | `S` with four descriptors (SCM_RIGHTS): control, stdin, stdout, stderr | take a new child |
| own | service | end of file | end as soon as no child is left |
| control | service | first: 4 bytes length (big endian), then the specification | start the program |
| control | service | `signal N`, one line | send signal N to the process group; after `exited`, to the orphans |
| control | service | `kill`, one line | kill the program and all its descendants |
| control | service | end of file | the same as `kill` |
| control | subreaper | `started PID SUBREAPER`, one line | the program runs; both are process ids |
| control | subreaper | `failed ERRNO WHAT`, one line | `folder`, `group` or `program` cannot be used; nothing follows |
| control | subreaper | `exited STATUS USER SYSTEM MAXRSS`, one line | the program has ended |
| control | subreaper | `gone`, one line | no descendant is left; nothing follows |
| (signal) | kernel | SIGTERM, by PR_SET_PDEATHSIG | the watchdog has died: kill all children and end |

The fields of a specification end with NUL: the folder, the path of a terminal or nothing, the folder of the program's
control group and that of the subreaper's or nothing, the number of arguments, the arguments, and the environment as
NAME=value.
"""

from __future__ import annotations

import _socket
import errno
import gc
import os
import resource
import select
import sys

from smartmob.kernel.subprocesses import process_tag, process_tree
from smartmob.kernel.subprocesses.process_tree import Suppressed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # the part that is in C: `signal` makes enumerations of its numbers

LONGEST_SPEC_BYTES = 8 * 1024 * 1024
"""The longest specification. Linux takes at most 6 MiB of arguments and environment (execve(2))."""

_PROCS = b"/cgroup.procs"
"""The file to which a process writes to enter a control group, cgroups(7)."""

_FDS_COUNT = 4  # control, stdin, stdout, stderr
_LONGEST_ORDER_BYTES = 1024
_READ_BYTES = 64 * 1024
_REAPED_AT_ONCE_COUNT = 256  # processes, after which sockets are read again
_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 20, 640  # until killed processes that still run are killed again

_CLOEXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
_CATCHABLE = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def run_subreaper(service: int, watchdog: int, tags: process_tag.ProcessTags) -> None:
    """Run a subreaper until it has to end, kill its children, and end this process; never returns.

    `service` is the descriptor of its socket, and `watchdog` the process id of its parent.
    """
    try:
        os.setsid()
        process_tree.become_subreaper(process_tree.SUBREAPER)
        subreaper = _SubreaperProcess(_socket.socket(fileno=service), watchdog, process_tree.Wakeup(), tags)
        process_tree.die_with_parent()
        # The objects from before the fork are frozen (see `watchdog.main`); new ones may need the collector.
        gc.enable()
        subreaper.run()
        subreaper.kill_children()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


class _ManagedChild:
    """A child with its control socket. `pid` is 0 until the program is started, `report` is the unsent `exited`."""

    __slots__ = ("alive", "control", "fds", "killing", "pid", "received", "report", "tag")

    def __init__(self, control: int, fds: list[int]) -> None:
        self.control = control
        self.fds = fds
        self.pid = 0
        self.tag = 0
        self.alive = False
        self.killing = False
        self.received = bytearray()
        self.report = ""

    def send(self, text: str) -> None:
        """Send text to the service, if it is still there."""
        with Suppressed(OSError):
            os.write(self.control, text.encode())

    def close(self) -> None:
        """Close the descriptors for the program, and the control socket."""
        self.close_inherited()
        os.close(self.control)

    def close_inherited(self) -> None:
        """Close the descriptors that the program has inherited."""
        while self.fds:
            os.close(self.fds.pop())


class _SubreaperProcess:
    """The state of the subreaper process."""

    def __init__(
        self, service: _socket.socket, watchdog: int, wakeup: process_tree.Wakeup, tags: process_tag.ProcessTags
    ) -> None:
        self._service = service
        self._watchdog = watchdog
        self._wakeup = wakeup
        self._tags = tags
        self._tags_supported = tags.supported()
        self._children: dict[int, _ManagedChild] = {}  # by control socket
        self._running: dict[int, _ManagedChild] = {}  # by process id of the program
        self._orphan_owners: dict[int, _ManagedChild | None] = {}  # by process id of the orphan
        self._dismissed = False
        self._pause_ms = _FIRST_PAUSE_MS
        self._poll = select.poll()
        self._poll.register(service, select.POLLIN)
        self._poll.register(wakeup, select.POLLIN)

    def run(self) -> None:
        """Serve until all children must end, or no child is left and the service sends no more."""
        reaped_all = True
        # SIGTERM reports the death of the watchdog. It does not arrive if the watchdog died before PR_SET_PDEATHSIG was
        # set, and its byte is lost if the wake-up pipe is full of SIGCHLD, so the parent is checked as well.
        while os.getppid() == self._watchdog:
            ready = {found for found, _ in self._poll.poll(self._next_pause_ms() if reaped_all else 0)}
            if self._wakeup.fileno() in ready:
                self._pause_ms = _FIRST_PAUSE_MS
                if process_tree.SIGTERM in self._wakeup.drain():
                    return
            for fd in ready.intersection(self._children):
                self._read_orders(self._children[fd])
            if self._service.fileno() in ready and not self._accept():
                # If the service is gone, each control socket also reports its end of file.
                self._poll.unregister(self._service)
                self._dismissed = True
            reaped_all = self._reap()
            self._report_and_kill()
            if self._dismissed and not self._children:
                return

    def kill_children(self) -> None:
        """Kill all children, and send `exited` and `gone` for each."""
        for ended in process_tree.kill_all(self._wakeup):
            self._handle_ended(*ended)
        for child in self._children.values():
            if child.pid:  # for one that was not started yet, the service reads the end of file
                child.send(f"{child.report}gone\n")

    def _next_pause_ms(self) -> int | None:
        """Return the milliseconds until the next attempt to kill, or None if nothing is to be killed."""
        if not any(child.killing for child in self._children.values()):
            return None
        pause, self._pause_ms = self._pause_ms, min(2 * self._pause_ms, _LONGEST_PAUSE_MS)
        return pause

    def _accept(self) -> bool:
        """Receive a new child from the service; return False at the end of file."""
        word, fds = receive(self._service, _FDS_COUNT)
        if len(fds) == _FDS_COUNT:
            child = _ManagedChild(fds[0], fds[1:])
            os.set_blocking(child.control, False)
            self._children[child.control] = child
            self._poll.register(child.control, select.POLLIN)
            self._read_orders(child)  # its specification is usually there already
        else:
            for fd in fds:
                os.close(fd)
        return word != b""

    def _read_orders(self, child: _ManagedChild) -> None:
        """Read the control socket of a child, and carry out its orders."""
        try:
            data = os.read(child.control, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._poll.unregister(child.control)
            child.killing = True
            return
        child.received += data
        try:
            self._handle_received(child)
        except Exception as error:
            # A message that cannot be understood or carried out must not harm the other children.
            sys.excepthook(type(error), error, None)
            child.received.clear()
            if not child.pid:
                self._refuse(child, errno.EINVAL)

    def _handle_received(self, child: _ManagedChild) -> None:
        """Start the program, or carry out the orders in the buffer; raises any exception for a malformed message."""
        if child.pid or self._start(child):
            *orders, child.received = child.received.split(b"\n")
            if len(child.received) > _LONGEST_ORDER_BYTES:
                child.received.clear()
            for order in orders:
                with Suppressed(ValueError, OverflowError, OSError):
                    self._carry_out(child, bytes(order))

    def _refuse(self, child: _ManagedChild, number: int, what: str = "program") -> None:
        """Report that the program cannot be started, and why."""
        child.send(f"failed {number} {what}\n")
        self._forget(child)

    def _start(self, child: _ManagedChild) -> bool:
        """Start the program once its whole specification has arrived; return whether it runs."""
        size = 4 + int.from_bytes(child.received[:4], "big")
        if size > LONGEST_SPEC_BYTES + 4:
            self._refuse(child, errno.E2BIG)
            return False
        if len(child.received) < max(size, 5):
            return False
        data, child.received = bytes(child.received[4:size]), child.received[size:]
        folder, terminal, group, home, count, *rest = data.split(b"\0")[:-1]
        argv, variables = rest[: int(count)], rest[int(count) :]
        child.tag = process_tag.lowest_free(other.tag for other in self._children.values())
        try:
            os.chdir(folder)
            with Suppressed(OSError, ValueError):
                self._tags.apply(child.tag)
            env = dict(variable.split(b"=", 1) for variable in variables)
            if group:
                _enter(group)
            try:
                child.pid = _spawn(argv, env, terminal, child.fds)
            finally:
                if group:
                    _enter(home)
        except OSError as error:
            where = {folder: "folder", group + _PROCS: "group", home + _PROCS: "group"}.get(error.filename, "program")
            self._refuse(child, error.errno or errno.EINVAL, where)
            return False
        finally:
            os.chdir("/")
        child.alive = True
        self._running[child.pid] = child
        child.send(f"started {child.pid} {os.getpid()}\n")
        child.close_inherited()
        return True

    def _carry_out(self, child: _ManagedChild, order: bytes) -> None:
        """Carry out one line of orders."""
        if order == b"kill":
            child.killing = True
        elif order.startswith(b"signal "):
            number = int(order[7:])
            if child.alive:
                with Suppressed(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, number)
            else:
                for root in self._roots(child):
                    for pid in (root, *process_tree.descendants(root)):
                        process_tree.send(pid, number)

    def _reap(self) -> bool:
        """Reap ended children of this process; return whether all of them were reaped, or only the most at once."""
        for _ in range(_REAPED_AT_ONCE_COUNT):
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return True
            self._handle_ended(pid, status, usage)
        return False

    def _handle_ended(self, pid: int, status: int, usage: resource.struct_rusage) -> None:
        """Record the end of a program or an orphan that was reaped."""
        self._orphan_owners.pop(pid, None)
        child = self._running.pop(pid, None)
        if child is not None:
            child.alive = False
            code = os.waitstatus_to_exitcode(status)
            child.report = f"exited {code} {usage.ru_utime} {usage.ru_stime} {usage.ru_maxrss}\n"

    def _report_and_kill(self) -> None:
        """Report the children that have ended, and kill those that must end and still run."""
        for child in [child for child in self._children.values() if child.killing or (child.pid and not child.alive)]:
            if not self._roots(child):
                child.send(f"{child.report}gone\n")
                self._forget(child)
                continue
            if child.report:
                child.send(child.report)
                child.report = ""
            if child.killing:
                self._kill(child)

    def _kill(self, child: _ManagedChild) -> None:
        process_tree.kill(lambda: self._roots(child))

    def _forget(self, child: _ManagedChild) -> None:
        with Suppressed(KeyError):
            self._poll.unregister(child.control)
        del self._children[child.control]
        child.close()

    def _roots(self, child: _ManagedChild) -> list[int]:
        """Return the children of this process that belong to a child: its program, if that runs, and its orphans."""
        orphans = [pid for pid in process_tree.children(os.getpid()) if pid not in self._running]
        found = [pid for pid in orphans if self._owner(pid) is child]
        return [child.pid, *found] if child.alive else found

    def _owner(self, orphan: int) -> _ManagedChild | None:
        """Return the child to which an orphan belongs; None if it has the tag and the session of none."""
        if not self._tags_supported:
            return next(iter(self._children.values()), None)  # in this case a subreaper has at most one child
        if orphan not in self._orphan_owners:
            tag, session = self._tags.of(orphan), process_tree.session(orphan)
            same_tag = (child for child in self._children.values() if child.pid and tag == child.tag)
            same_session = (child for child in self._children.values() if child.pid and session == child.pid)
            self._orphan_owners[orphan] = next(same_tag, None) or next(same_session, None)
        return self._orphan_owners[orphan]


def receive(connection: _socket.socket, most: int) -> tuple[bytes, list[int]]:
    """Return the next byte on the socket, which is empty at the end of file, and at most `most` descriptors with it.

    Like socket.recv_fds, which ignores its flags in Python 3.11, so that every started program would inherit them.
    """
    try:
        word, ancillary, _, _ = connection.recvmsg(1, _socket.CMSG_SPACE(most * 4), _CLOEXEC)
    except OSError:
        return b"", []
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            whole = range(0, len(data) - len(data) % 4, 4)
            return word, [int.from_bytes(data[at : at + 4], sys.byteorder) for at in whole]
    return word, []


def _enter(group: bytes) -> None:
    """Move this process into a control group, which the programs that it starts inherit."""
    with open(group + _PROCS, "wb", buffering=0) as file:
        file.write(b"0")  # the process that writes


def _spawn(argv: list[bytes], env: dict[bytes, bytes], terminal: bytes, fds: list[int]) -> int:
    """Start a program in a session of its own, and return its process id; raises OSError."""
    # posix_spawnp searches a program without a slash in the PATH of this process: set it to that of the program.
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
    # A file without `#!` is executed by the shell, as execvp(3) does it.
    return start([b"/bin/sh", *argv])
