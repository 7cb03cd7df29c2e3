"""Process 1 of a container: it starts the service as its child, passes signals on, and reaps orphans.

A process whose parent ends becomes a child of process 1, which must reap it. Signals reach process 1 only if it handles
them, and when it ends, the kernel kills all processes of its namespace. The service has children of its own, whose ends
only its event loop may collect, so process 1 is a process that does nothing else.
"""

from __future__ import annotations

import os
import signal

_FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def become_init() -> None:
    """In process 1, fork: the child returns, and process 1 serves it until it ends. Elsewhere, do nothing."""
    if os.getpid() != 1:
        return
    # Block the signals before the fork, so that none is lost: the kernel drops signals that process 1 neither handles
    # nor blocks.
    signal.pthread_sigmask(signal.SIG_BLOCK, (*_FORWARDED, signal.SIGCHLD))
    child = os.fork()
    if child == 0:
        # In its own session, the service gets CTRL-C of a container's terminal only once: from process 1.
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_FORWARDED, signal.SIGCHLD))
        return
    os._exit(_run_init(child))


def _run_init(child: int) -> int:
    """Forward signals and reap until `child` has ended; return its exit code, 128 + N after signal N."""
    while True:
        number = signal.sigwait((*_FORWARDED, signal.SIGCHLD))
        if number != signal.SIGCHLD:
            # Now only process 1 has the terminal. When the terminal closes, the service must stop.
            os.kill(child, signal.SIGTERM if number == signal.SIGHUP and on_terminal() else number)
        elif (code := _reap(child)) is not None:
            return code


def _reap(child: int) -> int | None:
    """Reap all ended processes; return the exit code of `child` if it is one of them, else None."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended


def on_terminal() -> bool:
    """Return whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY))
    except OSError:
        return False
    return True
