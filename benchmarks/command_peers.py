"""The programs to compare commands with, each in its own processes and environment, and their clients.

A program is run by the Python of its environment with the port of its server, does one benchmark and prints one line
of JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.candidates import START_SECONDS, CannotMeasure, say

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(__file__).resolve().parent / "command_programs"
REQUIREMENTS = {"conplyent": "conplyent==0.2.17", "rpyc": "rpyc==6.0.2", "execnet": "execnet==2.1.2"}
_SECONDS = 240.0


def python_of(peer: str) -> str:
    """Return the Python of a peer's environment; it is made the first time. Raises CannotMeasure."""
    if peer not in REQUIREMENTS:
        return sys.executable
    requirement = REQUIREMENTS[peer]
    name = hashlib.sha256(repr((requirement, sys.version)).encode()).hexdigest()[:12]
    folder = ROOT / ".cache" / "benchmarks" / f"{peer}-{name}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        say(f"Installing {requirement} into {folder.relative_to(ROOT)} (the first time only)")
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise CannotMeasure(f"{requirement} could not be installed: {done.stderr.strip()[-300:]}")
        (folder / "complete").touch()
    return str(python)


@contextmanager
def running(command: Sequence[str], log: Path, pattern: str) -> Iterator[tuple[int, int]]:
    """Run a server until the block ends; give its process id and the port that it prints."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env={k: v for k, v in os.environ.items() if not k.startswith("SMARTMOB_") and k != "DATABASE_URL"},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while (found := re.search(pattern, log.read_text(errors="replace"))) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotMeasure(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-1000:]}")
            time.sleep(0.02)
        yield process.pid, int(found[1])
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def server(peer: str, folder: Path) -> Iterator[tuple[int, int]]:
    """Run a peer's server with its defaults; give its process id and its port."""
    log = folder / f"{peer}.log"
    if peer == "smartmob":
        program = str(Path(sysconfig.get_path("scripts")) / "smartmob")
        command = [program, "serve", "--port", "0", "--data-dir", str(folder / "data")]
        with running(command, log, r"event=bind transport=tcp .*port=(\d+)") as found:
            yield found
    elif peer == "execnet":
        yield os.getpid(), 0  # its server is a child of the program that asks
    else:
        with running([python_of(peer), str(PROGRAMS / f"{peer}_server.py")], log, r"port=(\d+)") as found:
            yield found


def ask(peer: str, port: int, *words: str, program: str | None = None) -> dict[str, Any]:
    """Return the results that a peer's program prints for one benchmark; raises CannotMeasure."""
    command = [python_of(peer), str(PROGRAMS / f"{program or peer}_client.py"), str(port), *words]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CannotMeasure(f"{peer} {' '.join(words)}: no end within {_SECONDS:g} s") from None
    if done.returncode:
        raise CannotMeasure(f"{peer} {' '.join(words)} ended with {done.returncode}:\n{done.stderr[-1500:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its children; PostgreSQL, which is no child of it, is left out."""
    main = psutil.Process(pid)
    spent = [process.cpu_times() for process in (main, *main.children(recursive=True))]
    return sum(times.user + times.system for times in spent)
