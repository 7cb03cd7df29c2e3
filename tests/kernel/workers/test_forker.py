"""The process that forks workers."""

from __future__ import annotations

import os
import signal
import socket

import psutil
import pytest

from smartmob.kernel.workers import forker
from smartmob.kernel.workers.forker import FORKED, REPORT


def _work(number: int, messages: socket.socket, streams: socket.socket, listening: socket.socket) -> int:
    """Tell who this is, then wait for an exit code."""
    messages.sendall(os.getpid().to_bytes(4, "big"))
    return messages.recv(1)[0] + number


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_workers_are_forked_on_order_and_their_ends_are_told() -> None:
    """The report has the number, the process and the wait status; the end of the owner's socket ends all."""
    closed = socket.socket()
    made = forker.start(_work, closed.close)
    workers = []
    for number in (1, 2, 1):
        ours, theirs = socket.socketpair()
        with theirs:
            made.fork(number, (theirs, theirs, closed))
        workers.append((number, ours, int.from_bytes(ours.recv(4), "big")))
    closed.close()

    assert [_report(made.connection) for _ in workers] == [(number, pid, FORKED) for number, _, pid in workers]
    _, ours, pid = workers[0]
    ours.sendall(b"\x03")
    assert _report(made.connection) == (1, pid, 4 << 8)
    os.kill(workers[1][2], signal.SIGKILL)
    assert _report(made.connection) == (2, workers[1][2], signal.SIGKILL)
    made.close()
    assert workers[2][1].recv(1) == b""  # the kernel has closed the sockets of the last one
    assert not psutil.pid_exists(workers[2][2])  # and nothing of it is left for another process to reap
    for _, ours, _ in workers:
        ours.close()


def _report(connection: socket.socket) -> tuple[int, int, int]:
    data = b""
    while len(data) < REPORT.size:
        data += connection.recv(REPORT.size - len(data))
    number, pid, status = REPORT.unpack(data)
    return number, pid, status
