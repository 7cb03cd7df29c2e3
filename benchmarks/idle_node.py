"""Measures what a node costs that has nothing to do: `python -m benchmarks.idle_node [SECONDS]`.

It starts a service and a node on this machine, waits, and prints the memory of the node and its share of one processor,
its samples included. Memory is that of `/proc/PID/smaps_rollup`: resident, proportional (pages of libraries that other
processes use, too, count in part), and private.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from benchmarks.candidates import START_SECONDS

_PORT = 18_499
_SETTLE_SECONDS = 20.0
"""The start is not counted."""
_POLL_SECONDS = 0.2
"""Seconds between two looks at the service while it starts."""


def main() -> None:
    """Start, wait, and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    url = f"http://127.0.0.1:{_PORT}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "token").write_text("secret")
        for words in (
            ("serve", "--port", str(_PORT), "--data-dir", folder / "service", "--token-file", folder / "token"),
            ("join", url, "--token-file", folder / "token", "--name", "idle", "--state-dir", folder / "node"),
        ):
            command = [sys.executable, "-m", "smartmob", *map(str, words)]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            _wait_for(url)
        time.sleep(_SETTLE_SECONDS)
        before = _processor_seconds(process.pid)
        time.sleep(seconds)
        used = _processor_seconds(process.pid) - before
        for name, kib in _memory(process.pid).items():
            print(f"{name:<14}{kib / 1024:8.1f} MiB")
        print(f"{'processor':<14}{100 * used / seconds:8.2f} % of one, over {seconds:g} s")


def _wait_for(url: str) -> None:
    """Return when the service answers; raises TimeoutError."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
        except OSError:
            time.sleep(_POLL_SECONDS)
        else:
            return
    raise TimeoutError(f"the service did not answer within {START_SECONDS:g} seconds")


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> dict[str, int]:
    """Return resident, proportional and private memory in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    private = found["Private_Clean"] + found["Private_Dirty"]
    return {"resident": found["Rss"], "proportional": found["Pss"], "private": private}


if __name__ == "__main__":
    main()
