"""The far end of `smartmob ab --on`: takes the sides and the options from standard input, and measures.

`smartmob ab --from-input` is started by the command runner of a machine. The first line of its input is a JSON
document, then come the archives of the sides, then lines that show that the other end is still connected. When they
end, or none comes for `SILENCE_SECONDS`, the experiment ends as by CTRL-C: what it has made is removed, and the
verdicts so far are printed.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import platformdirs

from smartmob.cli import printing
from smartmob.cli.side_archives import SentSide, unpack
from smartmob.errors import InvalidInput
from smartmob.experiments.cleaner import Workplace
from smartmob.experiments.sides import SENT, Side

SILENCE_SECONDS = 120.0
"""Seconds without a line after which the other end is lost. Lines come every `BEAT_SECONDS`."""
BEAT_SECONDS = 10.0
_LONGEST_LINE_BYTES = 1024 * 1024
_CHUNK_BYTES = 256 * 1024


class Task(msgspec.Struct, frozen=True):
    """The experiment to do: the sides whose archives follow, and the arguments of the command by name."""

    sides: list[SentSide]
    arguments: dict[str, Any]


def _unpacked(task: Task, data: BinaryIO, folder: Path) -> dict[str, Side]:
    """Return the sides whose archives follow on `data`, by the texts that name them."""
    found = {}
    for letter, sent in zip("ab", task.sides, strict=False):
        archive = folder / f"{letter}.tar"
        _copy(data, archive, sent.size)
        found[sent.given] = unpack(sent, archive, folder / letter)
        archive.unlink()
    return found


def measure(command: Callable[..., int]) -> int:
    """Call the function of `smartmob ab` for the task on standard input, and return its exit code."""
    data = sys.stdin.buffer
    with working_folder() as folder:
        try:
            task = msgspec.json.decode(data.readline(_LONGEST_LINE_BYTES), type=Task)
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"this command is started by `smartmob ab --on`: {error}") from None
        SENT.set(_unpacked(task, data, folder))
        os.chdir(folder)
        threading.Thread(target=_watch, args=(data.fileno(),), daemon=True).start()
        with _alone():
            return command(**task.arguments)


@contextmanager
def working_folder() -> Iterator[Path]:
    """Make a folder for the block, which is removed at the end, even when this process is killed."""
    workplace = Workplace(Path(platformdirs.user_cache_path("smartmob")) / "experiments")
    try:
        yield workplace.folder
    finally:
        workplace.close()


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other experiment that was sent here runs, and keep others waiting until the end of the block."""
    folder = Path(platformdirs.user_cache_path("smartmob"))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "experiment-there.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            printing.say("Waiting: another experiment runs on this machine")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _copy(source: Any, target: Path, size: int) -> None:
    """Copy this number of bytes to a new file. Raises InvalidInput when there are fewer."""
    with target.open("wb") as file:
        while size:
            data = source.read(min(size, _CHUNK_BYTES))
            if not data:
                raise InvalidInput("the files of the sides did not arrive completely")
            file.write(data)
            size -= len(data)


def _watch(descriptor: int) -> None:
    """Interrupt this process when its input ends or is silent."""
    while select.select([descriptor], [], [], SILENCE_SECONDS)[0]:
        if not os.read(descriptor, _CHUNK_BYTES):
            break
    os.kill(os.getpid(), signal.SIGINT)
