"""The programs `smartmob`, `smartmob-agent` and `python` of `forked.py`:
they pass on what they were given, then signals, and end as the command ends."""

# A command that is started as installed needs no more than these.
import os
import sys

LONG = {"serve", "demo", "bench", "turret", "try-script", "report-host"}
"""Commands that are started as installed, since tests look at their processes, memory or open files."""

SERVED = "FORKED_PID"
"""The variable with the file that gets the id of the process of a forked service; without it none is forked."""


def attend(folder: str, kind: str) -> int:
    """Run a command and return its exit code, or the negative number of the signal that ended it."""
    import marshal
    import signal
    import socket

    line = socket.socket(socket.AF_UNIX)
    line.connect(f"{folder}/{kind}")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: line.send(bytes([number])))
    umask = os.umask(0)
    os.umask(umask)
    wanted = marshal.dumps((sys.argv, dict(os.environ), os.getcwd(), umask))
    socket.send_fds(line, [len(wanted).to_bytes(4, "big")], [0, 1, 2])
    line.sendall(wanted)
    status = int.from_bytes(line.recv(4), "big", signed=True)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def main() -> None:
    """Have the command forked, or start it as installed."""
    folder, name = os.path.split(os.path.abspath(__file__))
    kind = "service" if SERVED in os.environ else "commands"
    if name == "worker":
        kind, as_installed = "workers", False
    elif name == "python":
        kind, option = "python", "".join(sys.argv[1:2])
        as_installed = not option or (option.startswith("-") and option != "-m")
    else:
        as_installed = kind == "commands" and (name == "smartmob-agent" or not LONG.isdisjoint(sys.argv[1:2]))
    if as_installed:
        os.execv(f"{os.path.realpath(f'{folder}/installed')}/{name}", sys.argv)
    os._exit(attend(os.path.dirname(folder), kind))


if __name__ == "__main__":
    main()
