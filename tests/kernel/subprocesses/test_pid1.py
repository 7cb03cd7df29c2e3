"""`become_init` in a process that is not process 1; tests/acceptance/test_first_process.py tests process 1."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

from smartmob.kernel.subprocesses import pid1

_ASK = "import os, sys; sys.argv[1:] and os.open(sys.argv[1], os.O_RDWR); "
_ASK += "from smartmob.kernel.subprocesses import pid1; print(pid1.on_terminal())"


def test_a_process_other_than_1_does_not_fork() -> None:
    """No signal is blocked there."""
    pid, before = os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, ())

    pid1.become_init()

    assert (os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, ())) == (pid, before)


def test_a_new_session_has_a_terminal_once_it_has_opened_one() -> None:
    """Before that it has none."""
    there, here = pty.openpty()

    def asked(*words: str) -> str:
        command = [sys.executable, "-c", _ASK, *words]
        return subprocess.run(command, start_new_session=True, capture_output=True, text=True, check=True).stdout

    assert asked() == "False\n"
    assert asked(os.ttyname(here)) == "True\n"
    os.close(there)
    os.close(here)
