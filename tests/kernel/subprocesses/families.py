"""A process family that ignores signals, for the tests of the process tree guarantee."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil

from tests.waiting import until

FAMILY = """
import os, signal, sys, time

def live(kind):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with open(sys.argv[1], "a") as file:
        file.write(f"{kind} {os.getpid()}\\n")
    while True:
        time.sleep(60)

if os.fork() == 0:
    live("grandchild")
if os.fork() == 0:
    os.setsid()
    live("session")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        live("daemon")
    os._exit(0)
os.wait()
live("child")
"""
"""A program that starts a grandchild, one in its own session, and a daemon, and writes all four ids to argv[1]."""

_MEMBERS = 4


async def family(file: Path) -> list[int]:
    """Wait until all processes of a family run, and return their ids."""
    await until(lambda: file.exists() and file.read_text().count("\n") == _MEMBERS)
    return [int(line.split()[1]) for line in file.read_text().splitlines()]


def living(pids: Iterable[int]) -> list[int]:
    """Return the processes that have not ended; zombies have ended."""
    found = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                found.append(pid)
        except psutil.NoSuchProcess:
            continue
    return found
