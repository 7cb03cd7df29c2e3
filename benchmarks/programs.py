"""The programs that the process managers run, and how they report their own measurements to the benchmark.

A program reports that it runs by a line with its process id in a FIFO, the gate. So the benchmark does not depend on
the reports of managers, polls nothing, and measures all managers in the same way. Programs that write much count their
lines in a file that is mapped into memory.
"""

from __future__ import annotations

import io
import os
import select
import shlex
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.candidates import CannotMeasure

LINE_BYTES = 100
STEADY_LINES = 1_000
_TIMEOUT_SECONDS = 60.0

# The shell is the program that starts fastest. It reads from a FIFO without a writer, so it never ends by itself.
_IDLE = """\
echo $$ > "$BENCH_FOLDER/gate"
echo "up $$"
read never < "$BENCH_FOLDER/never"
"""
_COUNTED = f"""\
import mmap, os, time
folder, pid = os.environ["BENCH_FOLDER"], os.getpid()
with open(f"{{folder}}/count-{{pid}}", "w+b") as file:
    file.truncate(8)
    count = mmap.mmap(file.fileno(), 8)
line = b"x" * {LINE_BYTES - 1} + b"\\n"
with open(f"{{folder}}/gate", "w") as gate:
    gate.write(f"{{pid}}\\n")
written = 0
"""
_FLOOD = f"""\
{_COUNTED}
block = line * 655
while True:
    os.write(1, block)
    written += 655
    count[:] = written.to_bytes(8, "little")
"""
_FLOOD_LINES = f"""\
{_COUNTED}
while True:
    os.write(1, line)
    written += 1
    count[:] = written.to_bytes(8, "little")
"""
_STEADY = f"""\
{_COUNTED}
due = time.monotonic()
while True:
    os.write(1, line)
    written += 1
    count[:] = written.to_bytes(8, "little")
    due += {1 / STEADY_LINES}
    time.sleep(max(0.0, due - time.monotonic()))
"""
# The parent, a child of it, one in a session of its own, and one that forked twice.
_TREE = """\
import os, signal
gate = f"{os.environ['BENCH_FOLDER']}/gate"

def stay():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with open(gate, "w") as file:
        file.write(f"{os.getpid()}\\n")
    while True:
        signal.pause()

if os.fork() == 0:
    stay()
if os.fork() == 0:
    os.setsid()
    stay()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        stay()
    os._exit(0)
stay()
"""
TREE_SIZE = 4

_SOURCES = {
    "idle": ("idle.sh", _IDLE),
    "flood": ("flood.py", _FLOOD),
    "floodlines": ("floodlines.py", _FLOOD_LINES),
    "steady": ("steady.py", _STEADY),
    "tree": ("tree.py", _TREE),
}


def write(folder: Path) -> dict[str, str]:
    """Write the programs into a folder; return their commands, to be run anywhere."""
    for name, text in _SOURCES.values():
        (folder / name).write_text(text)
    return {kind: _command(str(folder / name)) for kind, (name, _) in _SOURCES.items()}


def archive(kind: str) -> bytes:
    """Return an archive with one program and a Procfile."""
    name, text = _SOURCES[kind]
    procfile = f"{kind}: {_command(name)}\n"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, content in ((name, text), ("Procfile", procfile)):
            data = content.encode()
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def size(kind: str) -> int:
    """Return how many processes one program of this kind is."""
    return TREE_SIZE if kind == "tree" else 1


def _command(path: str) -> str:
    program = ("/bin/sh",) if path.endswith(".sh") else (sys.executable, "-I", "-S")
    return shlex.join((*program, path))


@dataclass(frozen=True, slots=True)
class Gate:
    """The folder with the gate. `variables` are what the programs need to find it."""

    folder: Path
    fd: int

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment that the programs need."""
        return {"BENCH_FOLDER": str(self.folder)}

    def wait(self, number: int) -> list[int]:
        """Return the process ids of the next `number` programs that run; raises CannotMeasure after a while."""
        started: list[bytes] = []
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while len(started) < number:
            if not select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise CannotMeasure(f"{len(started)} of {number} programs ran after {_TIMEOUT_SECONDS:g} s")
            started += os.read(self.fd, 65536).split()  # a line comes whole: it is shorter than a pipe's atomic write
        return [int(line) for line in started]

    def written(self) -> int:
        """Return how many lines all programs together have written."""
        return sum(int.from_bytes(path.read_bytes(), "little") for path in self.folder.glob("count-*"))

    def forget(self) -> None:
        """Remove what ended programs have counted."""
        for path in self.folder.glob("count-*"):
            path.unlink()


@contextmanager
def gate(folder: Path) -> Iterator[Gate]:
    """Make a gate."""
    folder.mkdir()
    os.mkfifo(folder / "gate")
    os.mkfifo(folder / "never")
    # Open for both directions: then neither a reader nor a writer has to wait for us.
    fds = [os.open(folder / name, os.O_RDWR) for name in ("gate", "never")]
    try:
        yield Gate(folder, fds[0])
    finally:
        for fd in fds:
            os.close(fd)
