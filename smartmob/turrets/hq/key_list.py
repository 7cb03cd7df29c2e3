"""The file that lists the public keys of turrets, read again when it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from zmq.utils import z85

from smartmob.errors import SettingsError
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.turrets.protocol import printable

log = get_logger()

KEY_LENGTH = 40  # characters of a key in Z85 (RFC 32 of ZeroMQ)
KEY_BYTES = 32  # of a key of CURVE
_MOST_KEYS = 100_000  # lines of a list
_RELOAD_SECONDS = 1.0


def read_keys(path: Path) -> dict[str, str]:
    """Return the names of turrets by their public keys. A line has a key and, if wanted, a name or comment.

    Empty lines and lines that begin with `#` are skipped, unless the line begins with a key: a key may begin with `#`.
    Raises SettingsError.
    """
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise SettingsError(f"--hq-turret-keys: {path} cannot be read: {error.strerror}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        key, _, name = line.strip().partition(" ")
        if not key or (key.startswith("#") and not is_key(key)):
            continue
        if not is_key(key):
            raise SettingsError(
                f"--hq-turret-keys: line {number} of {path} does not begin with a public CURVE key, which has "
                "40 characters of Z85"
            )
        found[key] = printable(name.strip().removeprefix("#").strip())
    if len(found) > _MOST_KEYS:
        raise SettingsError(f"--hq-turret-keys: {path} holds more than {_MOST_KEYS} keys")
    return found


def is_key(text: str) -> bool:
    """Return whether a text has the form of a CURVE key."""
    try:
        return len(text) == KEY_LENGTH and len(z85.decode(text.encode())) == KEY_BYTES
    except (ValueError, KeyError, UnicodeError):
        return False


class KeyList:
    """The public keys in a file, which is read again after it changed; a file with an error changes nothing.

    `on_read` is called by `run_reload` after the file was read again.
    """

    def __init__(self, path: Path, on_read: Callable[[], None] = lambda: None) -> None:
        """Read the file; raises SettingsError."""
        self._path = path
        self._file_state = _state(path)
        self._keys = read_keys(path)
        self._on_read = on_read

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    async def run_reload(self) -> None:
        """Check each second whether the file has changed, and read it if so."""
        while True:
            await asyncio.sleep(_RELOAD_SECONDS)
            if await asyncio.to_thread(self.reload):
                self._on_read()

    def reload(self) -> bool:
        """Read the file if it has changed since it was last read; return whether there are new keys."""
        state = _state(self._path)
        if state == self._file_state:
            return False
        # Set before the file is read: a change during the reading is noticed the next time.
        self._file_state = state
        try:
            self._keys = read_keys(self._path)
        except SettingsError as error:
            log.error("turrets.keys_unreadable", reason=str(error), keys=len(self._keys))
            return False
        log.info("turrets.keys_read", path=str(self._path), keys=len(self._keys))
        return True


def _state(path: Path) -> tuple[int, ...]:
    """Return the times, size and inode of a file, which differ once it was changed; () if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
