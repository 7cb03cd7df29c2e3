"""The removal of an experiment's folder and git worktrees, in a process that outlives the experiment.

`Workplace` makes the folder. The cleaner waits for the end of its standard input, which the experiment closes, also by
being killed, and then removes the folder. If the cleaner is killed as well, the next experiment removes the folder: a
free lock means that it has no owner.

The cleaner is run as a file by `python -I -S`, so this module imports the standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_REPOSITORIES = "repositories"  # the file that lists the git folders that have worktrees
_PREFIX = "ab-"
_TRIES, _PAUSE_SECONDS = 100, 0.1
"""Tries to remove a folder into which processes that are being killed may still write."""


class Workplace:
    """A folder for one experiment, which is removed at the end, even when this process is killed."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in _abandoned(parent):
            remove(path)
        # The lock comes first, so that no other experiment takes the folder for an abandoned one.
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, suffix=".lock", dir=parent)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self.folder = Path(name).with_suffix("")
        self.folder.mkdir(mode=0o700)
        command = [sys.executable, "-I", "-S", os.path.abspath(__file__), str(self.folder)]
        # The cleaner inherits the blocked signals, so none can end it, not even at its start; by the inherited
        # descriptor it keeps the lock.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        try:
            self._cleaner = subprocess.Popen(
                command, stdin=subprocess.PIPE, start_new_session=True, pass_fds=(descriptor,), cwd="/"
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            os.close(descriptor)

    def add_repository(self, common_folder: Path) -> None:
        """Record that git will have worktrees of this experiment in the folder of a repository."""
        with (self.folder / _REPOSITORIES).open("a", encoding="utf-8") as file:
            file.write(f"{common_folder}\n")

    def awaited(self) -> int:
        """Return a descriptor for a child, which the caller closes: nothing is removed before the child has ended."""
        assert self._cleaner.stdin is not None
        return os.dup(self._cleaner.stdin.fileno())

    def close(self) -> None:
        """Let the cleaner remove everything, and wait for it."""
        assert self._cleaner.stdin is not None
        self._cleaner.stdin.close()
        self._cleaner.wait()


def remove(folder: Path) -> None:
    """Remove the folder of an experiment, git's entries of its worktrees, and its lock."""
    with contextlib.suppress(OSError):
        for line in (folder / _REPOSITORIES).read_text(encoding="utf-8").splitlines():
            _forget_worktrees(Path(line), folder)
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        select.select([], [], [], _PAUSE_SECONDS)
    folder.with_suffix(".lock").unlink(missing_ok=True)


def _forget_worktrees(repository: Path, folder: Path) -> None:
    """Remove the entries of the worktrees in `folder` from a repository; gitrepository-layout(5)."""
    entries = repository / "worktrees"
    for entry in entries.iterdir():
        with contextlib.suppress(OSError):
            if (entry / "gitdir").read_text(encoding="utf-8").startswith(f"{folder}{os.sep}"):
                shutil.rmtree(entry, ignore_errors=True)
    entries.rmdir()  # fails while others are left


def _abandoned(parent: Path) -> Iterator[Path]:
    """Yield the folders of experiments that have ended without removing them."""
    for lock in parent.glob(f"{_PREFIX}*.lock"):
        with contextlib.suppress(OSError), lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield lock.with_suffix("")


def main() -> None:
    """Wait for the end of standard input, and remove the folder that the argument names."""
    sys.stdin.buffer.read()
    remove(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
