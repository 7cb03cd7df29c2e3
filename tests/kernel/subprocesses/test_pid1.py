"""Process 1: what it does in any other process; the rest stands in tests/acceptance/test_first_process.py."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

from smartmob.kernel.subprocesses import pid1

_ASK = "import os, sys; sys.argv[1:] and os.open(sys.argv[1], os.O_RDWR); "
_ASK += "from smartmob.kernel import first; print(first.on_terminal())"


def test_another_process_stays_what_it_is() -> None:
    """Only process 1 steps aside: nobody forks, and no signal is blocked."""
    pid, before = os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, ())

    pid1.become_init()

    assert (os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, ())) == (pid, before)


def test_the_terminal() -> None:
    """A process of a new session has one once it has opened one."""
    there, here = pty.openpty()

    def asked(*words: str) -> str:
        command = [sys.executable, "-c", _ASK, *words]
        return subprocess.run(command, start_new_session=True, capture_output=True, text=True, check=True).stdout

    assert asked() == "False\n"
    assert asked(os.ttyname(here)) == "True\n"
    os.close(there)
    os.close(here)
