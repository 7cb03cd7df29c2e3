"""The watchdog: the small program above all children, which kills them when the service is gone.

The service starts it first, as a program of its own (`START`). It forks *subreapers*; each starts some of the children
and ends them. It imports only what it needs, so that a fork copies little memory: `socket` alone would cost
a megabyte.

| Process | Watches | By | And then |
|---|---|---|---|
| watchdog | the service | the end of file on its socket | kills all subreapers and children, and ends |
| watchdog | its subreapers | SIGCHLD | is itself a sub-reaper: kills what a killed subreaper has left |
| subreaper | the service | the end of file on its sockets | kills its children, and ends |
| subreaper | the watchdog | PR_SET_PDEATHSIG, prctl(2) | kills its children, and ends |

Messages on the socket between service and watchdog, in ASCII:

| From | Message | Meaning |
|---|---|---|
| service | `K` with the descriptor of a socket (SCM_RIGHTS) | fork a subreaper that serves this socket |
| service | `B` and a process id (4 bytes, big endian) | kill what this killed subreaper has left, then answer |
| watchdog | `b` | the answer to the oldest `B`: nothing is left |
| service | end of file | kill everything and end |
"""

from __future__ import annotations

import _socket
import gc
import os
import resource
import select
import sys

from smartmob.kernel.subprocesses import process_tree
from smartmob.kernel.subprocesses.process_tag import ProcessTags
from smartmob.kernel.subprocesses.subreaper import receive, run_subreaper

START = "import sys; sys.path.append(sys.argv[1]); from smartmob.kernel.subprocesses.watchdog import main; main()"
"""The code for `python -I -S -c` (isolated and without site-packages).

Its arguments are the folder that has the package `smartmob`, the descriptor of the socket, and the number of files that
a child may have open.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # the part that is in C: `signal` makes enumerations of its numbers

_SUBREAPERS_END_SECONDS = 0.25  # after which subreapers that still run are killed


def main() -> None:
    """Serve the inherited socket until the service is gone, then kill everything below this process.

    Children get the limit of open files that the service was started with. The service has raised its own limit, but a
    program that uses select(2) overwrites its memory when a descriptor is above 1,023.
    """
    fd, open_files = map(int, sys.argv[2:])
    os.setsid()
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    process_tree.become_subreaper(process_tree.WATCHDOG)
    # Subreapers inherit the handlers: objects that are made before the fork costs them no memory.
    for number in (signal.SIGCHLD, process_tree.SIGTERM):
        signal.signal(number, lambda *_: None)
    watchdog = _ProcessWatchdog(_socket.socket(fileno=fd), process_tree.Wakeup(), ProcessTags())
    # The collector writes into objects, so that a forked process has to copy their pages: keep it away from these.
    gc.disable()
    gc.freeze()
    watchdog.run()


class _ProcessWatchdog:
    """The state of the watchdog of one service."""

    def __init__(self, service: _socket.socket, wakeup: process_tree.Wakeup, tags: ProcessTags) -> None:
        self._service = service
        self._wakeup = wakeup
        self._tags = tags
        self._subreapers: set[int] = set()

    def run(self) -> None:
        """Serve until the service is gone, and kill everything."""
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
        self._kill_everything()

    def _serve(self) -> bool:
        """Carry out one message of the service; return False at the end of file."""
        word, fds = receive(self._service, 1)
        try:
            if word == b"K":
                while fds:
                    self._fork(fds.pop())
            elif word == b"B":
                self._reap_killed(int.from_bytes(self._service.recv(4, _socket.MSG_WAITALL), "big"))
                self._service.sendall(b"b")
        except OSError as error:
            # If no subreaper can be forked, the service reads the end of file; the other subreapers go on.
            sys.excepthook(type(error), error, None)
        finally:
            for fd in fds:
                os.close(fd)
        return word != b""

    def _fork(self, fd: int) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            os.close(fd)
            raise
        if pid == 0:
            self._service.close()
            self._wakeup.close()
            run_subreaper(fd, parent, self._tags)
        self._subreapers.add(pid)
        os.close(fd)

    def _reap(self) -> None:
        """Reap ended subreapers, and kill what the killed ones have left, which are now children of this process."""
        killed = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._subreapers:
                self._subreapers.discard(pid)
                killed = killed or os.WIFSIGNALED(status)
        if killed:
            process_tree.kill_all(self._wakeup, self._subreapers)

    def _reap_killed(self, subreaper: int) -> None:
        """Wait for the end of a subreaper whose sockets were closed, and kill what it has left."""
        if subreaper in self._subreapers:
            self._subreapers.discard(subreaper)
            os.waitpid(subreaper, 0)
            process_tree.kill_all(self._wakeup, self._subreapers)

    def _kill_everything(self) -> None:
        """Give subreapers a moment to end themselves and their children, then kill everything that is left."""
        for pid in self._subreapers:
            process_tree.send(pid, signal.SIGCONT)
            process_tree.send(pid, process_tree.SIGTERM)
        self._reap()
        while self._subreapers and self._wakeup.wait(_SUBREAPERS_END_SECONDS):
            self._reap()
        process_tree.kill_all(self._wakeup)
