"""Arriving content, under a temporary name beside the final one, which the file gets when it is complete."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from contextlib import suppress
from io import BufferedRandom

PART = ".smartmob-part"
"""Ending of the name of a file until all of it has arrived."""

_FILE = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TRIES = 3  # another transfer may rename or remove a part between its opening and its lock


def part_name(*identity: object) -> str:
    """Return the temporary name of the transfer with this identity; it is short, regardless of the final name."""
    text = "\0".join(str(part) for part in identity)
    return f".{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:24]}{PART}"


class PartialFile:
    """The content that has arrived, open to append to, in a folder that is held by its descriptor.

    A part under the temporary name `part` is continued if it is this user's own and no other transfer writes it. In any
    other case, and without `part`, the content gets a new temporary name, which `close` removes. Raises OSError, and
    BlockingIOError for a part that another transfer writes if it is `sole`.
    """

    def __init__(self, folder: int, name: str, part: str | None = None, *, sole: bool = False) -> None:
        self._folder = folder
        self._name = name
        self._finished = False
        found = None if part is None else self._continued(part, sole)
        self._kept = found is not None
        if part is None or found is None:
            part = f".{secrets.token_hex(12)}{PART}"
            found = self._opened(part, _FILE | os.O_EXCL)
        self._part = part
        self.file: BufferedRandom = os.fdopen(found, "a+b")

    def _opened(self, part: str, flags: int) -> int:
        """Return the descriptor of a part. An error names the requested file, not its temporary name."""
        try:
            return os.open(part, flags, 0o600, dir_fd=self._folder)
        except OSError as error:
            error.filename = self._name
            raise

    def _continued(self, part: str, sole: bool) -> int | None:
        """Return the descriptor of an earlier or new part under this name, locked; None if it cannot be used."""
        for _ in range(_TRIES):
            try:
                descriptor = self._opened(part, _FILE)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENAMETOOLONG, errno.EACCES):
                    return None  # another kind of file has the name
                raise
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1 or about.st_uid != os.geteuid():
                os.close(descriptor)
                return None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(about, os.stat(part, dir_fd=self._folder, follow_symlinks=False)):
                    return descriptor
            except FileNotFoundError:
                pass  # it was renamed or removed meanwhile
            except BlockingIOError:
                os.close(descriptor)
                if sole:
                    raise
                return None
            os.close(descriptor)
        return None

    def restart(self) -> None:
        """Remove all content that has arrived."""
        self.file.flush()
        self.file.truncate(0)

    def remove(self) -> None:
        """Remove the part that has arrived."""
        self._finished = True
        with suppress(FileNotFoundError):
            os.unlink(self._part, dir_fd=self._folder)

    def finish(self, mode: int | None, mtime_ns: int | None = None) -> None:
        """Set the mode, which the caller has masked, the time and the name; a link of that name is replaced.

        Raises FileExistsError if a folder, a pipe, a socket or a device has the name.
        """
        check_replaceable(self._folder, self._name)
        self.file.flush()
        descriptor = self.file.fileno()
        os.close(os.dup(descriptor))  # a network file system tells at a close that a disk or a quota is full
        if mode is not None:
            os.fchmod(descriptor, mode)
        if mtime_ns is not None:
            os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        os.replace(self._part, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._finished = True

    def close(self) -> None:
        """Close the file. An incomplete part stays if it has content that a later transfer can continue."""
        try:
            empty = os.fstat(self.file.fileno()).st_size == 0
            self.file.close()
        except OSError:
            empty = False  # the buffered data does not fit; the error of its write has been raised before
        if not self._finished and (empty or not self._kept):
            self.remove()


def check_replaceable(folder: int, name: str) -> None:
    """Raise FileExistsError if anything but a regular file or a link has a name."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise FileExistsError(errno.EEXIST, f"it is a {kind_of(mode)} there, which is not replaced by a file", name)


def kind_of(mode: int) -> str:
    """Return the kind of a file for people: `fifo`, `socket`, `device`, `link`, `folder` or `file`."""
    for test, kind in (
        (stat.S_ISREG, "file"),
        (stat.S_ISDIR, "folder"),
        (stat.S_ISLNK, "link"),
        (stat.S_ISFIFO, "fifo"),
        (stat.S_ISSOCK, "socket"),
    ):
        if test(mode):
            return kind
    return "device"
