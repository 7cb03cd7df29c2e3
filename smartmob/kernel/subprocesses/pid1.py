"""Process 1, as which a container starts its command: the service becomes a child of it, and it does what 1 must do.

Whoever loses its parent falls to process 1, which has to reap it; signals reach it only if it asks for them; and when
it ends, the kernel kills everything else of its namespace. A process that only does this is a better 1 than a service
with children of its own, whose ends it must not take away from the loop that waits for them.
"""

from __future__ import annotations

import os
import signal

_HANDED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def become_init() -> None:
    """In process 1, go on as a child of it, while 1 itself stays behind and ends with the child; elsewhere, nothing."""
    if os.getpid() != 1:
        return
    # Blocked from before the fork on, so that none is lost: the kernel drops what 1 neither handles nor blocks.
    signal.pthread_sigmask(signal.SIG_BLOCK, (*_HANDED_ON, signal.SIGCHLD))
    child = os.fork()
    if child == 0:
        # A session of its own: CTRL-C on a container's terminal reaches 1 alone, and the service once.
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_HANDED_ON, signal.SIGCHLD))
        return
    os._exit(_look_after(child))


def _look_after(child: int) -> int:
    """Hand signals on and reap until `child` has ended; return its exit code, as a shell tells it."""
    while True:
        number = signal.sigwait((*_HANDED_ON, signal.SIGCHLD))
        if number != signal.SIGCHLD:
            # The terminal is ours and no longer the child's: that it closes means to stop.
            os.kill(child, signal.SIGTERM if number == signal.SIGHUP and on_terminal() else number)
        elif (code := _reap(child)) is not None:
            return code


def _reap(child: int) -> int | None:
    """Reap everything that has ended; return the exit code of `child` if it is among that."""
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
