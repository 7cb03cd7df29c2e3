"""The programs `smartmob` and `smartmob-agent` of `forked.py`:
they pass on what they were given, then signals, and end as the command ends."""

# ruff: noqa: E402 - a command that is started as installed needs no more than these
import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
LONG = {"serve", "demo", "bench", "turret", "try-script", "report-host"}
"""Commands that are started as installed, since tests look at their processes, memory or open files."""

SERVED = "FORKED_PID"
"""The variable with the file that gets the id of the process of a forked service; without it none is forked."""

KIND = "service" if SERVED in os.environ else "commands"
NAME = os.path.basename(sys.argv[0])
if KIND == "commands" and (NAME == "smartmob-agent" or not LONG.isdisjoint(sys.argv[1:2])):
    os.execv(f"{FOLDER}/installed/{NAME}", sys.argv)

import marshal
import signal
import socket


def main() -> int:
    """Run a command and return its exit code, or the negative number of the signal that ended it."""
    line = socket.socket(socket.AF_UNIX)
    line.connect(f"{os.path.dirname(FOLDER)}/{KIND}")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: line.send(bytes([number])))
    umask = os.umask(0)
    os.umask(umask)
    wanted = marshal.dumps((sys.argv, dict(os.environ), os.getcwd(), umask))
    socket.send_fds(line, [len(wanted).to_bytes(4, "big")], [0, 1, 2])
    line.sendall(wanted)
    return int.from_bytes(line.recv(4), "big", signed=True)


status = main()
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
