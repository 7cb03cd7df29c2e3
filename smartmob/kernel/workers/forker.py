"""The process that forks the workers: it has imported the whole service, and does nothing else.

A forked worker shares the memory of this process and starts in milliseconds. The service itself must not fork, because
it has threads and an event loop. The process reads orders from a socket. An order is one byte, the number of a worker,
with three descriptors: the worker's ends of its sockets for messages and for streams, and the socket on which it
listens. It reports each worker that was forked and each that has ended. At the end of file,
also after a kill of the service, it kills its workers and ends; when it is killed itself, the kernel kills them.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import struct
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from smartmob.kernel.subprocesses import process_tree

NAME = b"smartmob-fork"
"""The name of this process in `ps` and /proc/PID/comm; the names of workers end with their number."""

REPORT = struct.Struct("!BIi")
"""A report on a worker: its number, its process id, and its wait status, or `FORKED` when it begins."""
FORKED = -1
"""In place of a wait status, which is never negative."""

_DESCRIPTORS = 3  # of one order
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that a terminal or an init system sends to all processes of a service; the owner stops the workers."""

Work = Callable[[int, socket.socket, socket.socket, socket.socket], int]
"""Runs a worker with its number and its three sockets; returns the exit code."""


class Forker:
    """The socket to the process that forks workers."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.connection = connection

    def fork(self, number: int, sockets: Sequence[socket.socket]) -> None:
        """Order a new worker with these sockets, which the caller must close. Raises OSError."""
        socket.send_fds(self.connection, [bytes((number,))], [each.fileno() for each in sockets])

    def close(self) -> None:
        """End the process, which kills its workers, and wait for it."""
        self.connection.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def start(work: Work, close: Callable[[], None] = lambda: None) -> Forker:
    """Fork the process, whose workers call `work`; it calls `close` first. This process must have no threads yet."""
    ours, theirs = socket.socketpair()
    gc.freeze()  # so that a collection in a worker does not copy the shared memory
    pid = os.fork()
    if pid:
        theirs.close()
        return Forker(pid, ours)
    code = 1
    try:
        ours.close()
        close()
        code = _serve(theirs, work)
    finally:
        os._exit(code)


def _serve(orders: socket.socket, work: Work) -> int:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    process_tree.set_name(NAME)
    numbers: dict[int, int] = {}
    signal.signal(signal.SIGCHLD, lambda *_: _report(orders, numbers))
    while True:
        data, descriptors, _, _ = socket.recv_fds(orders, 1, _DESCRIPTORS)
        # An end that is reported before its number is known would be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
        if not data:
            _end(numbers)
            return 0
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
            orders.close()
            os._exit(_work(data[0], parent, work, descriptors))
        numbers[pid] = data[0]
        with suppress(OSError):
            orders.sendall(REPORT.pack(data[0], pid, FORKED))
        for descriptor in descriptors:
            os.close(descriptor)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))


def _work(number: int, parent: int, work: Work, descriptors: list[int]) -> int:
    process_tree.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it has died before the order to die with it
        return 1
    process_tree.set_name(f"smartmob-work{number}".encode())
    messages, streams, listening = (socket.socket(fileno=descriptor) for descriptor in descriptors)
    try:
        return work(number, messages, streams, listening)
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1


def _end(pids: Collection[int]) -> None:
    """Kill the workers that are left, and wait for them, so that no zombie is left behind."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _report(orders: socket.socket, numbers: dict[int, int]) -> None:
    """Write the number, the process id and the wait status of each worker that has ended."""
    with suppress(ChildProcessError, OSError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            orders.sendall(REPORT.pack(numbers.pop(pid, 0), pid, status))
