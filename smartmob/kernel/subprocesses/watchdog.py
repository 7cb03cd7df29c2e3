"""The guardian: the small program above all children, which ends them when the service is gone.

It is started first, as a program of its own (`START`), and imports only what it needs, because it forks and what it has
not in memory need not be copied. It forks *keepers*, each of which starts some of the children and ends them.

Who watches whom: a keeper its service (by the end of file on its sockets) and the guardian (by PR_SET_PDEATHSIG); the
guardian its service (by the end of file on its socket), and its keepers: it is a sub-reaper as they are, and kills what
a killed keeper leaves.

Words on the socket, in ASCII, from the service: `K` with the file descriptor of a keeper's socket (SCM_RIGHTS): fork a
keeper; `B` and a pid (4 bytes, big endian): answer `b` once nothing is left of that killed keeper and its trees.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import socket
import sys

from smartmob.kernel.subprocesses import process_tree
from smartmob.kernel.subprocesses.process_tag import ProcessTags
from smartmob.kernel.subprocesses.subreaper import keep, receive

START = "import sys; sys.path.append(sys.argv[1]); from smartmob.kernel.subprocesses.watchdog import main; main()"
"""What Python is to run, isolated (`-I`) and without site-packages (`-S`). Arguments: the folder that has the package
`smartmob`, the descriptor of the service's socket, how many files a child may have open."""

_KEEPERS_SECONDS = 0.25


def main() -> None:
    """Serve on the inherited socket until the service is gone, and leave nothing behind.

    Children may have so many files open at once as the service had. It has raised that limit for itself, but a program
    that uses select(2) writes where it should not when a descriptor is beyond 1,023.
    """
    fd, open_files = map(int, sys.argv[2:])
    os.setsid()
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    process_tree.become_reaper(process_tree.GUARDIAN)
    # A keeper inherits the handlers: what it does not do itself, after the fork, costs it no memory.
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    guardian = _Watchdog(socket.socket(fileno=fd), process_tree.Wakeup(), ProcessTags())
    # What the collector never touches is never copied by a fork.
    gc.disable()
    gc.freeze()
    guardian.run()


class _Watchdog:
    """The guardian of one service."""

    def __init__(self, service: socket.socket, wakeup: process_tree.Wakeup, brands: ProcessTags) -> None:
        self._service = service
        self._wakeup = wakeup
        self._brands = brands
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
        word, fds = receive(self._service, 1)
        try:
            if word == b"K":
                while fds:
                    self._fork(fds.pop())
            elif word == b"B":
                self._bury(int.from_bytes(self._service.recv(4, socket.MSG_WAITALL), "big"))
                self._service.sendall(b"b")
        except OSError as error:
            # Of a keeper that cannot be forked the end of file tells; those that there are go on.
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
            keep(fd, parent, self._brands)
        self._keepers.add(pid)
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
            process_tree.kill_all(self._wakeup, self._keepers)

    def _bury(self, keeper: int) -> None:
        """Wait for the end of a keeper that has closed its sockets, and kill what it leaves."""
        if keeper in self._keepers:
            self._keepers.discard(keeper)
            os.waitpid(keeper, 0)
            process_tree.kill_all(self._wakeup, self._keepers)

    def _end(self) -> None:
        """Leave nothing behind: keepers saw the same end of file; one that cannot act is killed, with its trees."""
        for pid in self._keepers:
            process_tree.send(pid, signal.SIGCONT)
            process_tree.send(pid, process_tree.SIGTERM)
        self._reap()
        while self._keepers and self._wakeup.wait(_KEEPERS_SECONDS):
            self._reap()
        process_tree.kill_all(self._wakeup)
