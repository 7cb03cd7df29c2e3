"""The data directory: made if it is missing, and locked by one service at a time."""

from __future__ import annotations

import fcntl
import os
from functools import cached_property
from pathlib import Path
from uuid import UUID, uuid4

from smartmob.errors import StartupError
from smartmob.kernel.runtime.disk import free_bytes


class InUse(StartupError):
    """Another service uses the data directory."""


class DataDirectory:
    """A folder that this process locks until `release` or until it ends, even by SIGKILL."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def hold(self) -> None:
        """Make the folder and lock it, unless it is; raises InUse if another service has done so, and StartupError."""
        if self._lock is not None:
            return
        try:
            self._make()
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartupError(
                f"the data directory {self.path} cannot be used: {error.strerror}. "
                "Name another one with --data-dir, or make this one writable."
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 32).decode(errors="replace").strip()
            os.close(lock)
            raise InUse(
                f"the data directory {self.path} is in use by another smartmob service"
                f"{f' (process {holder})' if holder else ''}. Stop that one, or name another folder with --data-dir "
                "(of a node: --state-dir)."
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock

    def _make(self) -> None:
        # Other users may pass through a folder of root, but not list it: it contains the database, which runs as a user
        # of its own. An existing folder keeps its permissions.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)  # mkdir applies the umask

    def release(self) -> None:
        """Unlock the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def free_bytes(self) -> int:
        """Return the bytes that this process may still write to the disk of the folder."""
        return free_bytes(self.path)


class DirectoryId:
    """The id of a data directory, which is stored in a file there.

    The file is read at the first use, and created if it is missing: before the start the folder may belong to another
    service.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def value(self) -> UUID:
        """Return the id."""
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A full disk leaves an empty file, which must not be taken for the id.
            made = self._path.with_name(f"{self._path.name}.new")
            made.write_text(f"{uuid4()}\n")
            made.replace(self._path)
        return UUID(self._path.read_text().strip())
